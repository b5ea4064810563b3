"""`python -m training.snapshot export`: folders for model hubs, pickles for the published programs, files for applications."""

from __future__ import annotations

import io
import json
from pathlib import Path

import click
import numpy as np
import PIL.Image
import torch

from dnnlib import cli
from dnnlib.archive import ArchiveWriter
from dnnlib.channels import has_alpha
from dnnlib.files import atomic_open, open_output
from dnnlib.image_size import height_width
from dnnlib.progress import Progress
from dnnlib.util import EasyDict, OptionError, UserError
from torch_utils import devices
from training.networks import Generator
from training.run.directory import check_place
from training.sampling import captioned_grid, drawing, options
from training.snapshots import hub, portable
from training.snapshots.facts import facts, label_names
from training.snapshots.file import NETWORKS, load_network_snapshot, save_network_snapshot
from training.snapshots.model_card import model_card
from training.snapshots.published import stylegan2_ada
from training.snapshots.tracing import mapping_inputs, trace

COLUMNS, ROWS = 8, 4        # of the picture of samples
LARGEST = 2048              # approximate largest width and height of the picture

EXAMPLES = """\b
Examples:
  # A folder for a model hub, and how it gets there
  python -m training.snapshot export --network=network-snapshot-025000.pkl --outdir=faces --license=cc-by-4.0
  huggingface-cli upload <user>/faces faces
\b
  # A pickle that StyleGAN2-ADA, StyleGAN3, i-StyleGAN, CG-GAN and CLR-GAN open
  python -m training.snapshot export --to=stylegan2-ada --network=network-snapshot-025000.pkl --outdir=out
\b
  # Two ONNX files for applications, checked with ONNX Runtime; --to=torch-export makes files for PyTorch
  python -m training.snapshot export --to=onnx --network=network-snapshot-025000.pkl --outdir=faces
\b
  # About a quarter of the bytes, to pass on; train.py --resume continues from G_ema
  python -m training.snapshot export --to=small --network=network-snapshot-025000.pkl --outdir=models/faces/plain
"""


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@click.option('--outdir', type=cli.PATH,
              help='Where to write it: for a hub, a folder that is not there yet or is empty.', required=True,
              metavar='DIR')
@click.option('--to', help='hub: safetensors, JSON, a model card and samples of G_ema. stylegan2-ada: a pickle of G, D and G_ema '
              'that the published programs open. onnx, torch-export: mapping and synthesis network of G_ema, for applications '
              '(docs/export.md). small: a snapshot of D and G_ema with weights rounded to half precision, and without the paths '
              'of this machine.', type=click.Choice(['hub', 'stylegan2-ada', *portable.SUFFIXES, 'small']), default='hub',
              show_default=True)
@click.option('--data', type=cli.PATH,
              help='Dataset whose dataset.json names the labels.  [default: the one that the run was trained on, if it '
              'is still there]', metavar='PATH')
@click.option('--license', help='License of the weights, for the model card: an identifier such as cc-by-4.0.', metavar='ID')
@click.option('--noise-mode', help='Noise inputs, with --to=onnx and torch-export. const: those of the network, the same for all '
              'images.  [default: const]', type=click.Choice(portable.NOISE_MODES))
@options.device
def command(network: str, outdir: str, to: str, data: str | None, license: str | None, noise_mode: str | None, device: str
            ) -> None:
    """Write a snapshot in a form for other programs.

    For a hub: model.safetensors, config.json, README.md and samples.png. The folder appears only when it is complete, and every
    --network option takes it. For the published programs: DIR/stylegan2-ada-<kimg>.pkl. For applications: mapping and synthesis
    .onnx or .pt2, also in the folder for a hub. small: DIR/network-snapshot-<kimg>.pkl.
    """
    for name, value, kinds in (('--data', data, ('hub',)), ('--license', license, ('hub',)),
                               ('--noise-mode', noise_mode, portable.SUFFIXES)):
        if value is not None and to not in kinds:
            raise OptionError(f'{name} has no effect with --to={to}; leave it out')
    check_place(Path(outdir))
    if to == 'hub':
        path = export_folder(network, outdir, data, license, devices.start(device))
    elif to in portable.SUFFIXES:
        path = ' and '.join(map(str, export_programs(network, outdir, to, noise_mode or 'const')))
    else:
        path = (export_pickle if to == 'stylegan2-ada' else export_small)(network, outdir)
    print(f'Wrote {path}')


def export_folder(network: str, outdir: str, data: str | None, license: str | None, device: torch.device) -> Path:
    """Write the folder for a hub. Returns its path."""
    folder = Path(outdir)
    if folder.suffix.lower() == '.zip':
        raise OptionError(f'--outdir: {outdir} is no name for a folder; choose another')
    if folder.is_dir() and any(folder.iterdir()):
        raise OptionError(f'--outdir: {outdir} is not empty; choose another folder, or empty it')
    snapshot = load_network_snapshot(network, only=('G_ema',))
    about = facts(network, snapshot)
    if data is not None:
        about['label_names'] = label_names(data)
        if len(about['label_names'] or ()) != about['labels']:
            raise OptionError(f'--data: {data} names {len(about["label_names"] or ())} labels, but the network has '
                              f'{about["labels"]}; leave it out, or give the dataset of the network')
    G = snapshot.G_ema
    shown = ('method', 'kimg', 'resolution', 'channels', 'labels', 'label_names', 'z_dim', 'w_dim', 'metrics')
    terms = {name: {'weight': weight} for name, weight in about['loss_terms'].items()}
    config = hub.make_config(G, snapshot.cur_nimg, snapshot.training_set_kwargs, **{key: about[key] for key in shown},
                                  loss_terms=terms)
    with ArchiveWriter(folder) as out:
        out.write(hub.WEIGHTS, hub.weights(G))
        out.write(hub.CONFIG, (json.dumps(config, indent=2) + '\n').encode())
        out.write('README.md', model_card(about, folder.absolute().name, license, tuple(mapping_inputs(G, 1))).encode())
        out.write('samples.png', samples(G.to(device), device))
    return folder


