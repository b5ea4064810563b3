"""Configurations for tests of recorded phases: all built-in terms."""

from __future__ import annotations

from pathlib import Path

import torch

from training.snapshots.file import load_network_snapshot

BASE = {'G/logistic': {}, 'D/logistic_fake': {}, 'D/logistic_real': {}}
TERMS = {
    'stylegan2': {**BASE, 'G/path_length': dict(weight=2.0, interval=2), 'D/r1': dict(weight=1.0, interval=2)},
    'cg-gan': {**BASE, 'G/sparse': {}, 'G/img_sparse': dict(weight=10.0), 'G/orth': dict(interval=2)},
    'jvp': {**BASE, 'G/img_sparse': dict(weight=10.0, jacobian='jvp', penalty='hoyer')},
    'clr-gan': {**BASE, 'G/recon': {}, 'D/latent': {}},
    'clr-gan, published': {**BASE, 'G/recon': dict(compat=True), 'D/latent': dict(compat=True)},
    'r3gan': {'G/relativistic': {}, 'D/relativistic': {}, 'D/r1': dict(interval=2), 'D/r2': dict(interval=2)},
    'hinge': {'G/hinge': {}, 'D/hinge_fake': {}, 'D/hinge_real': {}, 'D/r1_noise': dict(interval=2),
              'D/r2_noise': dict(interval=2)},
}


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    """All weights after 1 kimg."""
    found = load_network_snapshot(str(run_dir / 'network-snapshot-000001.pkl'))
    return {f'{name}.{k}': t for name in ('G', 'D', 'G_ema') for k, t in found[name].state_dict().items()}


def changes(terms: dict, **more) -> dict:
    """Changes to small_runs.config: these terms, a flow, two rounds per step."""
    mapping = dict(num_layers=1, cond_mode='flow', i_dim=2, embed_features=4)
    return dict(loss_kwargs=dict(style_mixing_prob=0.5, terms=terms), batch_size=100, batch_gpu=50,
                G_kwargs=dict(class_name='training.networks.Generator', z_dim=4, w_dim=4, mapping_kwargs=mapping,
                              synthesis_kwargs=dict(channel_base=32, channel_max=4)), **more)
