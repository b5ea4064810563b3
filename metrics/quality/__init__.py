"""Metrics of image quality, one file for each."""
