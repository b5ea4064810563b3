"""Things any Python project could use: dictionaries with attributes, checked downloads, atomic files, command lines."""

from dnnlib.util import EasyDict, UserError

__all__ = ['EasyDict', 'UserError']
