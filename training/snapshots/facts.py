"""Facts about a snapshot, from its file and its run directory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from dnnlib.archive import open_archive
from dnnlib.channels import name as channel_name
from dnnlib.image_size import text_of
from dnnlib.util import EasyDict, UserError
from training.data.labels import read_label_file
from training.networks import Generator
from training.snapshots import classes as own_classes
from training.snapshots import hub
from training.snapshots.file import NETWORKS, load_network_snapshot


def describe(source: str) -> dict[str, Any]:
    """Facts about a snapshot or exported generator, by name, as JSON values; None if unknown.

    source: path or URL. Raises UserError if it can't be read.
    """
    snapshot = load_network_snapshot(source, only=('G_ema',) if hub.is_export(source) else tuple(NETWORKS))
    return facts(source, snapshot)


def facts(source: str, snapshot: EasyDict) -> dict[str, Any]:
    """The same for a snapshot that was read from `source`."""
    path = Path(source)
    run_dir = path.parent if path.is_file() else None
    is_export = 'config' in snapshot
    config = snapshot.get('config') or _read_json(run_dir and run_dir / 'training_options.json')
    G, D = snapshot.G_ema, snapshot.get('D')
    terms = _dict(config.get('loss_terms')) or _dict(_dict(config.get('loss_kwargs')).get('terms'))
    weights = {name: _dict(kwargs).get('weight', 1.0) for name, kwargs in terms.items()}
    names = config.get('label_names') if is_export else _label_names(config)
    return {
        'file': str(source),
        'bytes': _size(path),
        'origin': snapshot.get('origin', 'this project'),
        'method': ','.join(config.get('methods') or []) or method(G, terms),
        'kimg': None if snapshot.cur_nimg is None else snapshot.cur_nimg / 1000,
        'resolution': G.img_resolution,
        'channels': G.img_channels,
        'labels': G.c_dim,
        'label_names': names if _are_names(names, G.c_dim) else None,
        'z_dim': G.z_dim,
        'w_dim': G.w_dim,
        'num_ws': G.num_ws,
        'style_dims': G.mapping.i_dim,
        'style_dims_alive': int(G.mapping.style_mask().sum()),
        'parameters_G': _parameters(G),
        'parameters_D': None if D is None else _parameters(D),
        'loss_terms': {name: weight for name, weight in weights.items() if isinstance(weight, (int, float)) and weight != 0},
        'augment_p': snapshot.get('augment_p') or _augment_p(run_dir, snapshot.cur_nimg),
        'metrics': _metrics(run_dir, path.name) if not is_export else
                   {name: _dict(results) for name, results in _dict(config.get('metrics')).items()},
        'dataset': hub.public_data_kwargs(snapshot.training_set_kwargs),
    }


def method(G: nn.Module, terms: dict) -> str:
    """The value of --method, as far as the network and the loss terms of its run show it."""
    names = []
    if G.mapping.cond_mode in ('flow', 'mlp'):
        names.append('cg-gan' if 'G/img_sparse' in terms else 'i-stylegan')
    if 'G/recon' in terms or 'D/latent' in terms:
        names.append('clr-gan')
    if type(G) is not Generator:
        names.append(own_classes.record_name(G))
    names = names or ['stylegan2']
    return ','.join(names) + ('' if terms else ' (by its layers; the loss terms are not known)')


def table(facts: dict[str, Any]) -> str:
    """Facts as lines of text, without unknown ones."""
    rows = list(_rows(facts))
    width = max(len(name) for name, _ in rows)
    return '\n'.join(f'{name:{width}}  {value}' for name, value in rows)


def _rows(f: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield 'file', f['file'] + ('' if f['bytes'] is None else f' ({f["bytes"] / 1e6:.1f} MB)')
    yield 'origin', f['origin']
    yield 'method', f['method']
    if f['kimg'] is not None:
        yield 'trained for', f'{f["kimg"]:g} kimg'
    yield 'images', f'{text_of(f["resolution"])}, {channel_name(f["channels"])}'
    names = ': ' + ', '.join(f['label_names']) if f['label_names'] else ''
    yield 'labels', f'{f["labels"]}{names}' if f['labels'] else 'none'
    yield 'latents', f'z {f["z_dim"]}, w {f["w_dim"]} x {f["num_ws"]}'
    if f['style_dims']:
        yield 'style', f'{f["style_dims_alive"]} of {f["style_dims"]} coordinates of z alive'
    yield 'parameters', f'G {f["parameters_G"]:,}' + ('' if f['parameters_D'] is None else f', D {f["parameters_D"]:,}')
    if f['loss_terms']:
        yield 'loss terms', ', '.join(f'{name} {weight:g}' for name, weight in f['loss_terms'].items())
    if f['augment_p'] is not None:
        yield 'augmentation', f'p = {f["augment_p"]:.3f}'
    for name, results in f['metrics'].items():
        yield f'metric {name}', ', '.join(f'{k} {v:.4g}' if isinstance(v, (int, float)) else f'{k} -' for k, v in results.items())
    if f['dataset']:
        known = {k: text_of(v) if isinstance(v, list) else v for k, v in f['dataset'].items() if k != 'class_name'}
        yield 'dataset', ', '.join(f'{k}={v}' for k, v in known.items() if v is not None)


def _parameters(net: nn.Module) -> int:
    """Number of trained weights, including those of frozen layers, which are buffers."""
    names = ('resample_filter', 'noise_const', 'w_avg')
    return sum(t.numel() for name, t in net.state_dict().items() if not name.endswith(names))


def _size(path: Path) -> int | None:
    if path.is_dir():
        path = path / hub.WEIGHTS
    return path.stat().st_size if path.is_file() else None


def _read_json(path: Path | None) -> dict:
    """The JSON object in a file that users may edit; {} if there is none."""
    try:
        value = json.loads(path.read_text(encoding='utf-8')) if path and path.is_file() else {}
    except (ValueError, OSError, RecursionError):
        value = {}
    return _dict(value)


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _are_names(names: Any, count: int) -> bool:
    return isinstance(names, list) and len(names) == count and all(isinstance(name, str) for name in names)


def _label_names(config: dict) -> list[str] | None:
    """Names of the domains from the dataset of the run, if it still exists."""
    path = _dict(config.get('training_set_kwargs')).get('path')
    with contextlib.suppress(UserError):
        return label_names(path) if isinstance(path, str) and Path(path).exists() else None
    return None


def label_names(path: str) -> list[str] | None:
    """Names of the labels of a dataset, in order; None if it has none. Raises UserError if it can't be read."""
    with open_archive(path) as archive:
        return read_label_file(archive).domains


