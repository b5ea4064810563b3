"""The warnings and errors in a run's log, and how the run ended."""

from __future__ import annotations

import re
from pathlib import Path

from training.run.records import GrowingFile

FINDING = re.compile(r'(?:Error|[Ww]arning): .+')
LAST_OF_TRACEBACK = re.compile(r'(?:\w+\.)*(\w*(?:Error|Exception|Interrupt))\b(?:: (.*))?')
CONTINUES = re.compile(r'tick \d|Calculating |Exiting|(?:Error|[Ww]arning): ')  # lines of a run that has not ended
SESSION_BEGINS, STOPPED = 'Num images:', 'Stopping early, as asked'
MOST = 20  # lines, the newest


class Log:
    """`update` reads new lines. findings: {line: how often}, the newest last. error: the error that ended the run, or None.
    stopped: whether it was asked to stop early."""

    def __init__(self, run_dir: Path):
        self._file = GrowingFile(run_dir / 'log.txt')
        self._in_traceback = False
        self.findings: dict[str, int] = {}
        self.error: str | None = None
        self.stopped = False
        self.update()

    def update(self) -> None:
        for line in self._file.new_lines():
            self._add(line)

    def newest_findings(self) -> list[tuple[str, int]]:
        """The findings for which the page has room."""
        return list(self.findings.items())[-MOST:]

    def _add(self, line: str) -> None:
        if CONTINUES.match(line):  # the run survived this traceback, such as one of a metric
            self.error = None
        if line.startswith(SESSION_BEGINS):  # the run has resumed since the last error
            self.error, self.stopped, self._in_traceback = None, False, False
        elif line.startswith('Traceback '):
            self._in_traceback = True
        elif self._in_traceback and (match := LAST_OF_TRACEBACK.fullmatch(line)):
            self.error = match[2] if match[1] == 'UserError' and match[2] else line
            self._in_traceback = False
        elif line.startswith(STOPPED):
            self.stopped = True
        elif FINDING.fullmatch(line):
            self.findings[line] = self.findings.pop(line, 0) + 1
