"""Datasets as they come: archives and folders, images, labels, transforms; dataset_tool.py makes ours of them."""
