"""Makes report.html: `python -m training.report RUN [RUN ...]`, and while a run trains."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from dnnlib import cli
from dnnlib.files import atomic_open, open_output
from dnnlib.jsonl import append_line
from dnnlib.util import UserError
from training.run.records import Run
from training.run.report.charts import IMPORTANCE, make_charts
from training.run.report.facts import Facts
from training.run.report.grids import make_grids
from training.run.report.log import Log
from training.run.report.page import page
from training.run.report.pictures import Pictures
from training.run.sessions import append_session

FILE_NAME = 'report.html'
MOST_NEW = 2  # new pictures of a kind per refresh. Usually there is one; if the page was removed, the others follow later


class LiveReport:
    """Keeps report.html of a run up to date while it trains. As a context manager, it also says what error ended the run.

    run_dir: as the user wrote it; this process appends to its stats.jsonl. say: prints one line if the page cannot be written;
    training continues. If `shows` is false, as on ranks other than 0, nothing happens.
    """

    def __init__(self, run_dir: str | Path, say: Callable[[str], None], shows: bool = True):
        self._run_dir, self._say, self._shows = Path(run_dir), say, shows
        self._told: set[str] = set()
        self._run: Run | None = None
        self._log: Log | None = None
        self._pictures: Pictures | None = None

    def begin(self, start_nimg: int, training_set: Any, **facts: Any) -> None:
        """Note in sessions.jsonl where and how this process trains (training.run.sessions), and write the page."""
        if not self._shows:
            return
        with self._surviving():
            append_session(self._run_dir, start_nimg, training_set, **facts)
            self._write()

    def refresh(self, mapping: Any, cur_nimg: int) -> None:
        """Write the page after a snapshot. mapping: the network. The importance of its style coordinates, if any, is appended to
        importance.jsonl."""
        if not self._shows:
            return
        with self._surviving():
            importance = getattr(mapping, 'importance', None)
            if importance is not None:
                values = [round(value, 5) if math.isfinite(value) else None for value in importance.flatten().tolist()]
                append_line(self._run_dir / IMPORTANCE, dict(kimg=cur_nimg / 1000, importance=values))
            self._write()

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        """Context in which each error is reported once, and training continues."""
        try:
            yield
        except Exception as err:
            reason = getattr(err, 'strerror', None) or _described(err)
            line = f'warning: {FILE_NAME} could not be written ({reason}); training continues'
            if line not in self._told:
                self._told.add(line)
                self._say(line)

    def _write(self, error: str | None = None) -> None:
        """error: the error that ends the run. The log gets it only later."""
        path = self._run_dir / FILE_NAME
        if self._run is None:
            self._run, self._log, self._pictures = Run(self._run_dir), Log(self._run_dir), Pictures(self._run_dir, path)
        self._run.update()
        self._log.update()
        self._log.error = error or self._log.error
        facts = Facts(self._run, self._log, str(self._run_dir))
        grids = make_grids(facts, self._pictures, most_new=MOST_NEW)
        self._pictures.keep([picture for kind in grids for _, picture in kind.frames])
        text = page([facts], [grids], make_charts([self._run]))
        with atomic_open(path, 'w') as f:
            f.write(text)

    def __enter__(self) -> LiveReport:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._shows and isinstance(error, Exception):
            with self._surviving():
                self._write(_described(error))


def _described(error: Exception) -> str:
    """In one line."""
    text = ' '.join(str(error).split())
    return text if isinstance(error, UserError) else f'{type(error).__name__}: {text}'


def report(run_dirs: Sequence[str], out: Path) -> str:
    """The page of one or several runs, from their files. out: where it will be written. Raises UserError for a directory that is
    not a run directory."""
    runs = []
    for run_dir in dict.fromkeys(run_dirs):
        path = Path(run_dir)
        if not (path / 'training_options.json').is_file() and not (path / 'stats.jsonl').is_file():
            raise UserError(f'{run_dir}: has neither training_options.json nor stats.jsonl; pass a run directory of train.py')
        folder = Path(os.path.relpath(path, out.parent)).as_posix()
        runs.append(Facts(Run(path), Log(path), str(path), folder))
    grids = []
    for facts in runs:
        old = facts.run.path / FILE_NAME if len(runs) == 1 else None
        grids.append(make_grids(facts, Pictures(facts.run.path, old), len(runs)))
    return page(runs, grids, make_charts([facts.run for facts in runs]))


@click.command(cls=cli.Command)
@click.argument('run_dirs', type=cli.PATH, nargs=-1, required=True, metavar='RUN...')
@click.option('--out', type=cli.PATH,
              help='The page to write.  [default: report.html, in the run directory if there is one, else here]', metavar='HTML')
def main(run_dirs: tuple[str, ...], out: str | None) -> None:
    """Write one page that shows a training run, or compares several: pictures over time, curves, settings, environment.

    RUN: run directories of train.py, which also keeps the page of each run up to date. The page needs no network.
    """
    several = len(set(run_dirs)) > 1
    path = Path(out) if out else Path('.' if several else run_dirs[0], FILE_NAME)
    text = report(run_dirs, path)
    with open_output(path, 'w') as f:
        f.write(text)
    print(f'Wrote {path} ({len(text.encode()) / 2 ** 20:.1f} MiB); open it in a browser')


if __name__ == '__main__':
    cli.run(main)
