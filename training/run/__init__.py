"""Everything about one run: its plan, directory, checkpoints, what it tells, and what ends it."""
