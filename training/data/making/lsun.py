"""LSUN: image files in an LMDB. The package lmdb reads it, in a process of its own.

lmdb's library maps the file into memory and trusts it: a file that is cut short, as by a download that stopped, or has a corrupt
page, ends the process that reads it by a signal. Here that ends the other process, and becomes a UserError.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from dnnlib.errors import UserError

SIZE, IMAGE, END, TROUBLE = 'size', 'image', 'end', 'trouble'  # the kinds of messages


def open_lmdb(path: str) -> tuple[Iterator[tuple[bytes, None, str]], int]:
    """Open an LSUN database: (image file, None, name) in the order of keys, and how many.

    Raises UserError if the package lmdb is missing, or the folder is no database; the iterator, if it is corrupt.
    """
    if importlib.util.find_spec('lmdb') is None:
        raise UserError(f'{path}: reading LSUN databases needs the package lmdb; pip install lmdb')
    messages = _messages(str(path))
    size = next(messages)  # starts the process

    def images() -> Iterator[tuple[bytes, None, str]]:
        for key, value in messages:
            yield value, None, f'{key.decode("ascii", "replace")} in {path}'

    return images(), size


def _messages(path: str) -> Iterator[Any]:
    """How many entries there are; then their keys and values. The other process ends with the iterator, or with this process."""
    context = multiprocessing.get_context('spawn')
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_read, args=(path, there), daemon=True)
    process.start()
    there.close()
    try:
        while True:
            try:
                kind, value = here.recv()
            except EOFError:  # it ended by a signal
                raise UserError(f'{path}: corrupt or incomplete LMDB database; download or export it again') from None
            if kind == TROUBLE:
                raise UserError(f'{path}: {value}; download or export it again')
            if kind == END:
                return
            yield value
    finally:
        process.kill()
        process.join()
        here.close()


def _read(path: str, there: Connection) -> None:
    """In the other process: send all of it, a message for each entry."""
    import lmdb
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # what the library says there, this process's end says
    try:
        database = lmdb.open(path, readonly=True, lock=False, create=False)
        there.send((SIZE, database.stat()['entries']))
    except lmdb.Error as err:
        there.send((TROUBLE, f'not an LMDB database ({err})'))
        return
    try:
        with database, database.begin(buffers=False) as transaction:
            for entry in transaction.cursor():
                there.send((IMAGE, entry))
        there.send((END, None))
    except lmdb.Error as err:
        there.send((TROUBLE, f'corrupt LMDB database ({err})'))
