"""Drawing from trained networks: the subcommands of generate.py, one file each, and what they share."""
