"""Everything that a short visit to a GPU can tell: python tests/gpu/report.py, or `make gpu`.

In order: the tests of this folder, operators, training steps, a profile, and a real run. Each part has a time limit, what it
has measured is saved as soon as it is there, and no part needs another one. The result is docs/gpu/<card>.json, from which
tests/gpu/tables.py makes the tables of docs/performance.md.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from dnnlib.files import atomic_open  # noqa: E402 (the folder is on the path only now)

FD = 'fd2k_efficientnet_full'
# Shares of the time that all may take together; what a part leaves is there for the next ones.
PARTS = {'tests': 0.36, 'operators': 0.08, 'steps': 0.30, 'profile': 0.06, 'run': 0.20}


@click.command()
@click.option('--device', default='cuda', show_default=True)
@click.option('--minutes', default=6.0, show_default=True, help='For all parts together.')
@click.option('--parts', default=','.join(PARTS), show_default=True)
@click.option('--out', default=ROOT / 'docs' / 'gpu', type=Path, show_default='docs/gpu', help='Folder of the JSON file.')
@click.option('--work', default=ROOT / 'runs' / 'gpu', type=Path, show_default='runs/gpu', help='Folder of the run.')
@click.option('--data', default=ROOT / 'datasets' / 'mnist.zip', type=Path, show_default='datasets/mnist.zip',
              help='Dataset of the run; made if it is missing.')
@click.option('--small', is_flag=True, help='Sizes for a CPU: shows that the script works, and measures nothing of interest.')
def main(device: str, minutes: float, parts: str, out: Path, work: Path, data: Path, small: bool) -> None:
    """Measure what this card does, part by part."""
    report = Report(out, device)
    end = time.monotonic() + 60 * minutes
    chosen = [name for name in PARTS if name in parts.split(',')]
    for i, name in enumerate(chosen):
        rest = sum(PARTS[n] for n in chosen[i:])
        limit = max(end - time.monotonic(), 20) * PARTS[name] / rest
        print(f'\n=== {name}: at most {limit:.0f} s', flush=True)
        start = time.monotonic()
        PART_OF[name](report, device, limit, small, work=work, data=data)
        report.save(name, seconds=round(time.monotonic() - start, 1))
    print(f'\nWritten to {report.path}')


class Report:
    """The JSON file of one card, saved after each part; what earlier visits measured in other parts stays."""

    def __init__(self, out: Path, device: str):
        self.machine = machine(device)
        name = re.sub(r'[^a-z0-9]+', '-', self.machine['card'].lower()).strip('-')
        self.path = out / f'{name}.json'
        self._content = json.loads(self.path.read_text()) if self.path.exists() else {}
        self._content['machine'] = self.machine
        self.part: dict = {}

    def save(self, name: str, **more) -> None:
        """Write the file with what is in `part` as the part of this name, which ends there."""
        self._content[name] = {'date': time.strftime('%Y-%m-%d'), **more, **self.part}
        self.part = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_open(self.path) as f:
            f.write((json.dumps(self._content, indent=1) + '\n').encode())


def machine(device: str) -> dict:
    """The card, and what computes on it."""
    found = {'card': platform.processor() or platform.machine(), 'torch': torch.__version__, 'python': platform.python_version(),
             'cuda': torch.version.cuda, 'cores': os.cpu_count()}
    if device == 'cuda':
        properties = torch.cuda.get_device_properties(0)
        found |= {'card': properties.name, 'gib': round(properties.total_memory / 2 ** 30, 1),
                  'multiprocessors': properties.multi_processor_count, 'cudnn': torch.backends.cudnn.version(),
                  'capability': '.'.join(map(str, torch.cuda.get_device_capability(0)))}
        query = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
        found['driver'] = subprocess.run(query, capture_output=True, text=True).stdout.strip().split('\n')[0]
    else:
        found['card'] = f'{device} {found["card"]}'
    return found


def call(command: list, limit: float, device: str) -> tuple[int, str]:
    """Run a program of the project. Returns its exit status (124 after `limit` seconds) and its output."""
    environment = {**os.environ, 'DEVICE': device, 'PYTHONUNBUFFERED': '1', 'WANDB_MODE': 'disabled'}
    process = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)  # pytest tells what has failed so far
        try:
            output, status = process.communicate(timeout=10)[0], 124
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, status = process.communicate()[0], 124
    print(output[-4000:], flush=True)
    return status, output


def rows_of(output: str) -> list[dict]:
    """The JSON lines among what was printed."""
    return [json.loads(line) for line in output.splitlines() if line.startswith('{')]


def run_tests(report: Report, device: str, limit: float, small: bool, **_) -> None:
    """pytest -m gpu: how many passed, and the names of those that failed."""
    only = ['-k', 'golden and uncond'] if small else []
    workers = ['-n', str(min(os.cpu_count() or 1, 14))] if device == 'cuda' and has('xdist') else []
    status, output = call(['-m', 'pytest', '-q', '-m', 'gpu', 'tests/gpu', 'tests/torch_utils', '-p', 'no:cacheprovider', '-rf',
                           *workers, *only], limit, device)
    counts = {word: int(number) for number, word in re.findall(r'(\d+) (passed|failed|skipped|error)', output)}
    if status == 124 and (collected := re.search(r'\[(\d+) items\]', output)):  # of pytest-xdist
        counts['unfinished'] = int(collected[1]) - sum(counts.values())
    failed = re.findall(r'^(?:FAILED|ERROR) (\S+)(?: - (.*))?', output, re.MULTILINE)
    report.part = {'status': status, **counts, 'failures': [f'{name}: {why[:300]}' for name, why in failed]}


def has(module: str) -> bool:
    """Whether a module can be imported."""
    import importlib.util
    return importlib.util.find_spec(module) is not None


def measure_operators(report: Report, device: str, limit: float, small: bool, **_) -> None:
    """tests/benchmarks/operators.py."""
    options = ['--only=lrelu clamp', '--repeats=2', '--precision=fp32'] if small else \
        ['--repeats=7', '--precision=fp32,bf16' + ',fp16' * (device == 'cuda')]
    status, output = call(['tests/benchmarks/operators.py', f'--device={device}', '--json', *options], limit, device)
    report.part = {'status': status, 'rows': rows_of(output), **why(status, output)}


def measure_steps(report: Report, device: str, limit: float, small: bool, **_) -> None:
    """tests/gpu/steps.py."""
    options = ['--size=tiny'] if small else ['--size=demo,32,256,512,1024']
    status, output = call(['tests/gpu/steps.py', f'--device={device}', *options], limit, device)
    report.part = {'status': status, 'rows': rows_of(output), **why(status, output)}


def measure_shares(report: Report, device: str, limit: float, small: bool, **_) -> None:
    """tests/gpu/shares.py."""
    options = ['--size=tiny', '--steps=2'] if small else []
    status, output = call(['tests/gpu/shares.py', f'--device={device}', *options], limit, device)
    report.part = {'status': status, 'rows': rows_of(output), **why(status, output)}


def train_for_real(report: Report, device: str, limit: float, small: bool, work: Path, data: Path) -> None:
    """Two-colour digits for what is left of the time: speed and distance over the images seen, and the last grid."""
    start = time.monotonic()
    if not data.exists():
        call(['dataset_tool.py', '--source=mnist', '--domains=two-color', f'--dest={data}'], limit / 2, device)
    size = ['--kimg=1', '--cbase=256', '--cmax=16'] if small else ['--kimg=100000', '--cbase=512', '--cmax=64']
    left = limit - (time.monotonic() - start)
    status, output = call(['train.py', f'--data={data}', f'--outdir={work}', f'--device={device}', '--method=i-stylegan,r3gan',
                           '--cond=1', '--z-dim=64', '--i-dim=16', '--aug=noaug', '--map-depth=1', '--gamma=1', '--noise=0',
                           '--mixing=0', '--pl-weight=0', '--batch=64', '--tick=20', '--snap=5', '--wandb=disabled',
                           f'--metrics={FD if not small and has_detector() else "none"}', f'--max-minutes={left * 0.7 / 60:.2f}',
                           *size], left, device)
    report.part = {'status': status, **why(status, output)}
    run_dir = max(work.glob('[0-9]*-*'), default=None)
    if run_dir is None:
        return
    ticks = [json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()]
    kimg = [t['Progress/kimg']['mean'] for t in ticks]
    report.part |= {'kimg': kimg[-1], 'sec_per_kimg': ticks[-1]['Timing/sec_per_kimg']['mean']}
    curve = run_dir / f'metric-{FD}.jsonl'
    if curve.exists():
        report.part['distance'] = [[m['snapshot_pkl'], m['results'][FD]] for m in map(json.loads, curve.read_text().splitlines())]
    if (pictures := sorted(run_dir.glob('fakes[0-9]*.png'))) and not small:
        shutil.copy(pictures[-1], report.path.with_name(f'{report.path.stem}-fakes.png'))


def has_detector() -> bool:
    """Whether the distance can be computed here."""
    from dnnlib.errors import UserError
    from metrics.detectors import check_detector
    from metrics.registry import find_metric
    try:
        check_detector(find_metric(FD).detector)
        return True
    except UserError:
        return False


def why(status: int, output: str) -> dict:
    """The last words of a program that failed."""
    return {} if status == 0 else {'trouble': f'status {status}: ' + ' | '.join(output.strip().splitlines()[-3:])[-600:]}


PART_OF = {'tests': run_tests, 'operators': measure_operators, 'steps': measure_steps, 'profile': measure_shares,
           'run': train_for_real}

if __name__ == '__main__':
    main()
