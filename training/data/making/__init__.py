"""From collections as they are published to datasets: what dataset_tool.py does."""
