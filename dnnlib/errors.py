"""The one exception that means: the input is wrong, not the program."""


class UserError(Exception):
    """Wrong input from outside. Its text is one line that names the file or option and says what to do.

    The commands print it as `Error: <text>` and exit with status 1, without a traceback (see dnnlib.cli).
    """
