"""Short training runs whose weights tell whether a revision still computes the same, bit for bit.

The runs are commands of train.py, so that this file works with any revision of the project:

    python tests/helpers/short_runs.py [--root=CHECKOUT] [--out=DIGESTS.json] [RUN ...]

prints {run: {network: SHA-256 of its weights}} of the checkout. tests/compare_revisions.py compares two of them;
tests/test_digests.py compares with what was recorded in tests/golden/digests.json for this machine and build of torch.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image

# 25 steps of 40 images, with R1 twice and path length seven times; all switches that might depend on the machine are set.
COMMON = ('--cond=1 --kimg=1 --batch=40 --cbase=64 --cmax=16 --z-dim=16 --map-depth=2 --tick=1 --snap=1 --workers=1 --device=cpu '
          '--metrics=none --ops=torch --wandb=disabled --precision=fp32')
FLOW = '--method=i-stylegan --i-dim=8 --aug=noaug'
RUNS = {
    'plain': '--aug=noaug',
    'ada': '--aug=ada --target=0.1 --mirror=1',
    'unconditional-fixed': '--cond=0 --aug=fixed --p=0.3 --augpipe=bgc --cfg=cifar --cmax=32 --batch=64',
    'flow': FLOW,
    'jacobian-fd': '--method=cg-gan --i-dim=8 --aug=noaug',
    'jacobian-jvp': '--method=cg-gan --i-dim=8 --aug=noaug --jacobian=jvp',
    'jacobian-hoyer': '--method=cg-gan --i-dim=8 --aug=noaug --jacobian=fd-normalized --jacobian-penalty=hoyer --mixing=0',
    'clr': '--method=clr-gan --aug=noaug',
    'clr-compat': '--method=clr-gan --clr-compat=1 --aug=ada',
    'csdi': '--lambda-orth=1 --i-dim=8 --aug=noaug',
    'together': '--method=cg-gan,clr-gan --i-dim=8 --lambda-orth=0.5 --aug=ada --batch-gpu=20',
    'mlp': '--cond-mode=mlp --i-dim=8 --aug=noaug',
    'bf16': '--aug=noaug --precision=bf16',
    'two-ranks': '--method=cg-gan --i-dim=8 --aug=ada --gpus=2',
    'rounds': '--aug=noaug --batch-gpu=20',
}
RESUMED = 'resumed'  # `together` for another 1 kimg, from its snapshot


def write_dataset(path: Path) -> None:
    """30 random 16x16 images in colour, in three folders."""
    rng = np.random.default_rng(0)
    for i in range(30):
        image = path / 'abc'[i % 3] / f'{i:02d}.png'
        image.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(image)
    labels = [[f'{"abc"[i % 3]}/{i:02d}.png', i % 3] for i in range(30)]
    (path / 'dataset.json').write_text(json.dumps({'labels': labels}))


def digests(names: list[str], root: Path) -> dict[str, dict[str, str]]:
    """Train each run with the checkout at `root`, whose modules this process imports; its networks' digests."""
    sys.path.insert(0, str(root))
    import torch
    torch.set_num_threads(1)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, 'data')
        write_dataset(data)
        for name in names:
            base = 'together' if name == RESUMED else name
            run = Path(folder, name)
            command = [f'--data={data}', f'--outdir={run}', *COMMON.split(), *RUNS[base].split()]
            _train(root, command)
            if name == RESUMED:
                _train(root, [*command, '--kimg=2', f'--resume={next(run.iterdir())}'])
            results[name] = _weights(max(run.glob('*/network-snapshot-*.pkl')))
            print(name, results[name]['G'][:16], file=sys.stderr, flush=True)
    return results


def _train(root: Path, command: list[str]) -> None:
    if '--gpus=2' in command:
        done = subprocess.run([sys.executable, str(root / 'train.py'), *command], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:] + done.stderr)
        return
    import train
    with contextlib.redirect_stdout(io.StringIO()):
        train.main(command, standalone_mode=False)


def _weights(snapshot: Path) -> dict[str, str]:
    """SHA-256 of all tensors of each network, with their names."""
    from training.snapshots.file import load_network_snapshot
    found = load_network_snapshot(str(snapshot))
    result = {}
    for net in ('G', 'D', 'G_ema'):
        digest = hashlib.sha256()
        for key, tensor in sorted(found[net].state_dict().items()):
            digest.update(key.encode() + str((tensor.dtype, tuple(tensor.shape))).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        result[net] = digest.hexdigest()
    return result


def machine() -> str:
    """What the digests depend on beside the code: the build of torch and the processor."""
    import torch
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
    model = next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), '')
    return f'torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {model}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='*', default=[*RUNS, RESUMED], metavar='RUN', help=', '.join([*RUNS, RESUMED]))
    parser.add_argument('--root', type=Path, default=Path(__file__).parents[2], help='checkout to run')
    parser.add_argument('--out', type=Path, help='write the digests here instead of to standard output')
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS='1', WANDB_MODE='disabled')
    text = json.dumps({machine(): digests(args.runs, args.root.resolve())}, indent=1)
    if args.out:
        args.out.write_text(text + '\n')
    else:
        print(text)


if __name__ == '__main__':
    main()
