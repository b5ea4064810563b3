"""What is read while training: datasets, images, labels. `making` holds what only dataset_tool.py uses."""
