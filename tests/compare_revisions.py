"""Compare two revisions of the project bit by bit: python tests/compare_revisions.py REVISION [REVISION] [--runs=plain,flow]

Trains each short run of tests/helpers/short_runs.py with both, and prints which of them give the same weights. The second
revision is the working tree if it is not given. Ends with status 1 if any run differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def digests(revision: str | None, runs: list[str], folder: Path) -> dict[str, dict[str, str]]:
    """Of a revision that is checked out into a folder for this, or of the working tree."""
    root = ROOT
    if revision is not None:
        root = folder / revision.replace('/', '_')
        subprocess.run(['git', 'worktree', 'add', '--quiet', '--detach', root, revision], check=True, cwd=ROOT)
    out = folder / f'{root.name}.json'
    try:
        command = [sys.executable, ROOT / 'tests/helpers/short_runs.py', *runs, f'--root={root}', f'--out={out}']
        subprocess.run(command, check=True)
    finally:
        if revision is not None:
            subprocess.run(['git', 'worktree', 'remove', '--force', root], check=True, cwd=ROOT)
    return next(iter(json.loads(out.read_text()).values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('revisions', nargs='+', metavar='REVISION')
    parser.add_argument('--runs', default='', help='some of the runs, separated by commas')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, second = (digests(revision, [run for run in args.runs.split(',') if run], Path(folder))
                         for revision in [*args.revisions, None][:2])
    for name in first:
        print(f'{name:20}  {"same" if first[name] == second[name] else "DIFFERENT"}')
    sys.exit(first != second)


if __name__ == '__main__':
    main()
