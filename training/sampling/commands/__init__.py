"""The subcommands of generate.py: the module <name> holds the subcommand <name> as `command`."""
