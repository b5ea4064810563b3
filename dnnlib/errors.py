"""The exceptions that mean: the input is wrong, not the program."""


class UserError(Exception):
    """Wrong input from outside. Its text is one line that names the file or option and says what to do.

    The commands print it as `Error: <text>` and exit with `exit_status`, without a traceback (see dnnlib.cli).
    """

    exit_status = 1


class OptionError(UserError):
    """A command-line option with a wrong value, or options that do not go together."""

    exit_status = 2