def _lines(path: Path) -> Iterator[dict]:
    """The objects in a file of JSON lines. Other lines are skipped, such as an incomplete last line of a running run."""
    try:
        with path.open(encoding='utf-8') as f:
            for line in f:
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    yield value
    except (OSError, UnicodeDecodeError):
        return


def _metrics(run_dir: Path | None, name: str) -> dict[str, dict]:
    """The latest results of each metric for this snapshot, from metric-*.jsonl beside it."""
    found = {}
    for path in sorted(run_dir.glob('metric-*.jsonl')) if run_dir else ():
        for line in _lines(path):
            if line.get('snapshot_pkl') == name and isinstance(line.get('results'), dict):
                found[path.stem.removeprefix('metric-')] = line['results']
    return found


def _augment_p(run_dir: Path | None, cur_nimg: int | None) -> float | None:
    """The probability of augmentation when the snapshot was written, from stats.jsonl beside it; None if it was not used."""
    def mean(line: dict, name: str) -> float | None:
        value = line.get(name)
        return value.get('mean') if isinstance(value, dict) else None

    p = None
    for line in _lines(run_dir / 'stats.jsonl') if run_dir and cur_nimg is not None else ():
        kimg = mean(line, 'Progress/kimg')
        if isinstance(kimg, (int, float)) and abs(kimg - cur_nimg / 1000) < 1e-3 * max(kimg, 1):
            p = mean(line, 'Progress/augment')
    return p or None
