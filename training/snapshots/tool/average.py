"""`python -m training.snapshot average`: G_ema of any length, after the training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dnnlib import cli
from dnnlib.util import EasyDict, OptionError, UserError
from metrics.context import Context
from metrics.features.cache import FeatureCache
from metrics.features.together import Together
from metrics.progress_curve import number
from metrics.registry import calc_metric, check_metric, find_metric, parse_metrics
from training.networks.power_average import LONGEST
from training.sampling import options
from training.snapshots.averages import Averages, averages_up_to, put, reconstruct
from training.snapshots.datasets import open_dataset
from training.snapshots.file import NETWORKS, load_network_snapshot, save_network_snapshot

EXAMPLES = """\b
Examples:
  # A length of 0.08 of the training, at its newest snapshot
  python -m training.snapshot average --sigma=0.08 runs/00000-faces-auto1
\b
  # The best of several lengths, by a metric
  python -m training.snapshot average --sweep=0.03,0.05,0.08,0.12 --metric=fd1k_efficientnet_full runs/00000-faces-auto1
"""


class Lengths(click.ParamType):
    """Lengths, separated by commas. Gives a list of floats."""

    name = 'lengths'

    def convert(self, value: Any, param, ctx) -> list[float]:
        if isinstance(value, list):
            return value
        try:
            lengths = [float(part) for part in str(value).split(',')]
        except ValueError:
            self.fail(f'{value!r} is not a list of numbers such as 0.05,0.1', param, ctx)
        if not all(0 < sigma < LONGEST for sigma in lengths):
            self.fail(f'{value!r}: lengths are above 0 and below {LONGEST:.4f}', param, ctx)
        return list(dict.fromkeys(lengths))


@click.command(cls=cli.Command, epilog=EXAMPLES)
@click.argument('run', type=cli.PATH)
@click.option('--sigma', type=Lengths(), help='Length of the average: the standard deviation of its profile, relative to the '
              'length of the training.', metavar='FLOAT')
@click.option('--sweep', type=Lengths(), help='Try these lengths and take the best by --metric.', metavar='FLOAT,...')
@click.option('--metric', help='Metric for --sweep, such as fd1k_efficientnet_full (docs/metrics.md).', metavar='NAME')
@click.option('--data', type=cli.PATH, help='Dataset that --metric compares with.  [default: what the run was trained on]',
              metavar='PATH')
@click.option('--outdir', type=cli.PATH, help='Where to write the snapshot.  [default: the run directory]', metavar='DIR')
@options.classes(expose_value=False)
@options.device
@options.ops
def command(run: str, sigma: list[float] | None, sweep: list[float] | None, metric: str | None, data: str | None,
            outdir: str | None, device: str, ops: str) -> None:
    """Make G_ema of any length for RUN, a run directory or a network snapshot in it, trained with --post-hoc-ema=1.

    Writes DIR/network-average-<kimg>-<sigma>.pkl, a snapshot whose G_ema is that average. The profile error shows how well the
    stored averages fit this length: 0 is perfect; above 0.05 the result is approximate.
    """
    check_options(sigma, sweep, metric, data)
    path = _network_pkl(Path(run))
    files = averages_up_to(path)
    snapshot = load_network_snapshot(str(path), only=tuple(NETWORKS))
    if sweep is not None:
        name = parse_metrics(metric)[0]
        sigma = [best_length(snapshot, files, sweep, name, rating(path, snapshot, name, data, device, ops))]
    error = reconstruct_into(snapshot, files, sigma[0])
    target = Path(outdir or path.parent) / f'network-average-{path.stem.removeprefix("network-snapshot-")}-{sigma[0]:g}.pkl'
    try:
        networks = {name: snapshot[name].cpu() for name in NETWORKS}
        save_network_snapshot(target, {**networks, 'augment_pipe': snapshot.augment_pipe}, snapshot.training_set_kwargs or {},
                              snapshot.cur_nimg)
    except OSError as err:
        raise UserError(f'{target}: cannot be written ({(err.strerror or str(err)).lower()}); choose another --outdir') from err
    print(f'Wrote {target} (profile error {error:.4f}, from {len(files)} files of averages)')


def check_options(sigma: list[float] | None, sweep: list[float] | None, metric: str | None, data: str | None) -> None:
    """Raise OptionError for conflicting options."""
    if (sigma is None) == (sweep is None):
        raise OptionError('--sigma=<length> or --sweep=<lengths> says what to make; give one of them')
    if sigma is not None and len(sigma) != 1:
        raise OptionError('--sigma is one length; use --sweep to compare several')
    for name, value in (('--metric', metric), ('--data', data)):
        if sweep is None and value is not None:
            raise OptionError(f'{name} has no effect without --sweep; leave it out')
    if sweep is not None and (metric is None or len(parse_metrics(metric)) != 1):
        raise OptionError('--sweep needs one --metric that rates the lengths, such as --metric=fd1k_efficientnet_full')
    if sweep is not None and find_metric(parse_metrics(metric)[0]).better is None:
        raise OptionError(f'--metric={metric}: does not say which of two networks is better; choose another')


def best_length(snapshot: EasyDict, files: list[Averages], sigmas: list[float], metric: str, rate: Callable[[], float | None]
                ) -> float:
    """Evaluate G_ema of each length, print a table that starts with the run's own, and return the best length."""
    print(f'{"sigma":>7}  {"profile error":>13}  {metric}')
    print(f'{"G_ema":>7}  {"":>13}  {number(rate())}', flush=True)
    values = {}
    for sigma in sigmas:
        error, value = reconstruct_into(snapshot, files, sigma), rate()
        print(f'{sigma:>7g}  {error:>13.4f}  {number(value)}', flush=True)
        if value is not None:
            values[sigma] = value
    if not values:
        raise UserError(f'--metric={metric}: has no value for any length; choose another metric')
    return (min if find_metric(metric).better == 'lower' else max)(values, key=values.get)


def _network_pkl(run: Path) -> Path:
    """The snapshot of RUN: the file itself, or the newest in a run directory."""
    if run.is_dir():
        found = sorted(run.glob('network-snapshot-*.pkl'), key=lambda p: (len(p.stem), p.stem))
        if not found:
            raise OptionError(f'{run}: no network-snapshot-<kimg>.pkl in this directory; name a run directory with one')
        return found[-1]
    if not run.is_file() or not run.stem.startswith('network-snapshot-'):
        raise OptionError(f'{run}: not a run directory and not a network-snapshot-<kimg>.pkl in one; name one of them')
    return run


def reconstruct_into(snapshot: EasyDict, files: list[Averages], sigma: float) -> float:
    """Make the average G_ema of the snapshot. Returns its profile error."""
    parameters, error = reconstruct(files, sigma)
    put(parameters, snapshot.G_ema, files[-1].path)
    return error


def rating(path: Path, snapshot: EasyDict, metric: str, data: str | None, device: str, ops: str) -> Callable[[], float | None]:
    """A function that computes the first value of a metric for the current G_ema of the snapshot."""
    kind, G = find_metric(metric), snapshot.G_ema
    where = options.start_on(device, ops)
    dataset = None
    if kind.needs_data or (kind.needs_labels and G.c_dim > 0):
        dataset = open_dataset(data, None, snapshot, str(path), G.c_dim > 0 or kind.needs_classes)
    context = Context(G.to(where), dataset, where, training_set=dataset, D=snapshot.D.to(where), feature_cache=FeatureCache())
    check_metric(metric, context)

    def rate() -> float | None:
        record = calc_metric(metric, dataclasses.replace(context, together=Together([metric])))[1]
        return next(iter(record['results'].values()))
    return rate
