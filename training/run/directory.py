"""The directory of a run: its number, its lock, and the options of the run."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from dnnlib.files import atomic_open, lock, must_write, remove_leftovers
from dnnlib.util import EasyDict, OptionError, UserError

LONGEST_NAME = 255  # bytes of a file name, on all usual file systems
RANK_LOCK = '.lock-rank0'  # of rank 0, where another process has launched it


def next_run_dir(outdir: Path, desc: str) -> Path:
    """<outdir>/<number>-<desc>. The number is one above the largest existing one."""
    entries = outdir.iterdir() if outdir.is_dir() else []
    numbers = [int(match[0]) for entry in entries if entry.is_dir() and (match := re.match(r'\d+', entry.name))]
    return outdir / f'{max(numbers, default=-1) + 1:05d}-{desc}'


def create_run_dir(config: EasyDict, outdir: Path, desc: str) -> Path:
    """Create the run directory. If another run has just taken this number, use the next one."""
    run_dir = Path(config.run_dir)
    while True:
        try:
            run_dir.mkdir(parents=True)
            break
        except FileExistsError:
            run_dir = next_run_dir(outdir, desc)
        except OSError as err:
            raise UserError(f'--outdir: cannot create {run_dir} ({err.strerror}); choose another directory') from err
    config.run_dir = str(run_dir)
    return run_dir


def check_place(run_dir: Path) -> None:
    """Raise UserError if create_run_dir or take would fail, OptionError if the name is too long. Nothing is created."""
    if len(os.fsencode(run_dir.name)) > LONGEST_NAME:
        raise OptionError(f'--outdir: the name of the run directory, {run_dir.name[:60]}..., has more than {LONGEST_NAME} bytes; '
                          'shorten --desc or the name of --data')
    place = run_dir
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise UserError(f'--outdir: cannot create {run_dir} (Not a directory); choose another directory')
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f'--outdir: cannot write in {place} (Permission denied); choose another directory')


@contextlib.contextmanager
def take(run_dir: Path) -> Iterator[None]:
    """Lock a run directory for this process. Raises UserError if another process trains in it. That includes a rank whose
    launching process was killed."""
    try:
        held = lock(run_dir / '.lock')
        if (run_dir / RANK_LOCK).exists():
            lock(run_dir / RANK_LOCK).close()
    except BlockingIOError:
        raise UserError(f'{run_dir}: another process is training in it; stop that first, or train in a new directory') from None
    except OSError as err:
        raise UserError(f'{run_dir}: cannot be written ({err.strerror}); make it writable, or resume from its snapshot in '
                        'another --outdir') from err
    with held:
        remove_leftovers(run_dir)
        try:
            yield
        finally:
            remove_leftovers(run_dir)  # files that could not be removed while the disk was read-only


def take_as_rank(run_dir: Path) -> IO:
    """Lock a run directory for this rank until the returned file is closed. The lock holds even if the launching process, which
    has its own lock, is killed. Raises UserError if another run holds it."""
    try:
        return lock(run_dir / RANK_LOCK)
    except BlockingIOError:
        raise UserError(f'{run_dir}: another process is training in it; stop that first') from None
    except OSError as err:
        raise UserError(f'{run_dir}: cannot be written ({err.strerror}); make it writable') from err


def write_options(config: EasyDict, options: Mapping[str, Any]) -> None:
    """Write training_options.json: the configuration, and as its item `options` the given options, which --like reads. Raises
    UserError if that is not possible."""
    path = Path(config.run_dir) / 'training_options.json'
    with must_write(path, 'make room, or make the directory writable'), atomic_open(path, 'w') as f:
        json.dump({**config, 'options': options}, f, indent=2)


def tell_changes(config: EasyDict) -> None:
    """Print which settings differ from the original ones. A run resumes exactly only without differences."""
    try:
        before = dict(json.loads((Path(config.run_dir) / 'training_options.json').read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        return
    for key, value in config.items():
        if not key.startswith('resume_') and key not in ('run_dir', 'data_digest') and key in before and before[key] != value:
            print(f'changed: {key} from {json.dumps(before[key])} to {json.dumps(value)}')
