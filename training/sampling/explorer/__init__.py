"""The images and the page of `generate.py explore`."""
