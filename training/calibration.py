"""`python -m training.calibration`: which distances rise when the images of a dataset are damaged? docs/metrics-offline.md"""

from __future__ import annotations

import json
from pathlib import Path

import click

from dnnlib import cli, openmp  # noqa: F401 (before torch is loaded)
from dnnlib.files import atomic_open
from dnnlib.util import OptionError, UserError
from metrics.calibration import record
from metrics.calibration.measure import FEWEST, as_record, choose_halves, measure
from metrics.calibration.report import draw, table
from metrics.context import Context
from metrics.detectors import DETECTORS, OWN, check_detector
from metrics.detectors.registry import detector_spec
from metrics.features.cache import FeatureCache
from torch_utils import devices
from training.data.dataset import ImageFolderDataset


@click.command(cls=cli.Command, context_settings=dict(max_content_width=120))
@click.option('--data', type=cli.PATH, help='A folder or ZIP made by dataset_tool.py.', required=True, metavar='PATH')
@click.option('--detector', 'detectors', help=f'Detectors, separated by commas: {", ".join(DETECTORS)}.',
              default='own,efficientnet', show_default=True, metavar='LIST')
@click.option('--num', help='Images to damage. As many others are compared with them.', type=click.IntRange(min=FEWEST),
              default=200, show_default=True, metavar='INT')
@click.option('--seed', help='Random seed.', type=click.IntRange(min=0), default=0, show_default=True, metavar='INT')
@click.option('--outdir', type=cli.PATH, help='Where to put calibration-<dataset>.json and .png.  [default: nowhere]',
              metavar='DIR')
@click.option('--cache', type=cli.PATH, help='Where to keep the trained detector and the result, or off.  [default: gan-metrics '
              'in the cache directory]', metavar='DIR')
@click.option('--batch', help='Images that a detector takes at a time.', type=click.IntRange(min=1), default=64,
              show_default=True, metavar='INT')
@click.option('--device', help='Where to compute.', type=click.Choice(devices.DEVICES), default='auto', show_default=True)
def main(data: str, detectors: str, num: int, seed: int, outdir: str | None, cache: str | None, batch: int, device: str) -> None:
    """Damage real images in steps, and see whether distances rise.

    Prints a table of kernel (kd) and Frechet distances (fd), and what is wrong with each. calc_metrics.py and train.py then
    warn of a distance that failed on this dataset.
    """
    names = list(dict.fromkeys(name.strip() for name in detectors.split(',')))
    for name in names:
        detector_spec(name)
        check_detector(name)
    if outdir is not None and Path(outdir).exists() and not Path(outdir).is_dir():
        raise OptionError(f'--outdir={outdir}: a file has this name; choose another directory')
    try:
        dataset = ImageFolderDataset(data, use_labels=True)
        dataset.validate()
    except UserError as err:
        raise OptionError(f'--data: {err}') from err
    kept = None if cache == 'off' else FeatureCache(cache)
    context = Context(None, dataset, devices.start(device), seed, verbose=True, batch=batch, feature_cache=kept)
    if OWN in names:
        from metrics.detectors import own_training
        own_training.check(context)
    halves = choose_halves(context, num)
    findings = []
    for name in names:
        found = measure(context, name, halves)
        if kept is not None:
            record.save(kept, dataset, found)
        findings += found
    print(table(findings))
    if outdir is not None:
        path = Path(outdir, f'calibration-{dataset.name}')
        try:
            with atomic_open(path.with_name(path.name + '.json')) as f:
                f.write(json.dumps(dict(data=dataset.name, num=len(halves.images), seed=seed, findings=as_record(findings)),
                                   indent=1).encode())
            with atomic_open(path.with_name(path.name + '.png')) as f:
                draw(context, halves, findings, f'{dataset.name}: {len(halves.images)} damaged images').savefig(
                    f, format='png', dpi=100)
        except OSError as err:
            raise UserError(f'{path}: cannot be written ({err.strerror}); choose another --outdir') from err
        print(f'Wrote {path}.json and {path.name}.png')


if __name__ == '__main__':
    cli.run(main)
