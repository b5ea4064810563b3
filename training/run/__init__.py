"""One run: its plan, directory, checkpoints, statistics, reports, and everything that can end it."""
