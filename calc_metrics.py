"""Evaluate trained networks, or compare images with images. `python calc_metrics.py --help` explains."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import click

from dnnlib import cli, openmp  # noqa: F401 (before torch is loaded)
from dnnlib.util import EasyDict, OptionError, UserError
from metrics.context import STEPS, WAYS_OR_AUTO, Context
from metrics.detectors import DETECTORS, check_detector
from metrics.detectors.registry import RESIZES, detector_spec
from metrics.domains import encoder
from metrics.features.cache import FeatureCache
from metrics.features.together import Together
from metrics.quality.names import parse_name
from metrics.registry import METRICS, background_note, calc_metric, check_metric, find_metric, parse_metrics
from metrics.report import Records, write_report
from metrics.subjects import Subject, find_subjects
from torch_utils import devices, distributed
from torch_utils.launching import launch
from torch_utils.torchrun import how_many
from training.data.finding import tell_left_out
from training.data.loose_images import LooseImages
from training.sampling import options
from training.snapshots import shipped
from training.snapshots.classes import choose
from training.snapshots.datasets import name_eval_data, open_datasets
from training.snapshots.file import load_network_snapshot
from training.snapshots.hub import is_export

EXAMPLES = f"""\b
Metrics (docs/metrics.md defines them all):
  fid50k_full   Frechet distance of 50,000 generated images to all real ones, by the Inception that defines FID
  kid50k_full   kernel distance by the same network; unbiased, for small datasets
  pr50k3_full   precision and recall, by 3 nearest neighbours in features of VGG16
  is50k         inception score
  ppl2_wend, ppl_zfull, ppl_wfull, ppl_zend, ppl_wend   perceptual path lengths
  fid50k, kid50k, pr50k3   the same against the first 50,000 real images, mirrored ones as in training
  fd50k_dinov2_full        Frechet distance by another detector; kd... is the kernel distance
  dc10k5        density and coverage, by 5 nearest neighbours; dc10k5_full against all real images
  nn10k_efficientnet   memorisation: distances of samples to the nearest training images, with a picture
  modes         number of classes among 26,000 samples, by a classifier trained on the labels of the dataset; KL divergence
  any other size: fid5k_full, kid1k, pr10k3_full, fd2k_efficientnet_full (k: 1000), ppl2_wend_1k
  fid50k_full_domains   FID of each domain, and their mean; also with other distances and sizes
  {', '.join(name for name in METRICS if parse_name(name) is None)}
                for networks with domains; identifiability: docs/identifiability.md
\b
Detectors:
{chr(10).join(f'  {name:<13} {spec.summary}' for name, spec in DETECTORS.items())}
\b
Examples:
  # FID of a snapshot; the result goes into its run directory
  python calc_metrics.py --network=runs/00000-faces-auto1/network-snapshot-001000.pkl
\b
  # Without internet access, and in minutes: a small Frechet distance with a detector that is already installed
  python calc_metrics.py --metrics=fd5k_full --detector=efficientnet --network=network-snapshot-001000.pkl
\b
  # A curve over all snapshots of a run; later, only for the new ones
  python calc_metrics.py --metrics=fid10k_full,kid10k_full --network=runs/00000-faces-auto1
  python calc_metrics.py --metrics=fid10k_full,kid10k_full --network=runs/00000-faces-auto1 --missing-only
\b
  # Two networks side by side: before and after fine-tuning
  python calc_metrics.py --metrics=jacobian,domains --network=i-stylegan/network-snapshot-000240.pkl \\
      --network=cg-gan/network-snapshot-000288.pkl
\b
  # A network from elsewhere, on two GPUs
  python calc_metrics.py --metrics=fid50k_full,is50k --data=datasets/faces.zip --gpus=2 --network=https://host/faces.pkl
\b
  # 5000 images against others, without a network: folders or ZIPs, of any sizes
  python calc_metrics.py --metrics=fid5k_full --images=samples --data=photos.zip
