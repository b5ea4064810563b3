"""Helpers for any Python project: dictionaries with attributes, checked downloads, atomic files, command lines."""

from dnnlib.util import EasyDict, OptionError, UserError

__all__ = ['EasyDict', 'OptionError', 'UserError']
