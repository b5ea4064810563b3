"""Coverage-guided fuzzing of everything that reads foreign bytes (targets.py), by atheris.

    python tests/fuzz/run.py                       # ten CPU minutes for each target
    python tests/fuzz/run.py --seconds=20 image    # a look

A crash, a hang of over 2 s or an allocation of over 500 MB ends a target. Its input is written to tests/fuzz/found/<target>/.
The suite reads it from then on: mend the reader, and commit both. Exit status 1 if there was any. Needs atheris (Linux, macOS):
pip install -r requirements-extras.txt
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]
FOUND = HERE / 'found'
ONE = '--in-this-process'
MOST_SECONDS, MOST_MEMORY = 2, 500 << 20  # for one input
OURS = ['dnnlib', 'torch_utils', 'training', 'metrics']


def main() -> int:
    if sys.argv[1:2] == [ONE]:  # before anything is imported that is to be instrumented
        fuzz(*sys.argv[2:3], sys.argv[3:])
    from targets import TARGETS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='TARGET', help=f'{", ".join(TARGETS)} (default: all)')
    parser.add_argument('--seconds', type=float, default=600, help='for each target (default: 600)')
    args = parser.parse_args()
    if unknown := set(args.names) - set(TARGETS):
        parser.error(f'unknown target {min(unknown)}; choose from {", ".join(TARGETS)}')
    crashes = 0
    print('target           inputs  per second  new paths  crashes', flush=True)
    for name in args.names or TARGETS:
        crashes += look(name, args.seconds)
    return int(crashes > 0)


def look(name: str, seconds: float) -> int:
    """Fuzz one target in a process of its own, print a line, and return how many crashes there were."""
    from targets import seeds
    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch, 'corpus')
        corpus.mkdir()
        for i, data in enumerate(seeds(name)):
            (corpus / f'seed{i}').write_bytes(data)
        start = time.monotonic()
        limits = [f'-max_total_time={seconds:.0f}', '-timeout=60', '-rss_limit_mb=4000', '-max_len=65536']
        done = subprocess.run([sys.executable, __file__, ONE, name, corpus, *limits, '-print_final_stats=1',
                               f'-artifact_prefix={scratch}/'], capture_output=True, text=True, errors='replace')
        passed, paths = time.monotonic() - start, len(list(corpus.iterdir()))
    executed = re.search(r'number_of_executed_units: (\d+)', done.stderr) or re.search(r'#(\d+)\D[^#]*\Z', done.stderr)
    new = sorted(set(folder.iterdir()) - before)
    if not executed and not new:
        raise SystemExit(f'{name}: did not start\n{done.stdout}{done.stderr}')
    count = int(executed[1]) if executed else 0
    print(f'{name:15} {count:7d} {count / passed:11.0f} {paths:10d} {len(new):8d}', flush=True)
    for path in new:
        print(f'  {path.relative_to(ROOT)}\n' + '\n'.join('    ' + line for line in traceback_in(done.stderr)))
    if not any(folder.iterdir()):
        folder.rmdir()
    return len(new)


def traceback_in(text: str) -> list[str]:
    """The lines of an output from the exception on."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if 'Uncaught Python exception' in line or 'ERROR' in line), len(lines) - 20)
    return lines[max(start, 0):][:40]


def peak_memory() -> int:
    """The most that this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def fuzz(name: str, arguments: list[str]) -> None:
    """In a process of its own: until the time is up, or something is found. Does not return."""
    try:
        import atheris
    except ImportError:
        raise SystemExit('fuzzing needs atheris; pip install -r requirements-extras.txt') from None
    with atheris.instrument_imports(include=OURS):
        import targets
        target = targets.TARGETS[name]
        for data in targets.seeds(name):
            target(data)  # imports what it needs, instrumented

    def once(data: bytes) -> None:
        start, memory = time.process_time(), peak_memory()
        try:
            with contextlib.suppress(targets.REFUSALS):
                target(data)
            if (seconds := time.process_time() - start) > MOST_SECONDS:
                raise RuntimeError(f'took {seconds:.1f} s')
            if (more := peak_memory() - memory) > MOST_MEMORY:
                raise RuntimeError(f'took {more >> 20} MB of memory')
        except BaseException:
            (FOUND / name / hashlib.sha1(data).hexdigest()[:16]).write_bytes(data)
            raise

    atheris.Setup([sys.argv[0], *arguments], once)
    atheris.Fuzz()


if __name__ == '__main__':
    sys.exit(main())