"""

SECTIONS = {'What to evaluate': 'networks', 'Metrics': 'metrics', 'What to compare with': 'data', 'Results': 'seed',
            'Performance': 'gpus'}


@click.command(cls=cli.Command, sections=SECTIONS, epilog=EXAMPLES, context_settings=dict(max_content_width=120))
@click.option('--network', 'networks', type=cli.PATH,
              help='A snapshot, path or URL; the folder of an exported generator; or a name of models/. Repeat it '
              'to compare networks. A run directory: all its snapshots, as a curve. A pattern in quotes: all '
              "matching files ('runs/*/network-snapshot-*.pkl').", multiple=True, metavar='PKL')
@options.classes()
@click.option('--images', type=cli.PATH,
              help='Compare these images with those of --data instead, without a network: a folder or ZIP file of '
              'images, also of different sizes.', metavar='PATH')
@click.option('--metrics', help='What to compute: names separated by commas, or none.', default='fid50k_full', show_default=True,
              metavar='LIST')
@click.option('--num', help='Number of images to generate, instead of the number in the names. Results have the new name.',
              type=int, metavar='INT')
@click.option('--detector', help='Network whose features describe the images, for fd, kd, pr, dc and nn: '
              f'{", ".join(DETECTORS)}.  [default: as the name of the metric says]', metavar='NAME')
@click.option('--detector-path', type=cli.PATH,
              help='Weights of the detector: a file or URL.  [default: those in the cache directory, or '
              'downloaded]', metavar='PATH')
@click.option('--resize', help='How images are resized for the detector. clean: anti-aliased; results get the suffix '
              '_clean.  [default: published]', type=click.Choice(RESIZES))
@click.option('--by', help='How metrics of translation find the latents of real images. encoder: the discriminator of a network '
              'that was trained with --method=clr-gan, or one that python -m training.encoder trained. projection: optimisation, '
              'for any network. auto: an encoder if it works.', type=click.Choice(WAYS_OR_AUTO), default='auto',
              show_default=True)
@options.encoder
@click.option('--steps', help=f"Steps of a projection, or of an optimisation that refines an encoder's latents.  [default: "
              f'{STEPS} of a projection, none after an encoder]', type=click.IntRange(min=1), metavar='INT')
@click.option('--data', type=cli.PATH,
              help='A folder or ZIP made by dataset_tool.py; with --images, any images.  [default: the training data '
              'of the network, if they still exist]', metavar='PATH')
@click.option('--eval-data', type=cli.PATH,
              help='Compare with these images instead, such as a held-out split of --data. Results name them. Labels of '
              'generated images still come from --data.', metavar='PATH')
@cli.bool_option('--mirror', default=None, help='Whether the real images include mirrored copies, for metrics without _full.  '
                 '[default: as in training; no with --data]')
@click.option('--seed', help='Random seed.', type=click.IntRange(min=0), default=0, show_default=True,
              metavar='INT')
@click.option('--outdir', type=cli.PATH,
              help='Directory for metric-<name>.jsonl and the figures. Created if necessary.  [default: the folder of the '
              'network if it is a run directory, else none]', metavar='DIR')
@click.option('--missing-only', help='Skip snapshots that already have a line with the same metric and seed in '
              'metric-<name>.jsonl.', is_flag=True)
@cli.bool_option('--verbose', help='Show progress and the time left.', default=True, show_default=True)
@click.option('--gpus', help='Number of processes that share the work, each with its own GPU or part of the CPU. It does not '
              'change the results.  [default: 1, or as many as torchrun started]', type=int, metavar='INT')
@click.option('--batch', help='Batch size of the detector. Lower it to save memory.', type=int, default=64,
              show_default=True, metavar='INT')
@click.option('--cache', type=cli.PATH,
              help='Directory for cached features of real images, or off.  [default: gan-metrics in the '
              'cache directory, which is ~/.cache/dnnlib, or $DNNLIB_CACHE_DIR]', metavar='DIR')
@click.option('--device', help='Where to compute.', type=click.Choice(devices.DEVICES), default='auto', show_default=True)
@options.ops
def main(**kwargs) -> None:
    """Evaluate the moving average of a trained generator (G_ema), or several, or images.

    Prints one line of JSON for each metric and network. Appends it to metric-<name>.jsonl and draws <name>-<network>.png
    in --outdir. With several networks, prints a table of each metric, too; with several snapshots of a run, draws
    metric-<name>.png, the metric over the course of training.
    """
    o = EasyDict(kwargs)
    check_options(o)
    subjects = find_subjects([shipped.path_of(network) for network in o.networks])
    launch(evaluate, (o, subjects), o.gpus, devices.resolve_device(o.device).type)


def check_options(o: EasyDict) -> None:
    """Complete and check the options before any long work. Raises OptionError, UserError."""
    o.detector is None or detector_spec(o.detector)
    o.metrics = parse_metrics(o.metrics, o.detector, o.resize, o.num)
    if o.gpus is not None and o.gpus < 1:
        raise OptionError('--gpus must be at least 1')
    o.gpus = how_many(o.gpus)
    if o.batch < 1:
        raise OptionError('--batch must be at least 1')
    if bool(o.networks) == bool(o.images):
        raise OptionError('--network says what to evaluate, or --images in its place; give ' +
                          ('one of them' if o.images else '--network=<snapshot or run directory>'))
    if o.images and not o.data and any(find_metric(name).needs_data for name in o.metrics):
        raise OptionError('--images are compared with those of --data; give that, too')
    if o.images and o.eval_data:
        raise OptionError('--eval-data: --images are compared with those of --data; leave --eval-data out')
    for option, given in (('by', None if o.by == 'auto' else o.by), ('encoder', o.encoder), ('steps', o.steps)):
        if given is not None and not any(find_metric(name).translates for name in o.metrics):
            raise OptionError(f'--{option}={given}: none of the metrics {", ".join(o.metrics)} translates images; leave it out')
    o.by = options.way(o.by, o.encoder)
    used = list(dict.fromkeys(find_metric(name).detector for name in o.metrics if find_metric(name).detector))
    if o.detector_path is not None and len(used) != 1:
        raise OptionError(f'--detector-path={o.detector_path}: the metrics use {", ".join(used) or "no detector"}; ask for '
                          'those of one detector at a time')
    o.detector_paths = {used[0]: o.detector_path} if o.detector_path is not None else {}
    if o.outdir is not None and Path(o.outdir).exists() and not Path(o.outdir).is_dir():
        raise UserError(f'--outdir: cannot create {o.outdir} (a file has this name); choose another directory')
    for name in used:
        check_detector(name, o.detector_paths.get(name))


def evaluate(o: EasyDict, subjects: list[Subject]) -> None:
    """The work of each process."""
    with devices.explaining_out_of_memory(f'use --batch={max(o.batch // 2, 1)} instead of {o.batch}'):
        evaluate_all(o, subjects)


def evaluate_all(o: EasyDict, subjects: list[Subject]) -> None:
    """Compute the metrics o.metrics for each network in turn, and write the results."""
    choose(o.classes)  # again, in new processes
    where = options.start_on(o.device, o.ops, cudnn_benchmark=True)
    shared: dict[str, Any] = dict(device=where, seed=o.seed, verbose=o.verbose, batch=o.batch, detectors={},
                                  detector_paths=o.detector_paths, by=o.by, steps=o.steps,
                                  feature_cache=None if o.cache == 'off' else FeatureCache(o.cache))
    if o.images:
        name = Path(o.images).absolute().stem
        compute(o, Subject(o.images, None, None, name), images_context(o, shared), Records(o.outdir, o.seed))
        return
    shared['eval_data'] = None if o.eval_data is None else name_eval_data(o.eval_data)
    records, failed = Records(o.outdir, o.seed, shared['eval_data']), 0
    caches: dict[Any, dict[str, Any]] = {}
    there = distributed.broadcast_from_rank0(lambda: {(subject.name, metric) for subject in subjects for metric in o.metrics
                                                      if o.missing_only and records.find(metric, subject)})
    for subject in subjects:
        wanted = [metric for metric in o.metrics if (subject.name, metric) not in there]
        if o.metrics and not wanted:
            continue
        try:
            context = network_context(o, subject, shared, wanted, caches)
        except UserError as err:
            if len(subjects) == 1 or isinstance(err, OptionError):
                raise
            print(f'Error: {err}', flush=True)  # the other networks are still evaluated
            failed += 1
            continue
        compute(EasyDict(o, metrics=wanted), subject, context, records)
    if distributed.is_rank0():
        for metric in o.metrics:
            records.summarise(metric, subjects)
    if failed:
        raise UserError(f'{failed} of {len(subjects)} networks could not be read, see above; replace or delete them')


def compute(o: EasyDict, subject: Subject, context: Context, records: Records) -> None:
    """Evaluate one network, or images, and write the results. Raises UserError."""
    for metric in o.metrics:
        check_metric(metric, context)
    run_dir = find_outdir(o.outdir, subject)
    if run_dir is None and o.verbose:
        print('No figures: this network is not in a run directory; choose a folder with --outdir.' if not o.images else
              'Results are printed only; choose a folder for them with --outdir.')
    context = dataclasses.replace(context, together=Together(o.metrics))
    for metric in o.metrics:
        if o.verbose:
            print(f'Calculating {metric}...', flush=True)
        result, record = calc_metric(metric, context)
        if distributed.is_rank0():
            write_report(result, record, run_dir, subject.network if run_dir is None else subject.relative_to(run_dir),
                         subject.name, o.seed)
        records.add(metric, subject, record)


def network_context(o: EasyDict, subject: Subject, shared: dict[str, Any], metrics: list[str], caches: dict) -> Context:
    """Load a network and open its dataset, if the metrics need them. Raises UserError."""
    if o.verbose:
        print(f'Loading network from "{subject.network}"...', flush=True)
    wanted = [find_metric(name) for name in metrics]
    translates = any(metric.translates for metric in wanted) and o.by != 'projection'
    needs_D = any(metric.needs_D for metric in wanted) or (translates and o.encoder is None and not is_export(subject.network))
    snapshot = load_network_snapshot(subject.network, only=('G_ema', 'D') if needs_D else ('G_ema',))
    needs_data = any(m.needs_data or (m.needs_labels and snapshot.G_ema.c_dim > 0) for m in wanted)
    use_labels = snapshot.G_ema.c_dim > 0 or any(metric.needs_classes for metric in wanted)
    dataset = training_set = None
    if needs_data:
        dataset, training_set = open_datasets(o.data, o.eval_data, o.mirror, snapshot, subject.network, use_labels)
    if dataset is not None and not caches:
        tell_files(o, dataset)
    if not caches:
        tell_background(o, metrics, snapshot.G_ema.img_channels)
    cache = caches.setdefault(dataset and (dataset.path, len(dataset), snapshot.G_ema.c_dim), {})
    G = snapshot.G_ema.to(shared['device'])
    return Context(G, dataset, cache=cache, training_set=training_set, D=snapshot.D.to(shared['device']) if needs_D else None,
                   encoder=encoder.find(subject.network, G, o.encoder) if translates else None, **shared)


def images_context(o: EasyDict, shared: dict[str, Any]) -> Context:
    """Open --images and --data, and check all files of both. Raises OptionError."""
    found = []
    for option, path in (('images', o.images), ('data', o.data)):
        try:
            found.append(path and LooseImages(path))
            if path:
                found[-1].validate()
                tell_files(o, found[-1])
                if found[-1].num_with_alpha and o.verbose and distributed.is_rank0():
                    print(f'{path}: {found[-1].num_with_alpha} of {len(found[-1])} images have an alpha channel: detectors see '
                          'them on white')
        except UserError as err:
            raise OptionError(f'--{option}: {err}') from err
    return Context(None, found[1] or None, images=found[0], **shared)


def tell_files(o: EasyDict, dataset: Any) -> None:
    """Print which files of a folder or ZIP file are skipped."""
    if o.verbose and distributed.is_rank0():
        for line in tell_left_out(getattr(dataset, 'left_out', {})):
            print(f'{dataset.path}: {line}')


def tell_background(o: EasyDict, metrics: list[str], num_channels: int) -> None:
    """Print the background on which detectors see images with alpha."""
    note = background_note(metrics, num_channels)
    if note is not None and o.verbose and distributed.is_rank0():
        print(note)


def find_outdir(outdir: str | None, subject: Subject) -> Path | None:
    """The folder for results: --outdir, created here, or the folder of a network if it is a run directory, or None."""
    if outdir is None:
        return subject.run_dir
    try:
        os.makedirs(outdir, exist_ok=True)
    except OSError as err:
        raise UserError(f'--outdir: cannot create {outdir} ({err.strerror}); choose another directory') from err
    return Path(outdir)


if __name__ == '__main__':
    cli.run(main)
