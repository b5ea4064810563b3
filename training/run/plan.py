"""Carries out the plan of a run: directory, ranks, training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib.log import TeeOutput
from dnnlib.signals import StopOnSignal
from dnnlib.util import EasyDict, UserError
from torch_utils import torchrun
from training.run.checks import ReadAhead
from training.run.directory import create_run_dir, take, take_as_rank, tell_changes, write_options
from training.run.resume import Resume


@dataclass
class Plan:
    """The plan of a run.

    config: of the run, with the directory in which it resumes, or the new one. options: the given options. resume: the files that
    it resumes from. outdir, desc: where a new directory is created, and its name after the number. read_ahead: the snapshot, if
    it was already read.
    """

    config: EasyDict
    options: dict[str, Any]
    resume: Resume | None
    outdir: Path
    desc: str
    read_ahead: ReadAhead

    @property
    def goes_on(self) -> bool:
        """Whether the run resumes in its own directory."""
        return self.resume is not None and self.resume.run_dir is not None


Loop = Callable[..., bool]  # training.training_loop.training_loop


def carry_out(plan: Plan, loop: Loop) -> None:
    """Train in this process, or start the ranks of the plan and wait for them."""
    from torch_utils import devices, launching
    with directory_of(plan):
        launching.launch(train, [plan.config, loop, plan.read_ahead], plan.config.num_gpus,
                         devices.resolve_device(plan.config.device).type)


def carry_out_together(o: EasyDict, make_plan: Callable[[EasyDict], Plan | None], loop: Loop) -> None:
    """Train as one of the ranks that torchrun started. Rank 0 makes the plan from the options and locks the directory. The plan
    may be None."""
    from torch_utils import devices, distributed, process_group

    ahead: list[ReadAhead] = []  # on rank 0 alone

    def begin() -> EasyDict | None:
        plan = make_plan(options_after_restart(o, again, process_group.recall('run_dir')))
        if plan is None:
            return None
        at_the_end.enter_context(directory_of(plan))
        ahead.append(plan.read_ahead)
        process_group.remember('run_dir', str(Path(plan.config.run_dir).resolve()))
        return plan.config

    with process_group.joined(devices.resolve_device(o.device).type), contextlib.ExitStack() as at_the_end:
        again, = distributed.any_rank(torchrun.was_started_again())  # a machine that replaces another one does not know this
        config = distributed.broadcast_from_rank0(begin)
        if config is not None:
            train(config, loop, ahead[0] if ahead else ReadAhead())


def options_after_restart(o: EasyDict, again: bool, run_dir: str | None) -> EasyDict:
    """The options of a run that torchrun restarts. run_dir: the directory in which this torchrun began the run, None if unknown.
    If it is known but has no snapshot, the run starts again: --resume=latest would find another run."""
    if run_dir is not None and any(Path(run_dir).glob('network-snapshot-*.pkl')):
        return EasyDict(o, resume=run_dir, resume_kimg=None, transfer=None)
    if run_dir is None and again:
        return EasyDict(o, resume='latest', resume_kimg=None, transfer=None)
    return o


@contextlib.contextmanager
def directory_of(plan: Plan) -> Iterator[None]:
    """Lock the run directory and copy everything printed to log.txt."""
    config = plan.config
    if plan.goes_on:
        print(f'Resuming in {config.run_dir}...')
        tell_changes(config)
    else:
        print('Creating output directory...')
        create_run_dir(config, plan.outdir, plan.desc)
    run_dir = Path(config.run_dir)
    with take(run_dir), TeeOutput(run_dir / 'log.txt'):
        if plan.goes_on and not plan.resume.is_current():
            raise UserError(f'{run_dir}: another process has just saved in it; start again')
        write_options(config, plan.options)
        yield


def train(config: EasyDict, loop: Loop, read_ahead: ReadAhead) -> None:
    """Train until the end or a request to stop, as the only rank or one of several."""
    from torch_utils import distributed
    run_dir, first = Path(config.run_dir), distributed.is_rank0()
    with contextlib.ExitStack() as at_the_end, StopOnSignal(quiet=not first) as stop:
        if first and torchrun.was_launched():
            at_the_end.enter_context(take_as_rank(run_dir))
            # Ranks write the log themselves, because the launching process does not see their output.
            at_the_end.enter_context(TeeOutput(run_dir / 'log.txt'))
        finished = loop(config, stop_requested=lambda: stop.requested, read_ahead=read_ahead)
        if not finished:
            print(f'Stopped before the end. Everything is saved. To resume, repeat the command with --resume={run_dir}')
        page = run_dir / 'report.html'
        print(f'Results are in {run_dir}' + (f'; open {page.name} in a browser.' if page.is_file() else '.'))
