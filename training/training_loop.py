"""The story of one run, told top to bottom."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnnlib.util import EasyDict, UserError, construct_class_by_name
from torch_utils import devices, misc, training_stats
from training.ada import AdaController
from training.ema import update_ema
from training.image_grid import choose_grid, save_image_grid
from training.losses import make_phases, make_terms
from training.monitor import Monitor
from training.networks import layers
from training.snapshot import resume_networks, save_network_snapshot

START, ITERATION, GRID = 0, 1, 2  # what random numbers are for: part of the key that seeds them


def training_loop(config: EasyDict, stop_requested: Callable[[], bool] = lambda: False) -> None:
    """Train as `config` says (training.config) and leave everything in config.run_dir.

    stop_requested: asked after every batch; once true, the run saves its state and ends.
    """
    c = EasyDict(config)
    run_dir = Path(c.run_dir)
    device = devices.resolve_device(c.device)
    devices.configure(device, c.cudnn_benchmark, c.allow_tf32)
    devices.seed_everything(c.random_seed, START)

    training_set = construct_class_by_name(**c.training_set_kwargs)
    print(f'\nNum images:   {len(training_set)}')
    print(f'Image shape:  {training_set.image_shape}')
    print(f'Label shape:  {training_set.label_shape}')

    networks, cur_nimg = prepare_networks(c, training_set, device)
    G, D, G_ema = networks.G, networks.D, networks.G_ema
    augment_pipe, ada = make_augmentation(c, device)
    phases = make_phases(
        [term.to(device) for term in make_terms(c.loss_kwargs['terms'])], {'G': G, 'D': D},
        optimizer_kwargs={'G': c.G_opt_kwargs, 'D': c.D_opt_kwargs},
        lazy_intervals={'G': c.G_reg_interval, 'D': c.D_reg_interval},
        style_mixing_prob=c.loss_kwargs['style_mixing_prob'], augment=augment_pipe,
        exact_second_order=layers.half_dtype(D) == torch.bfloat16)
    stopwatches = {phase.name: devices.Stopwatch(device) for phase in phases}

    grid = SnapshotGrid(c, training_set, G.z_dim, device)
    grid.save_reals(run_dir / 'reals.png')
    grid.save_fakes(G_ema, run_dir / 'fakes_init.png')

    total_nimg = c.total_kimg * 1000
    print(f'Training for {c.total_kimg} kimg on {device.type}{f", from {cur_nimg / 1000:g} kimg" if cur_nimg else ""}...\n')
    monitor = Monitor(run_dir, cur_nimg, total_nimg, c)
    monitor.image('reals', run_dir / 'reals.png', cur_nimg)
    monitor.image('fakes', run_dir / 'fakes_init.png', cur_nimg)
    batches = real_batches(c, training_set, cur_nimg, device)
    tick, tick_start_nimg = 0, cur_nimg
    while True:
        # Random numbers depend on (seed, images seen) alone, so that nothing between two batches disturbs them.
        rng = devices.seed_everything(c.random_seed, ITERATION, cur_nimg)
        real_images, real_c = next(batches)
        for phase in phases:
            if cur_nimg // c.batch_size % phase.interval == 0:
                with stopwatches[phase.name]:
                    z = torch.randn(c.batch_size, G.z_dim, device=device)
                    labels = random_labels(training_set, c.batch_size, rng).to(device)
                    phase.run(split_rounds(c.batch_gpu, z=z, c=labels, real_images=real_images, real_c=real_c))
        update_ema(G_ema, G, c.batch_size, cur_nimg, c.ema_kimg, c.ema_rampup)
        cur_nimg += c.batch_size
        if ada is not None and cur_nimg // c.batch_size % c.ada_interval == 0:
            ada.update()
        monitor.progress(cur_nimg)

        done = cur_nimg >= total_nimg or stop_requested()
        if not done and tick > 0 and cur_nimg < tick_start_nimg + c.kimg_per_tick * 1000:
            continue

        # End of a tick; the first holds a single batch, so that whatever is wrong shows at once.
        if G.mapping.i_dim > 0:
            training_stats.report0('Progress/style_dims', G.mapping.style_mask().sum())
        augment_p = 0.0 if augment_pipe is None else float(augment_pipe.p)
        monitor.end_of_tick(tick, cur_nimg, augment_p, gpu_gib=devices.peak_memory_gib(device))
        if stop_requested():
            monitor.print('Stopping early, as asked: saving first ...')
        if is_due(c.image_snapshot_ticks, tick, done):
            grid.save_fakes(G_ema, run_dir / f'fakes{cur_nimg // 1000:06d}.png')
            monitor.image('fakes', run_dir / f'fakes{cur_nimg // 1000:06d}.png', cur_nimg)
            if c.reconstructs:
                grid.save_reconstructions(G_ema, D, run_dir / f'recon{cur_nimg // 1000:06d}.png')
                monitor.image('recon', run_dir / f'recon{cur_nimg // 1000:06d}.png', cur_nimg)
        if is_due(c.network_snapshot_ticks, tick, done):
            save_network_snapshot(run_dir / f'network-snapshot-{cur_nimg // 1000:06d}.pkl', networks,
                                  c.training_set_kwargs, cur_nimg, augment_pipe)
        times = {name: watch.milliseconds() for name, watch in stopwatches.items()}
        monitor.write(cur_nimg, {name: ms for name, ms in times.items() if ms is not None})
        tick, tick_start_nimg = tick + 1, cur_nimg
        if done:
            break
    monitor.close()
    print('\nExiting...')


def make_networks(c: EasyDict, training_set: Any) -> EasyDict:
    """G, D and G_ema, a copy of G, for the images and labels of training_set; on torch's default device."""
    common = dict(c_dim=training_set.label_dim, img_resolution=training_set.resolution, img_channels=training_set.num_channels)
    G, D = (construct_class_by_name(**kwargs, **common) for kwargs in (c.G_kwargs, c.D_kwargs))
    return EasyDict(G=G, D=D, G_ema=copy.deepcopy(G))


