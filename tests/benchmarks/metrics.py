"""What every metric costs: python tests/benchmarks/metrics.py --help

CPU seconds of one core, each metric once and by itself, with the shipped network of two-colour MNIST at 32x32. Starting the
program and loading the network and the detector are not counted. About 5 minutes in all.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).parents[2]))

import click
import torch

import dataset_tool
from metrics.context import Context
from metrics.detectors import check_detector
from metrics.registry import find_metric
from training.dataset import ImageFolderDataset
from training.snapshots import shipped
from training.snapshots.file import load_network_snapshot

NETWORK = 'two-color-mnist/i-stylegan'
DIGITS = ('--source=mnist', '--domains=two-color', '--paired', '--max-images=50')  # 50 of each colour
SHAPES = ('--source=synthetic', '--domains=2', '--max-images=200')
# Name, what is counted, and arguments that names cannot say.
METRICS = (
    ('fd40_efficientnet', '40 samples, 40 real images', {}), ('kd40_efficientnet', '40 samples, 40 real images', {}),
    ('pr40_3_efficientnet', '40 samples, 40 real images', {}), ('dc40_5_efficientnet', '40 samples, 40 real images', {}),
    ('nn100_efficientnet', '100 samples, 100 training images', {}),
    ('modes100', '100 samples; a classifier', {}),
    ('fd20_efficientnet_full_domains', '20 samples and 50 real images of each of 2 domains', {}),
    ('jfd20_efficientnet', '20 pairs drawn, 50 real pairs', {}), ('dipd20_efficientnet', '20 latents in 2 domains', {}),
    ('pd_div2_efficientnet', '2 contents in 10 styles and 2 domains', {}),
    ('tfd2_efficientnet', '2 images of each domain by projection, in 10 styles; 50 real images of each', {}),
    ('tpd2_efficientnet', '2 images of each domain by projection, in 10 styles', {}),
    ('truth4', '4 contents in 2 domains, by projection', {}),
    ('truth4_efficientnet', '4 contents in 2 domains, by projection', {}),
    ('translation', '8 images by projection; two classifiers', dict(num_images=8)),
    ('domains', '512 latents in 2 domains; two classifiers', {}),
    ('directions', '64 latents along 24 directions; two classifiers', {}), ('jacobian', '16 latents', {}),
    ('identifiability200', '200 images; a regression, trained on 5,000 samples', {}))
NOT_MEASURED = (
    ('`fid`, `kid`, `is`, `jfid`, `tfid`', 'the weights of Inception'),
    ('`ppl`; `dipd`, `pr`, `dc` as published', 'the weights of VGG16'),
    ('`lpips_div`, `tlpips`', 'the weights of AlexNet'), ('`fd`, `kd`, `jfd`, ... with `dinov2`', 'the weights of DINOv2'),
    ('`mcc`', "CLR-GAN's discriminator"))


@click.command()
@click.option('--only', help='Names of some of the metrics, separated by commas.', metavar='LIST')
def main(only: str | None) -> None:
    """Print a table of CPU seconds, in Markdown."""
    torch.set_num_threads(1)
    chosen = only.split(',') if only else [name for name, _, _ in METRICS]
    check_detector('efficientnet')
    snapshot = load_network_snapshot(shipped.path_of(NETWORK))
    detectors: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        digits, shapes = (make(options, Path(folder, f'{i}.zip')) for i, options in enumerate((DIGITS, SHAPES)))
        print('| metric | size | CPU seconds |\n|---|---|---|')
        for name, size, arguments in METRICS:
            if name in chosen:
                context = Context(snapshot.G_ema, shapes if name.startswith('identifiability') else digits, torch.device('cpu'),
                                  D=snapshot.D, by='projection', detectors=detectors)
                print(f'| `{name}` | {size} | {seconds(name, context, arguments):.1f} |', flush=True)
    if not only:
        print('\n'.join(f'| {names} | | not measured: needs {missing} |' for names, missing in NOT_MEASURED))


def make(options: tuple[str, ...], dest: Path) -> ImageFolderDataset:
    """The dataset that dataset_tool.py makes of these options."""
    dataset_tool.main([*options, f'--dest={dest}', '--workers=1'], standalone_mode=False)
    return ImageFolderDataset(str(dest), use_labels=True)


def seconds(name: str, context: Context, arguments: dict) -> float:
    """CPU time of a metric, of all threads of this process."""
    metric = find_metric(name)
    if metric.detector is not None:
        context.detector(metric.detector)
    module, function = metric.function.split(':')
    compute = getattr(importlib.import_module(module), function)
    start = time.process_time()
    compute(context, **metric.kwargs, **arguments)
    return time.process_time() - start


if __name__ == '__main__':
    main()
