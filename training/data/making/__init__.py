"""Conversion of published collections into datasets, for dataset_tool.py."""
