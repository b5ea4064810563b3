"""Modes of StackedMNIST: trains the four objectives, counts the digits that they draw, and writes results.json and the table.

    python docs/experiments/stacked-mnist/run.py [--kimg=10] [--table-only]

Needs datasets/stacked.zip and datasets/digits.zip (README.md beside this file). Goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT))
COMMON = ['--data=datasets/stacked.zip', '--outdir=runs/stacked-mnist', '--z-dim=64', '--batch=32', '--cbase=512',
          '--cmax=64', '--gamma=1', '--noise=0', '--map-depth=1', '--mixing=0', '--pl-weight=0', '--aug=noaug',
          '--fp32=1', '--workers=1', '--metrics=none', '--seed=0', '--snap=1', '--keep=1', '--wandb=disabled',
          '--ops=torch', '--device=cpu']
OBJECTIVES = {
    'logistic, R1': [],
    'logistic, R1, R2': ['--r2=1'],
    'relativistic, R1': ['--loss=relativistic'],
    'relativistic, R1, R2': ['--loss=relativistic', '--r2=1'],
}
IMAGES = 10_000


def train(name: str, kimg: int) -> Path:
    """Train an objective for `kimg`. Returns its newest snapshot."""
    desc = name.replace(', ', '-').lower()
    command = [sys.executable, str(ROOT / 'train.py'), *COMMON, *OBJECTIVES[name], f'--kimg={kimg}', f'--desc={desc}',
               '--resume=latest']
    subprocess.run(command, check=True, cwd=ROOT)
    run = max(p for p in (ROOT / 'runs' / 'stacked-mnist').iterdir() if p.name.endswith(f'-{desc}'))
    return max(run.glob('network-snapshot-*.pkl'))


def digit_classifier():
    """Train a small convolutional network for single digits [N, 1, 32, 32] in [-1, 1]. Returns it with its accuracy on held-out
    digits."""
    import numpy as np
    import torch
    from torch import nn

    from training.dataset import ImageFolderDataset
    data = ImageFolderDataset(str(ROOT / 'datasets' / 'digits.zip'), use_labels=True)
    x = torch.from_numpy(np.stack([data[i][0] for i in range(len(data))])).float()[:, :1] / 127.5 - 1
    y = torch.from_numpy(np.stack([data.get_label(i) for i in range(len(data))])).argmax(dim=1)
    torch.manual_seed(0)
    order = torch.randperm(len(x))
    held_out, rest = order[:1000], order[1000:]
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(2048, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(12):
        for rows in rest[torch.randperm(len(rest))].split(64):
            loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        accuracy = (net(x[held_out]).argmax(dim=1) == y[held_out]).float().mean().item()
    return net, accuracy


def count_modes(snapshot: Path, classifier) -> dict[str, float]:
    """Count modes among IMAGES generated images, out of 1000. Returns the count and KL(generated || uniform) in nats."""
    import torch

    from training.snapshot import load_network_snapshot
    G = load_network_snapshot(str(snapshot), only=('G_ema',)).G_ema
    counts = torch.zeros(1000)
    with torch.no_grad():
        for seed in range(IMAGES // 100):
            z = torch.randn(100, G.z_dim, generator=torch.Generator().manual_seed(seed))
            images = G(z, torch.zeros(100, 0))
            digits = classifier(images.reshape(300, 1, *images.shape[2:])).argmax(dim=1).reshape(100, 3)
            counts += torch.bincount(digits @ torch.tensor([100, 10, 1]), minlength=1000)
    p = counts / counts.sum()
    return dict(modes=int((counts > 0).sum()), kl=float((p[p > 0] * (p[p > 0] * 1000).log()).sum()))


def table(results: dict) -> str:
    rows = [f'| {name} | {r["kimg"]} | {r["modes"]} | {r["kl"]:.2f} |' for name, r in results['objectives'].items()]
    return '\n'.join(['| objective | kimg | modes of 1000 | KL |', '|---|---|---|---|', *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kimg', type=int, default=10)
    parser.add_argument('--table-only', action='store_true', help='print the table of results.json')
    args = parser.parse_args()
    path = HERE / 'results.json'
    if not args.table_only:
        snapshots = {name: train(name, args.kimg) for name in OBJECTIVES}
        classifier, accuracy = digit_classifier()
        results = {name: dict(kimg=args.kimg, **count_modes(snapshot, classifier)) for name, snapshot in snapshots.items()}
        assert all(math.isfinite(r['kl']) for r in results.values())
        found = dict(images=IMAGES, seed=0, classifier_accuracy=accuracy, objectives=results)
        path.write_text(json.dumps(found, indent=2) + '\n')
    print(table(json.loads(path.read_text())))


if __name__ == '__main__':
    main()