def prepare_networks(c: EasyDict, training_set: Any, device: torch.device) -> tuple[EasyDict, int]:
    """Make networks, take up c.resume_pkl, print what they look like. Returns them, without gradients, and images seen."""
    networks, cur_nimg = make_networks(c, training_set), 0
    if c.resume_pkl is not None:
        print(f'Resuming from "{c.resume_pkl}"')
        cur_nimg = resume_networks(c.resume_pkl, networks)
    half = devices.half_dtype(device, c.precision, width=layers.widest(networks.D))
    for name, net in networks.items():
        layers.set_half_dtype(net, half)
        net.to(device).requires_grad_(False).train(name != 'G_ema')

    z = torch.zeros([c.batch_gpu, networks.G.z_dim], device=device)
    labels = torch.zeros([c.batch_gpu, training_set.label_dim], device=device)
    images = misc.print_module_summary(networks.G, [z, labels])
    misc.print_module_summary(networks.D, [images, labels])
    return networks, cur_nimg


def make_augmentation(c: EasyDict, device: torch.device) -> tuple[torch.nn.Module | None, AdaController | None]:
    """The pipe that every image passes before D, if there is one, and what adapts its strength, if that is asked for."""
    if c.augment_kwargs is None or (c.augment_p == 0 and c.ada_target is None):
        return None, None
    pipe = construct_class_by_name(**c.augment_kwargs).to(device).requires_grad_(False)
    pipe.p.fill_(c.augment_p)
    if c.ada_target is None:
        return pipe, None
    return pipe, AdaController(pipe, c.ada_target, c.ada_interval, c.batch_size, c.ada_kimg)


