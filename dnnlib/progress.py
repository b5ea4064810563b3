"""Progress of a computation: a bar on a terminal, lines in a log file."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from dnnlib.util import format_time

LINE_SECONDS, LINE_ITEMS = 10.0, 1000  # seconds, or items, between lines; lines are at least a second apart


class Progress:
    """Show progress on standard error, separate from results. A context manager.

    text: what is counted. total: number of items, None if unknown. verbose: whether to show anything.
    On a terminal it is a bar that disappears at the end. Elsewhere it prints lines such as `generator features  items 12000
    time 1m 02s       ms/item 5.17   left 3m 16s`. Work that ends within seconds prints none.
    """

    def __init__(self, text: str, total: int | None, verbose: bool = True):
        self._text, self._total, self._verbose = text, total, verbose
        self._done = self._told = 0
        self._bar: tqdm | None = None

    def __enter__(self) -> Progress:
        self._start = self._last = time.monotonic()
        if self._verbose and sys.stderr.isatty():
            self._bar = tqdm(desc=self._text, total=self._total, leave=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int = 1) -> None:
        """Count this many more items as done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._verbose:
            waited = time.monotonic() - self._last
            if waited >= LINE_SECONDS or (self._done - self._told >= LINE_ITEMS and waited >= 1):
                print(self._line(), file=sys.stderr, flush=True)
                self._last, self._told = time.monotonic(), self._done

    def tell(self, line: str) -> None:
        """Print a line to standard output, above the bar if there is one."""
        tqdm.write(line)
        sys.stdout.flush()  # the log file may be read while the program runs

    def _line(self) -> str:
        spent = time.monotonic() - self._start
        line = (f'{self._text:<19} items {self._done:<7} time {format_time(spent):<12} '
                f'ms/item {1000 * spent / max(self._done, 1):.2f}')
        if self._total is not None:
            line += f'   left {format_time(spent / max(self._done, 1) * (self._total - self._done))}'
        return line
