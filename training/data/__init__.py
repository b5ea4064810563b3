"""Datasets as training reads them: images and labels. Only dataset_tool.py uses `making`."""
