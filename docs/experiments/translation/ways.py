"""Translates real images in several ways, and compares the results with the truth.

    python docs/experiments/translation/ways.py --data=<dataset> --eval-data=<paired dataset> --network=<snapshot> [--network=...]

A way finds the latents of the images: by projection; by an encoder; by that encoder and 50 steps of optimisation. The encoder is
the discriminator of a network that was trained with CLR-GAN. For other networks one is trained (python -m training.encoder).

Appends a line to metric-ways.jsonl in the folder of each snapshot. For each way it has
    <way>_error     mean |x - y| of a translation x and the true image y, for values in [0, 1]
    <way>_content   share of the translations whose nearest true image has their content
    <way>_rebuilt   error of the reconstructions in the own domain
and encoder_fd, the Fréchet distance of the translations to the real images of their domain, by the classifier of the dataset.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / 'docs' / 'experiments'))

import measuring

TRUTH, FRECHET = 'truth48', 'tfd500_own'
WAYS = {'projection': ['--by=projection'], 'encoder': ['--by=encoder'], 'refined': ['--by=encoder', '--steps=50']}


def main() -> None:
    measuring.main(__doc__, 'ways', measure, data='the training images',
                   eval_data='images of which each content is there in every domain')


def measure(network: Path, args: argparse.Namespace) -> dict[str, float]:
    """Values of all ways for a network. Trains an encoder if there is none."""
    shared = [f'--seed={args.seed}', f'--device={args.device}']
    if not has_encoder(network):
        call('-m', 'training.encoder', f'--network={network}', *shared)
    metrics = ['calc_metrics.py', f'--network={network}', f'--data={args.data}', f'--verbose={args.verbose}', *shared]
    results = {}
    for way, options in WAYS.items():
        call(*metrics, f'--metrics={TRUTH}', f'--eval-data={args.eval_data}', *options)
        results |= named(way, newest(network, TRUTH))
    call(*metrics, f'--metrics={FRECHET}', *WAYS['encoder'])
    return results | dict(encoder_fd=newest(network, FRECHET)[FRECHET])


def has_encoder(network: Path) -> bool:
    """Whether the network was trained with CLR-GAN, or an encoder lies beside it."""
    methods = json.loads((network.parent / 'training_options.json').read_text(encoding='utf-8'))['methods']
    return 'clr-gan' in methods or network.with_name(f'{network.stem}-encoder.safetensors').exists()


def call(*command: str) -> None:
    status = subprocess.run([sys.executable, *command], cwd=ROOT).returncode
    if status:  # the program has printed the reason
        raise SystemExit(status)


def newest(network: Path, metric: str) -> Mapping[str, float]:
    """The last results of a metric."""
    lines = (network.parent / f'metric-{metric}.jsonl').read_text(encoding='utf-8').splitlines()
    return next(line['results'] for line in map(json.loads, reversed(lines)) if line['snapshot_pkl'] == network.name)


def named(way: str, results: Mapping[str, float]) -> dict[str, float]:
    keys = dict(error=TRUTH, content=f'{TRUTH}_content', rebuilt=f'{TRUTH}_rebuilt')
    return {f'{way}_{name}': results[key] for name, key in keys.items()}


if __name__ == '__main__':
    main()
