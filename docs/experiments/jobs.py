"""Run programs, several at the same time, each after those that it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from dnnlib.signals import StopOnSignal

POLL = 0.1  # seconds


class Job(NamedTuple):
    """command: the program and its arguments, made when it starts. log: file for its output, or None for the terminal.
    needs: name of the job that must succeed before."""

    command: Callable[[], Sequence[str]]
    succeeded: Callable[[], bool]
    log: Path | None = None
    needs: str | None = None


class Stopped(Exception):
    """A signal stopped the jobs."""


def run_jobs(jobs: Mapping[str, Job], limit: int) -> dict[str, str]:
    """Run jobs in their order, at most `limit` at the same time. Jobs that have succeeded before are skipped.

    Returns the reasons of those that failed; the others still run. On Ctrl-C or SIGTERM, passes SIGTERM on to the running jobs,
    waits until they have saved, and raises Stopped.
    """
    waiting = {name: job for name, job in jobs.items() if not job.succeeded()}
    running: dict[str, subprocess.Popen] = {}
    failed: dict[str, str] = {}
    with StopOnSignal(quiet=True) as stop:
        while running or waiting:
            for name in [name for name, process in running.items() if process.poll() is not None]:
                status = running.pop(name).returncode
                if not jobs[name].succeeded():
                    failed[name] = f'ended with status {status}'
                report(jobs[name], name, failed.get(name, 'done'))
            for name in list(waiting):
                needs = waiting[name].needs
                if needs in failed:
                    failed[name] = f'needs {needs}'
                    del waiting[name]
                elif len(running) < limit and needs not in waiting and needs not in running:
                    running[name] = start(name, waiting.pop(name), limit)
            time.sleep(POLL)
            if stop.requested:
                stop_all(running)
                raise Stopped
    return failed


def start(name: str, job: Job, limit: int) -> subprocess.Popen:
    """Start a job. The cores are divided between the jobs, unless OMP_NUM_THREADS is set."""
    threads = {'OMP_NUM_THREADS': str(max((os.cpu_count() or 1) // limit, 1))} if limit > 1 else {}
    environment = {**threads, **os.environ}
    if job.log is None:
        return subprocess.Popen(job.command(), cwd=ROOT, env=environment)
    report(job, name, 'started')
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open('ab') as output:
        return subprocess.Popen(job.command(), cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)


def stop_all(running: Mapping[str, subprocess.Popen]) -> None:
    """Have all jobs save and end. They may have received the signal, too; train.py counts two within a second as one."""
    print(f'Stopping {len(running)} programs.', flush=True)
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.wait()


def report(job: Job, name: str, state: str) -> None:
    """Print a line about a job whose output is in a file."""
    if job.log is not None:
        print(f'{time.strftime("%H:%M:%S")} {name}: {state} ({job.log})', flush=True)
