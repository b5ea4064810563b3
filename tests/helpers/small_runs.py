"""Runs of 1 kimg in this process, of networks as small as they get."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image

from dnnlib.util import EasyDict
from training.run.resume import find_resume
from training.training_loop import training_loop


def write_domains(path: Path) -> str:
    """Nine 8x8 images in three domains."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, 'w') as z:
        for i in range(9):
            with z.open(f'{i}.png', 'w') as f:
                PIL.Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(f, format='PNG')
        z.writestr('dataset.json', json.dumps({'labels': [[f'{i}.png', i % 3] for i in range(9)]}))
    return str(path)


def config(data: str, run_dir: Path, **changes) -> EasyDict:
    """20 steps, with style mixing, path length every 4th and R1 every 16th."""
    adam = dict(class_name='torch.optim.Adam', lr=0.002, betas=[0.0, 0.99], eps=1e-8)
    width = dict(channel_base=32, channel_max=4)
    return EasyDict(dict(
        device='cpu', precision='fp32', ops='torch', metrics=[], random_seed=0, run_dir=str(run_dir),
        training_set_kwargs=dict(class_name='training.dataset.ImageFolderDataset', path=data, use_labels=True),
        data_loader_kwargs=dict(num_workers=0),
        G_kwargs=dict(class_name='training.networks.Generator', z_dim=4, w_dim=4, mapping_kwargs=dict(num_layers=1),
                      synthesis_kwargs=dict(width)),
        D_kwargs=dict(class_name='training.networks.Discriminator', mapping_kwargs=dict(num_layers=1), **width),
        G_opt_kwargs=adam, D_opt_kwargs=adam, G_reg_interval=4, D_reg_interval=16,
        loss_kwargs=dict(style_mixing_prob=0.9, terms={
            'G/logistic': {}, 'G/path_length': dict(weight=2.0, interval=4), 'D/logistic_fake': {}, 'D/logistic_real': {},
            'D/r1': dict(weight=1.0, interval=16)}),
        batch_size=50, batch_gpu=50, ema_kimg=1, ema_rampup=0.05, total_kimg=1, kimg_per_tick=0.25, grid_by_domain=False,
        reconstructs=False, augment_kwargs=None, augment_p=0.0, ada_target=None,
        image_snapshot_ticks=None, network_snapshot_ticks=None,
        resume_pkl=None, resume_state=None, resume_nimg=None, keep=2, snap_minutes=None, max_minutes=None,
        cudnn_benchmark=False, allow_tf32=False, cuda_graphs=True), **changes)


def run(c: EasyDict, steps: int | None = None) -> bool:
    """Train to the end, or for so many steps, then asked to stop; as train.py does, from the files that --resume finds."""
    run_dir = Path(c.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    if list(run_dir.glob('network-snapshot-*.pkl')):
        resume = find_resume(str(run_dir), None, '', '')
        c = EasyDict(c, resume_pkl=resume.network_pkl, resume_state=resume.training_state, resume_nimg=resume.start_nimg)
    asked = []
    return training_loop(c, stop_requested=lambda: asked.append(1) or len(asked) == steps)


def digests(run_dir: Path | str) -> dict[str, str]:
    """SHA-256 of the network snapshots and pictures."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(run_dir).iterdir())
            if path.suffix in ('.pkl', '.png')}


def stats(run_dir: Path | str) -> list[dict]:
    return [json.loads(line) for line in Path(run_dir, 'stats.jsonl').read_text().splitlines()]
