"""Commands as programs, in this process."""

import contextlib
import io
import sys
from unittest import mock

import pytest

from dnnlib import cli


def run_program(command, *args):
    """(exit status, stdout, stderr) of a click command, called as its program would be."""
    out, err = io.StringIO(), io.StringIO()
    with (mock.patch.object(sys, 'argv', [f'{command.callback.__module__}.py', *map(str, args)]),
          contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as caught):
        cli.run(command)
    return caught.value.code or 0, out.getvalue(), err.getvalue()
