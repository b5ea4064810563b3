"""The story of one run, told top to bottom."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dnnlib import plugins
from dnnlib.util import EasyDict, UserError, construct_class_by_name
from torch_utils import cuda_graphs, devices, distributed, misc
from torch_utils.flops import FlopMeter, peak_flops
from torch_utils.ops import backend
from training.augmentation.ada import AdaController
from training.data import workers
from training.inputs import START, RandomInputs, real_batches, split_rounds
from training.losses import Annealing, kind_of_phase, make_phases
from training.methods import make_terms
from training.networks import layers
from training.networks.ema import update_ema
from training.networks.making import make_networks
from training.networks.power_average import PowerAverages
from training.run.checkpoint import Checkpoints
from training.run.checks import ReadAhead
from training.run.clock import Clock
from training.run.evaluation import Evaluation
from training.run.memory import smaller_options
from training.run.monitor import Monitor
from training.run.probes import Probes
from training.run.profiling import Profiler
from training.run.report.report import LiveReport
from training.run.restore import restore_networks, restore_state, share_networks
from training.run.sample_grid import SampleGrid
from training.run.schedule import Schedule
from training.run.state import TrainingState


def training_loop(config: EasyDict, stop_requested: Callable[[], bool] = lambda: False,
                  read_ahead: ReadAhead | None = None) -> bool:
    """Train as `config` says (training.config) and leave everything in config.run_dir.

    With several ranks (torch_utils.distributed), all call this with the same config and share each batch. Rank 0 writes and
    prints. read_ahead: may hold the snapshot to resume from. stop_requested: called after every batch; once it is true on any
    rank, the run saves its state and exits. Returns whether the training is complete. Raises UserError if a loss is NaN or
    infinite throughout a tick, the last snapshot cannot be saved, or the GPU is out of memory.
    """
    c = EasyDict(config)
    with devices.explaining_out_of_memory(smaller_options(c)), contextlib.ExitStack() as at_the_end:
        return _train(c, stop_requested, read_ahead or ReadAhead(), at_the_end)


def _train(c: EasyDict, stop_requested: Callable[[], bool], read_ahead: ReadAhead, at_the_end: contextlib.ExitStack) -> bool:
    run_dir = Path(c.run_dir)
    for path in c.get('plugins', ()):  # code of the user, which class names in the config refer to
        plugins.load_module(path)
    device = devices.start(c.device, c.cudnn_benchmark, c.allow_tf32)
    workers.prepare(device)
    backend.select(c.ops, device)
    devices.seed_everything(c.random_seed, START)

    training_set = construct_class_by_name(**c.training_set_kwargs)
    print(f'\nNum images:   {len(training_set)}')
    print(f'Image shape:  {training_set.image_shape}')
    print(f'Label shape:  {training_set.label_shape}')
    print(f'Operators:    {backend.selected()}')

    networks = make_networks(c, training_set)
    augment_pipe, ada = make_augmentation(c, device)
    snapshot = read_ahead.take(c.resume_pkl)
    position = restore_networks(c, networks, augment_pipe, snapshot) if distributed.is_rank0() else None
    del snapshot
    position = share_networks({**networks, 'augment_pipe': augment_pipe}, position)
    prepare_networks(c, networks, training_set, device)
    G, D, G_ema = networks.G, networks.D, networks.G_ema
    terms = [term.to(device) for term in make_terms(c.loss_kwargs['terms'])]
    make_phase, recorded = kind_of_phase(c.cuda_graphs, {'G': G, 'D': D}, terms, augment_pipe, bool(c.get('anneal')))
    if cuda_graphs.works_on(device):
        print(f'CUDA graphs:  {recorded}')
    phases = make_phases(
        terms, {'G': G, 'D': D}, make=make_phase,
        optimizer_kwargs={'G': c.G_opt_kwargs, 'D': c.D_opt_kwargs},
        lazy_intervals={'G': c.G_reg_interval, 'D': c.D_reg_interval},
        style_mixing_prob=c.loss_kwargs['style_mixing_prob'], augment=augment_pipe,
        exact_second_order=layers.half_dtype(D) == torch.bfloat16)
    annealing = Annealing(c.get('anneal') or {}, phases, augment_pipe)
    stopwatches = {phase.name: devices.Stopwatch(device) for phase in phases}
    meter = FlopMeter({phase.name: phase.interval for phase in phases})
    averages = PowerAverages(G) if c.get('post_hoc_ema') else None
    state = TrainingState(networks, phases, ada, averages)
    schedule = Schedule(c, restore_state(c, state, position))
    cur_nimg = schedule.position.cur_nimg

    grid = SampleGrid(c, training_set, G.z_dim, device)
    total_nimg = c.total_kimg * 1000
    ranks = f', {distributed.world_size()} ranks' if distributed.world_size() > 1 else ''
    print(f'Training for {c.total_kimg} kimg on {device.type}{ranks}'
          f'{f", from {cur_nimg / 1000:g} kimg" if cur_nimg else ""}...\n')
    # Also closed after an error. So is the data loader, whose workers ignore signals.
    monitor = at_the_end.enter_context(contextlib.closing(Monitor(
        run_dir, cur_nimg, total_nimg, c, distributed.rank(), peak_flops(device, half=c.precision != 'fp32'))))
    report = at_the_end.enter_context(LiveReport(run_dir, monitor.print, shows=distributed.is_rank0()))
    profiler = at_the_end.enter_context(contextlib.closing(
        Profiler(c.get('profile') if distributed.is_rank0() else None, run_dir, monitor.print)))
    checkpoints = Checkpoints(run_dir, c.keep, {**networks, 'augment_pipe': augment_pipe}, c.training_set_kwargs, state,
                              monitor.print, averages)
    with checkpoints.surviving('fakes_init.png'):
        for name, path in grid.save_first(G_ema, run_dir):
            monitor.image(name, path, cur_nimg)
    report.begin(cur_nimg, training_set, device=devices.name_of(device), ranks=distributed.world_size(), precision=c.precision,
                 operators=backend.selected())
    evaluation = Evaluation(c, networks, device, monitor,
                            stop=lambda: stop_requested() or clock.is_over(checkpoints.longest_save))
    clock, probes = Clock(c), Probes(c, training_set, networks, device)
    inputs = RandomInputs(c, training_set, G.z_dim, device)
    batches = at_the_end.enter_context(contextlib.closing(real_batches(c, training_set, cur_nimg, device)))
    while True:
        inputs.begin(cur_nimg)
        annealing.apply(cur_nimg)
        with monitor.waiting_for_data():
            real_images, real_c = next(batches)
        for phase in phases:
            if cur_nimg // c.batch_size % phase.interval == 0:
                with stopwatches[phase.name], meter.counting(phase.name):
                    rounds = split_rounds(c.batch_gpu, **inputs.draw(), real_images=real_images, real_c=real_c)
                    phase.run(rounds)
        update_ema(G_ema, G, c.batch_size, cur_nimg, annealing.ema_kimg(cur_nimg, c.ema_kimg), c.ema_rampup)
        cur_nimg += c.batch_size
        if averages is not None:
            averages.update(c.batch_size)
        if ada is not None and cur_nimg // c.batch_size % c.ada_interval == 0:
            ada.update()
        monitor.progress(cur_nimg)
        profiler.step()

        ill = monitor.stopped_by is not None
        stop, time_to_save = distributed.any_rank(stop_requested() or ill or clock.time_is_up(checkpoints.longest_save),
                                                clock.snapshot_is_due(checkpoints.saved_at))
        due = schedule.after(cur_nimg, stop, time_to_save)
        if due.tick:
            probes.report()
            augment_p = 0.0 if augment_pipe is None else float(augment_pipe.p)
            monitor.end_of_tick(due.number, cur_nimg, augment_p, gpu_gib=devices.peak_memory_gib(device),
                                flops=meter.per_repetition())
        if due.end and not schedule.finished:
            monitor.print('Stopping early, as asked: saving first ...')
        if due.images:  # before the statistics of the tick, which include the variety of these images
            with checkpoints.surviving(f'fakes{cur_nimg // 1000:06d}.png'):
                for name, path in grid.save_snapshot(G_ema, D, run_dir, cur_nimg // 1000):
                    monitor.image(name, path, cur_nimg)
        if due.tick:
            times = {name: watch.milliseconds() for name, watch in stopwatches.items()}
            monitor.write(cur_nimg, {name: ms for name, ms in times.items() if ms is not None})
        if due.snapshot:
            saved = checkpoints.save(schedule.position)
            if due.evaluation and saved is not None:
                with checkpoints.surviving('metric-*.jsonl'):
                    evaluation.evaluate(saved, cur_nimg)
            report.refresh(G_ema.mapping, cur_nimg)
            clock.skip()
        if due.tick:
            monitor.start_tick()
        if due.end:
            break
    if saved is None:
        raise UserError(f'{run_dir}: the last snapshot could not be saved; free some space, then resume from the one before with '
                        f'--resume={run_dir}')
    stopped_by = distributed.broadcast_from_rank0(lambda: monitor.stopped_by)
    if stopped_by is not None and not schedule.finished:
        raise UserError(f'{run_dir}: stopped, with everything saved, by {stopped_by}')
    print('\nExiting...')
    return schedule.finished


def prepare_networks(c: EasyDict, networks: EasyDict, training_set: Any, device: torch.device) -> None:
    """Move the networks to the device, without gradients and in their working precision. Print a summary of each."""
    half = distributed.broadcast_from_rank0(lambda: devices.half_dtype(device, c.precision, layers.widest(networks.D),
                                                                       native_ops=backend.selected() != 'torch'))
    for name, net in networks.items():
        layers.set_half_dtype(net, half)
        net.to(device).requires_grad_(False).train(name != 'G_ema')

    z = torch.zeros([c.batch_gpu, networks.G.z_dim], device=device)
    labels = torch.zeros([c.batch_gpu, training_set.label_dim], device=device)
    images = misc.print_module_summary(networks.G, [z, labels])
    misc.print_module_summary(networks.D, [images, labels])


def make_augmentation(c: EasyDict, device: torch.device) -> tuple[torch.nn.Module | None, AdaController | None]:
    """The augmentation of all images that D sees, and the controller of its strength; None for what the run does not use."""
    if c.augment_kwargs is None or (c.augment_p == 0 and c.ada_target is None):
        return None, None
    pipe = construct_class_by_name(**c.augment_kwargs).to(device).requires_grad_(False)
    pipe.p.fill_(c.augment_p)
    if c.ada_target is None:
        return pipe, None
    return pipe, AdaController(pipe, c.ada_target, c.ada_interval, c.batch_size, c.ada_kimg)
