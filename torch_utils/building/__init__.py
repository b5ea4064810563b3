"""Building libraries in C++ and CUDA on the user's machine, and keeping them in the user's cache."""


class CannotBuild(Exception):
    """A library that can't be had. `reason` and `remedy` are a few words each, without a full stop."""

    def __init__(self, reason: str, remedy: str):
        super().__init__(f'{reason}; {remedy}')
        self.reason, self.remedy = ' '.join(reason.split()), remedy
        self.told = False  # to the user
