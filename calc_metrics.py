"""Evaluate a trained network. `python calc_metrics.py --help` explains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from dnnlib import cli
from dnnlib.util import EasyDict, OptionError, UserError
from metrics.context import Context
from metrics.feature_cache import FeatureCache
from metrics.registry import calc_metric, find_metric, parse_metrics
from metrics.report import comparison, write_report
from torch_utils.devices import DEVICES
from training.dataset import ImageFolderDataset
from training.sampling import options
from training.snapshot import load_network_snapshot

EXAMPLES = """\b
Metrics:
  jacobian   how strong, and how sparse over the image, is the effect of each style and each content coordinate
  domains    does a latent make an image of each domain, with the same content? Classifiers are trained for it, on the data
  translation   does a real image keep its content when CLR-GAN translates it to another domain? By the same classifiers
\b
Examples:
  # Evaluate a snapshot; the results go into its run directory
  python calc_metrics.py --metrics=jacobian,domains --network=runs/00000-mnist-cond-auto1/network-snapshot-000060.pkl
\b
  # Two of them side by side: before and after fine-tuning
  python calc_metrics.py --metrics=jacobian --network=i-stylegan/network-snapshot-000240.pkl \\
      --network=cg-gan/network-snapshot-000288.pkl
\b
  # A network from elsewhere
  python calc_metrics.py --metrics=domains --data=datasets/mnist.zip --network=network-snapshot-000060.pkl --outdir=out
"""


@click.command(cls=cli.Command, epilog=EXAMPLES, context_settings=dict(max_content_width=120))
@click.option('--network', 'networks', help='Network: a snapshot, path or URL, or the folder of an exported generator. Can be '
              'given several times, to compare.', required=True, multiple=True, metavar='PKL')
@click.option('--metrics', help='What to compute: names separated by commas, or none.', required=True,
              metavar='LIST')
@click.option('--data', help='Dataset to compare with: a folder or ZIP made by dataset_tool.py.  '
              '[default: the one that the network was trained on, if it is still there]', metavar='PATH')
@click.option('--seed', help='One seed fixes the results.', type=click.IntRange(min=0), default=0, show_default=True,
              metavar='INT')
@click.option('--outdir', help='Where to put metric-<name>.jsonl and the figures; made if need be.  [default: the folder of the '
              'network if it is a run directory, else nowhere]', metavar='DIR')
@click.option('--device', help='Where to compute.', type=click.Choice(DEVICES), default='auto', show_default=True)
@options.ops
@cli.bool_option('--verbose', help='Show what is being done.', default=True, show_default=True)
def main(networks: tuple[str, ...], metrics: str, data: str | None, seed: int, outdir: str | None, device: str,
         ops: str, verbose: bool) -> None:
    """Evaluate the moving average of a trained generator (G_ema), or several.

    Prints one line of JSON for each metric and network. Appends it to metric-<name>.jsonl and draws <name>-<network>.png
    in --outdir. With several networks, prints a table of each metric, too.
    """
    names_of_metrics = parse_metrics(metrics)
    where = options.start_on(device, ops)
    contexts, run_dirs, caches, detectors = [], [], {}, {}
    for network in networks:
        if verbose:
            print(f'Loading network from "{network}"...', flush=True)
        wanted = [find_metric(name) for name in names_of_metrics]
        needs_D = any(metric.needs_D for metric in wanted)
        snapshot = load_network_snapshot(network, only=('G_ema', 'D') if needs_D else ('G_ema',))
        needs_data = any(m.needs_data or (m.needs_labels and snapshot.G_ema.c_dim > 0) for m in wanted)
        dataset = open_dataset(data, snapshot) if needs_data else None
        cache = caches.setdefault(dataset and (dataset.path, len(dataset), snapshot.G_ema.c_dim), {})
        D = snapshot.D.to(where) if needs_D else None
        contexts.append(Context(snapshot.G_ema.to(where), dataset, where, seed, verbose, cache, D, detectors=detectors,
                                feature_cache=FeatureCache()))
        run_dirs.append(find_outdir(outdir, network))
        if run_dirs[-1] is None and verbose:
            print('No figures: this network is not in a run directory; choose a folder with --outdir.')
    names = distinct_names(networks)
    for metric in names_of_metrics:
        records = []
        for network, context, run_dir, name in zip(networks, contexts, run_dirs, names, strict=True):
            if verbose:
                print(f'Calculating {metric}...', flush=True)
            result, record = calc_metric(metric, context)
            local = run_dir is not None and Path(network).is_file()
            write_report(result, record, run_dir, os.path.relpath(network, run_dir) if local else network, name)
            records.append(record)
        if len(networks) > 1:
            print(f'\n{comparison(records, names)}\n', flush=True)


def open_dataset(path: str | None, snapshot: EasyDict) -> ImageFolderDataset:
    """Open --data, or else the dataset of the snapshot, if it is there, as it was used. Raises OptionError if it can't."""
    own = isinstance(snapshot.training_set_kwargs, dict) and snapshot.origin == 'this project'
    stored: Any = snapshot.training_set_kwargs if own else {}  # a path in a published file is of its author's machine
    kwargs: dict[str, Any] = {}
    if path is None:
        path = stored.get('path')
        if not isinstance(path, str) or not Path(path).exists():
            raise OptionError('Could not look up dataset options; please specify --data')
        kwargs = {key: stored[key] for key in ('max_size', 'random_seed') if isinstance(stored.get(key), int)}
    try:
        return ImageFolderDataset(path, use_labels=True, **kwargs)
    except UserError as err:
        raise OptionError(f'--data: {err}') from err


def find_outdir(outdir: str | None, network: str) -> Path | None:
    """The folder for results: --outdir, made here, or that of a local network if it is a run directory, or None."""
    if outdir is None:
        folder = Path(network).parent
        return folder if Path(network).is_file() and (folder / 'training_options.json').is_file() else None
    try:
        Path(outdir).mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f'--outdir: cannot create {outdir} ({err.strerror}); choose another directory') from err
    return Path(outdir)


def distinct_names(networks: Sequence[str]) -> list[str]:
    """Names for networks given by path or URL: of the file, without extension; with the folder where it takes that to tell
    them apart."""
    paths = [Path(network if Path(network).is_file() else urlsplit(network).path) for network in networks]
    stems = [path.stem or 'network' for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    return [f'{path.absolute().parent.name}-{stem}' for path, stem in zip(paths, stems, strict=True)]


if __name__ == '__main__':
    cli.run(main)