def real_batches(c: EasyDict, training_set: Any, start_nimg: int, device: torch.device) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield (images [B, C, H, W] in [-1, 1], labels [B, label_dim]) on the device for ever, B = c.batch_size."""
    sampler = misc.InfiniteSampler(training_set, seed=c.random_seed, start=start_nimg)
    config = {**c.data_loader_kwargs, 'num_workers': min(c.data_loader_kwargs['num_workers'], os.cpu_count() or 1)}
    loader = torch.utils.data.DataLoader(
        training_set, sampler=sampler, batch_size=c.batch_size, pin_memory=devices.pins_memory(device),
        worker_init_fn=set_worker_signals, generator=torch.Generator(), **config)
    try:
        for images, labels in loader:
            images = images.to(device, non_blocking=True).to(torch.float32) / 127.5 - 1
            yield images, labels.to(device, non_blocking=True)
    except UserError as err:  # from a worker process it comes with the worker's traceback: the last line is the message
        raise UserError(str(err).strip().splitlines()[-1].partition('UserError: ')[2] or str(err)) from None


def set_worker_signals(worker_id: int) -> None:
    """Ctrl-C reaches all processes of a terminal: the data loader's workers leave it to the main process, whose way of
    ending them is SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def random_labels(training_set: Any, count: int, rng: np.random.Generator) -> torch.Tensor:
    """Labels [count, label_dim] of random items: the empirical distribution."""
    if training_set.label_dim == 0:
        return torch.zeros([count, 0])
    return torch.from_numpy(np.stack([training_set.get_label(i) for i in rng.integers(len(training_set), size=count)]))


def split_rounds(batch_gpu: int, **tensors: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """Cut tensors of one batch into rounds of batch_gpu rows."""
    parts = zip(*(t.split(batch_gpu) for t in tensors.values()), strict=True)
    return [dict(zip(tensors, part, strict=True)) for part in parts]


def is_due(interval: int | None, tick: int, done: bool) -> bool:
    """Snapshots come every `interval` ticks and at the end; not at tick 0, which has trained on a single batch."""
    return done or (interval is not None and tick > 0 and tick % interval == 0)


class SnapshotGrid:
    """The same latents and labels, rendered again and again while G_ema learns."""

    def __init__(self, c: EasyDict, training_set: Any, z_dim: int, device: torch.device):
        self.size, items = choose_grid(training_set, c.grid_by_domain)
        images, labels = zip(*(training_set[i] for i in items), strict=True)
        self.reals = np.stack(images)
        devices.seed_everything(c.random_seed, GRID)
        z = torch.randn(len(items), z_dim, device=device)
        if c.grid_by_domain:  # in each block of one row per domain, a column is one latent
            columns, rows = self.size
            block = torch.arange(rows, device=device) // training_set.label_dim * columns
            z = z[(block[:, None] + torch.arange(columns, device=device)).flatten()]
        self.z = z.split(c.batch_gpu)
        self.c = torch.from_numpy(np.stack(labels)).to(device).split(c.batch_gpu)

    def save_reals(self, path: Path) -> None:
        save_image_grid(self.reals, path, (0, 255), self.size)

    def save_fakes(self, G_ema: torch.nn.Module, path: Path) -> None:
        with torch.no_grad():
            images = [G_ema(z, c, noise_mode='const').cpu() for z, c in zip(self.z, self.c, strict=True)]
        save_image_grid(torch.cat(images).numpy(), path, (-1, 1), self.size)

    def save_reconstructions(self, G_ema: torch.nn.Module, D: torch.nn.Module, path: Path) -> None:
        """Real images, each with its reconstruction G(E(x), c) to the right (CLR-GAN)."""
        columns, rows = self.size
        width = columns - columns % 2
        chosen = [row * columns + column for row in range(rows) for column in range(width // 2)]
        reals = torch.from_numpy(self.reals[chosen]).to(self.c[0].device).to(torch.float32) / 127.5 - 1
        pairs = []
        for x, c in zip(reals.split(len(self.c[0])), torch.cat(self.c)[chosen].split(len(self.c[0])), strict=True):
            with torch.no_grad():
                reconstructions = G_ema(D(x, c, return_latent=True)[1], c, noise_mode='const')
            pairs.append(torch.stack([x, reconstructions], dim=1).cpu())
        save_image_grid(torch.cat(pairs).flatten(0, 1).numpy(), path, (-1, 1), (width, rows))
