"""Where the numbers and pictures of a run go. Each logger has scalars, images and close; training/monitor.py calls them."""
