"""Drawing from trained networks: the subcommands of generate.py (commands), and their common code."""
