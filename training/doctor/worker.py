"""Checks in a separate process. A check that raises, hangs or crashes is reported, and the next ones still run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from training.doctor.findings import MISSING, WARN, Check, Finding, Place

LIMIT = 90.0  # seconds for one check, imports included: more means that it hangs


def examine(checks: Sequence[Check], place: Place, limit: float = LIMIT) -> Iterator[list[Finding]]:
    """The findings of each check as they arrive. All checks share a process, and its import of torch, until one of them ends
    it."""
    left = list(checks)
    context = multiprocessing.get_context('spawn')
    while left:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(theirs, left, place), daemon=True)
        process.start()
        theirs.close()
        try:
            while left:
                check = left.pop(0)
                findings, trouble = _receive(ours, process, limit)
                yield findings or [_failed(check, trouble)]
                if trouble:
                    break
        finally:
            process.kill()
            process.join()


def _receive(pipe: Connection, process: BaseProcess, limit: float) -> tuple[list[Finding], str]:
    """(findings, '') of the next check, or ([], what happened to its process)."""
    if not pipe.poll(limit):
        return [], f'no answer in {limit:g} seconds'
    try:
        return pipe.recv(), ''
    except EOFError:
        process.join()
        code = process.exitcode
        return [], f'its process ended by {signal.Signals(-code).name}' if code < 0 else f'its process ended with status {code}'


def _work(pipe: Connection, checks: Sequence[Check], place: Place) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    for fd in (1, 2):  # libraries print, and the report may be JSON
        os.dup2(silent, fd)
    for check in checks:
        try:
            findings = list(check.look(place))
        except Exception as err:
            where = traceback.extract_tb(err.__traceback__)[-1]
            text = ' '.join(f'{type(err).__name__}: {err}'.split())
            findings = [_failed(check, f'{text} ({os.path.basename(where.filename)}:{where.lineno})')]
        pipe.send(findings)


def _failed(check: Check, trouble: str) -> Finding:
    return Finding(check.name, MISSING if check.essential else WARN, f'the check failed: {trouble}',
                   'if this is no fault of the machine, please report it', essential=check.essential)
