"""Where the numbers and pictures of a run go. Each logger has scalars, images and close; training/run/monitor.py calls them."""
