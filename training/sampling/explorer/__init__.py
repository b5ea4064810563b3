"""What `generate.py explore` shows, and the page that shows it."""
