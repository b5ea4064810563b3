"""Common code for drawing from a network: opening it, latents and labels, means of w, rendering, saving."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from dnnlib.channels import NAMES, has_alpha
from dnnlib.files import open_output
from dnnlib.image_size import height_width
from dnnlib.util import OptionError, UserError
from torch_utils.devices import seed_everything
from training.data.dataset import ImageFolderDataset
from training.networks import Generator
from training.sampling import options
from training.snapshots.file import load_network_snapshot
from training.start_grid import top_level

BATCH = 16  # images per progress step, which are kept in memory
MEAN_LATENTS, MEAN_BATCH = 10_000, 1000
PIXELS_AT_ONCE = dict(cpu=2 ** 17)  # of images that are rendered together, by type of device
OTHER_PIXELS_AT_ONCE, MOST_AT_ONCE = 2 ** 22, 16
FORMATS: dict[str, dict[str, Any]] = {'.png': dict(format='PNG'), '.jpg': dict(format='JPEG', quality=95, subsampling=0),
           '.webp': dict(format='WEBP', lossless=True)}


def open_generator(network: str, device: torch.device) -> Generator:
    """G_ema of a snapshot, on the device, in eval mode, without gradients. Raises UserError if it can't be read or drawn from."""
    print(f'Loading networks from "{network}"...')
    G = load_network_snapshot(network, only=('G_ema',)).G_ema
    if G.mapping.use_label:
        raise UserError(f'{network}: takes a second label with each latent (use_label), for which generate.py has no option; '
                        'call its generator from Python')
    if G.img_channels not in NAMES:
        raise UserError(f'{network}: draws {G.img_channels} channels, and pictures have 1 to 4; call its generator from Python')
    return G.to(device)


def check_shape(dataset: ImageFolderDataset, G: Generator) -> None:
    """Raise UserError unless the images of a dataset are of the shape that a network draws."""
    wanted = [G.img_channels, *height_width(G.img_resolution)]
    if dataset.image_shape != wanted:
        raise UserError(f'{dataset.path}: images are {dataset.image_shape}, but the network draws {wanted}; convert them with '
                        'dataset_tool.py')


def seed_latent(G: Generator, seed: int, device: torch.device) -> torch.Tensor:
    """The latent z [1, z_dim] of a seed, float32."""
    return torch.from_numpy(np.random.RandomState(seed).randn(1, G.z_dim)).to(torch.float32).to(device)


def one_hot(G: Generator, class_idx: int | tuple[float, ...], device: torch.device) -> torch.Tensor:
    """The label [1, c_dim] of a class, or of the numbers of --label, float32; without numbers for an unconditional network."""
    if isinstance(class_idx, tuple):
        return torch.tensor([class_idx], dtype=torch.float32, device=device)
    label = torch.zeros([1, G.c_dim], device=device)
    label[:, class_idx:class_idx + 1] = 1
    return label


def class_label(G: Generator, class_idx: options.LabelChoice, device: torch.device) -> torch.Tensor:
    """The label [1, c_dim] of --class or --label. Raises OptionError if a conditional network gets no label, or an unknown
    one."""
    if G.c_dim == 0:
        if class_idx is not None:
            print('warn: --class=lbl ignored when running on an unconditional network')
        return torch.zeros([1, 0], device=device)
    if class_idx is None:
        raise OptionError(f'Must specify class label with --class when using a conditional network (0 to {G.c_dim - 1}), '
                          'or its numbers with --label')
    if isinstance(class_idx, tuple):
        if len(class_idx) != G.c_dim:
            raise OptionError(f'--label has {len(class_idx)} numbers, but labels of this network have {G.c_dim}')
        return one_hot(G, class_idx, device)
    if isinstance(class_idx, str) or not 0 <= class_idx < G.c_dim:
        raise OptionError(f'--class must be between 0 and {G.c_dim - 1} for this network')
    return one_hot(G, class_idx, device)


def classes_of(G: Generator, class_idx: int | str | tuple[float, ...] | None, device: torch.device
               ) -> list[int | tuple[float, ...]]:
    """The classes of --class (several with options.ALL), or the numbers of --label; [0] for an unconditional network. Raises
    OptionError as class_label does."""
    if class_idx == options.ALL and G.c_dim > 0:
        return list(range(G.c_dim))
    label = class_label(G, class_idx, device)
    if isinstance(class_idx, tuple) and G.c_dim > 0:
        return [class_idx]
    return [int(label[0].argmax()) if G.c_dim > 0 else 0]


