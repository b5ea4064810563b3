"""How well does the discriminator of CLR-GAN invert the generator? Errors of G(E(x)) for images x of the dataset.

    python docs/experiments/clr-gan/reconstruction.py --data=<dataset> --network=<snapshot> [--network=...]

Appends a line to metric-reconstruction.jsonl in the folder of each snapshot. Values are mean square errors, divided by that of
the mean image: 0 is perfect, and 1 is no better than the mean image.
    reconstruction          training images
    reconstruction_unseen   images of the dataset that are not among the training images; missing if the network saw all
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs' / 'experiments')]

import measuring

from torch_utils import devices
from training.dataset import ImageFolderDataset
from training.snapshot import load_network_snapshot

IMAGES, BATCH = 500, 50  # largest number of images of each kind; a code depends slightly on the others of its batch


def main() -> None:
    with devices.full_precision():
        measuring.main(__doc__, 'reconstruction', measure, data='the whole dataset')


def measure(network: Path, args: argparse.Namespace) -> dict[str, float]:
    """Relative errors of a network, on seen and on unseen images."""
    device = devices.resolve_device(args.device)
    snapshot = load_network_snapshot(str(network), only=('G_ema', 'D'))
    G, D = snapshot.G_ema.to(device), snapshot.D.to(device)
    kwargs = snapshot.training_set_kwargs
    subset = {key: kwargs[key] for key in ('max_size', 'random_seed') if key in kwargs}
    whole, seen = ImageFolderDataset(args.data), ImageFolderDataset(args.data, **subset)
    known = {seen.get_details(i).raw_idx for i in range(len(seen))}
    groups = dict(reconstruction=sorted(known), reconstruction_unseen=sorted(set(range(len(whole))) - known))
    generator = torch.Generator().manual_seed(args.seed)
    results = {}
    for key, items in groups.items():
        chosen = [items[i] for i in torch.randperm(len(items), generator=generator)[:IMAGES].tolist()]
        if len(chosen) >= BATCH:
            x = torch.stack([torch.from_numpy(whole[i][0]) for i in chosen]).to(device, torch.float32) / 127.5 - 1
            error = (rebuild(G, D, x) - x).square().mean()
            results[key] = float(error / (x - x.mean(dim=0)).square().mean())
    return results


@torch.no_grad()
def rebuild(G: torch.nn.Module, D: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """G(E(x)) of images [N, C, H, W] in [-1, 1]."""
    found = []
    for part in x.split(BATCH):
        c = torch.zeros(len(part), 0, device=x.device)
        found.append(G(D(part, c, return_latent=True)[1], c, noise_mode='const'))
    return torch.cat(found)


if __name__ == '__main__':
    main()
