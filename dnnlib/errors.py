"""Exceptions for wrong input, as opposed to faults of the program."""


class UserError(Exception):
    """Wrong input from the user. The text is one line that names the file or option and gives the remedy.

    Commands print it as `Error: <text>` and exit with `exit_status`, without a traceback (see dnnlib.cli).
    """

    exit_status = 1


class OptionError(UserError):
    """A command-line option with a wrong value, or a conflict between options."""

    exit_status = 2