@torch.no_grad()
def domain_w_mean(G: Generator, label: torch.Tensor, num_latents: int = MEAN_LATENTS, seed: int = 0) -> torch.Tensor:
    """The centre of truncation, [w_dim], float32: the mean of one domain, over num_latents latents of a fixed seed, mapped with
    label [1, c_dim]. The network's own w_avg is the mean over all domains. Truncation towards it pulls images out of their
    domain. An unconditional network uses w_avg, if it tracks one.
    """
    if G.c_dim == 0 and hasattr(G.mapping, 'w_avg'):
        return G.mapping.w_avg
    rng = np.random.RandomState(seed)
    total = np.zeros(G.w_dim)
    for first in range(0, num_latents, MEAN_BATCH):
        z = torch.from_numpy(rng.randn(min(MEAN_BATCH, num_latents - first), G.z_dim)).to(torch.float32).to(label.device)
        w = G.mapping(z, label.expand(z.shape[0], -1))[:, 0]
        total += w.sum(dim=0).cpu().numpy()
    return torch.from_numpy(total / num_latents).to(torch.float32).to(label.device)


def truncate(ws: torch.Tensor, w_mean: torch.Tensor | None, psi: float) -> torch.Tensor:
    """ws [N, num_ws, w_dim], pulled towards w_mean, which broadcasts; unchanged if w_mean is None."""
    return ws if w_mean is None else w_mean.lerp(ws, psi)


def layer_resolution(G: Generator, layer: int) -> int:
    """The level (training.start_grid) at which the style of a layer, counted from 0 as in ws, first acts: 4, 8, 8, 16, 16, ..."""
    return min(4 * 2 ** ((layer + 1) // 2), top_level(G.img_resolution))


def image_name(seed: int) -> str:
    """The name of the image of a seed, without a suffix."""
    return f'seed{seed:04d}'


@torch.no_grad()
def map_latents(G: Generator, z: torch.Tensor, c: torch.Tensor, truncation_psi: float = 1) -> torch.Tensor:
    """ws [N, num_ws, w_dim] of latents z [N, z_dim] and labels c [N, c_dim]. Each depends only on its own latent and label."""
    return torch.cat([G.mapping(z[i:i + 1], c[i:i + 1], truncation_psi) for i in range(len(z))])


@torch.no_grad()
def render(G: Generator, ws: torch.Tensor, noise_mode: str, names: Sequence[str]) -> np.ndarray:
    """Images uint8 [N, H, W, C], C = 1 to 4, of ws [N, num_ws, w_dim]. Each depends only on its own ws, to the bit.

    names: one for each image; with noise_mode 'random' it is the only key of the image's noise.
    """
    if noise_mode == 'random':
        images = []
        for i, name in enumerate(names):
            seed_everything(zlib.crc32(name.encode()))
            images.append(to_pixels(G.synthesis(ws[i:i + 1], noise_mode=noise_mode)))
        return np.concatenate(images)

    size = batch_size(G, ws.device)
    images = []
    for batch in ws.split(size):
        filled = torch.cat([batch, batch[-1:].expand(size - len(batch), -1, -1)])
        images.append(to_pixels(G.synthesis(filled, noise_mode=noise_mode))[:len(batch)])
    return np.concatenate(images)


def batch_size(G: Generator, device: torch.device) -> int:
    """The fixed batch size of rendering. Batches of another size round sums in another order."""
    pixels = PIXELS_AT_ONCE.get(device.type, OTHER_PIXELS_AT_ONCE)
    return min(max(pixels // math.prod(height_width(G.img_resolution)), 1), MOST_AT_ONCE)


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Images [N, C, H, W], nominally in [-1, 1] -> uint8 [N, H, W, C], by the published rule: truncated, not rounded."""
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def make_outdir(outdir: str) -> None:
    """Create the folder. Raises UserError if that is not possible."""
    try:
        Path(outdir).mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f'--outdir: cannot create {outdir} ({err.strerror}); choose another directory') from err


def save_image(pixels: np.ndarray, path: str | Path) -> None:
    """Write pixels uint8 [H, W, C], C = 1 to 4, atomically, in the format that the suffix names: PNG, WebP, or JPEG, which has no
    alpha."""
    path = Path(path)
    with open_output(path) as f:
        image = PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        transparent = path.suffix == '.webp' and has_alpha(pixels.shape[2])
        exact: dict[str, Any] = dict(exact=True) if transparent else {}  # including transparent pixels
        image.save(f, **FORMATS[path.suffix], **exact)