def export_pickle(network: str, outdir: str) -> Path:
    """Write the pickle for the published programs. Returns its path."""
    snapshot: EasyDict = load_network_snapshot(network, only=tuple(NETWORKS))
    if has_alpha(snapshot.G_ema.img_channels):
        raise UserError(f'{network}: draws an alpha channel, which the published programs cannot show; export it with --to=hub')
    path = Path(outdir) / f'stylegan2-ada-{(snapshot.cur_nimg or 0) // 1000:06d}.pkl'
    try:
        stylegan2_ada.check(snapshot)  # before a folder is made
        with atomic_open(path) as f:
            stylegan2_ada.dump({name: snapshot[name] for name in NETWORKS},
                               hub.public_data_kwargs(snapshot.training_set_kwargs), f)
    except stylegan2_ada.UnknownToPublished as err:
        raise UserError(f'{network}: {err}, which a pickle for the published programs cannot hold; '
                        'export it with --to=hub') from err
    except OSError as err:
        raise UserError(f'{path}: cannot be written ({(err.strerror or str(err)).lower()}); choose another --outdir') from err
    return path


def export_small(network: str, outdir: str) -> Path:
    """Write a snapshot of D and G_ema in half precision. G_ema takes the place of G, too. Returns its path."""
    snapshot: EasyDict = load_network_snapshot(network, only=('D', 'G_ema'))
    path = Path(outdir) / f'network-snapshot-{(snapshot.cur_nimg or 0) // 1000:06d}.pkl'
    if path.exists():
        raise OptionError(f'--outdir: {path} is there already; choose another folder')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_network_snapshot(path, dict(G=snapshot.G_ema, D=snapshot.D, G_ema=snapshot.G_ema),
                              hub.public_data_kwargs(snapshot.training_set_kwargs), snapshot.cur_nimg or 0, half=True)
    except OSError as err:
        raise UserError(f'{path}: cannot be written ({(err.strerror or str(err)).lower()}); choose another --outdir') from err
    return path


def export_programs(network: str, outdir: str, to: str, noise_mode: str) -> list[Path]:
    """Write the mapping and synthesis networks of G_ema for ONNX or torch.export, after checking that they compute the same as
    here. Print their inputs, sizes and differences. Returns their paths."""
    portable.check_packages(to)
    paths = [Path(outdir) / (name + portable.SUFFIXES[to]) for name in portable.NAMES]
    for path in paths:
        if path.exists():
            raise OptionError(f'--outdir: {path} is there already; choose another folder')
    snapshot = load_network_snapshot(network, only=('G_ema',))
    G, about = snapshot.G_ema, facts(network, snapshot)
    files = portable.make_files(trace(G, noise_mode), to, {key: about[key] for key in ('method', 'kimg', 'label_names')})
    mapping, synthesis = (portable.load(to, files[name]) for name in portable.NAMES)
    found = portable.compare(G, mapping, synthesis, noise_mode)
    print(portable.description(G, files, found))
    if not all(each.tolerable for each in found):
        raise UserError(f'{network}: --to={to} differs from PyTorch by more than {portable.LIMIT:g} of the largest value. '
                        'Nothing is written; install the versions of requirements-extras.txt')
    with open_output(paths[0]) as mapping, open_output(paths[1]) as synthesis:
        for file, name in ((mapping, 'mapping'), (synthesis, 'synthesis')):
            file.write(files[name])
    return paths


@torch.no_grad()
def samples(G: Generator, device: torch.device) -> bytes:
    """A PNG of images of G. With labels, each row shows the same latents with another label."""
    height, width = height_width(G.img_resolution)
    columns = min(COLUMNS, max(LARGEST // width, 2))
    rows = min(G.c_dim or ROWS, max(LARGEST // height, 2))
    seeds = [column if G.c_dim else row * columns + column for row, column in np.ndindex(rows, columns)]
    z = torch.cat([drawing.seed_latent(G, seed, device) for seed in seeds])
    c = torch.cat([drawing.one_hot(G, row, device) for row, _ in np.ndindex(rows, columns)])
    images = []
    with Progress('samples', len(seeds)) as progress:
        for ws in drawing.map_latents(G, z, c).split(drawing.BATCH):
            images.append(drawing.render(G, ws, 'const', []))
            progress.advance(len(ws))
    images = np.concatenate(images)
    pixels = captioned_grid.assemble(images.reshape(rows, columns, *images.shape[1:]))
    file = io.BytesIO()
    PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, format='PNG')
    return file.getvalue()
