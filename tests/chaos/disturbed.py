"""A run that faults disturb, and that is started again until it is complete."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from helpers.background import Training

from chaos.faults import Fault
from chaos.place import Place, processes_of, send
from training.run.resume import state_of

LONE_ENDS = {'kill', 'full disk', 'read-only', 'refused'}  # after which a run may end with one line
LINES, TICKS, REST = 130, 4, 0.3                           # what a moment is a fraction of; REST in seconds


class Problem(Exception):
    """The run did what it must not do."""


class DisturbedRun:
    """outdir: on the disk of the place. seconds: that the run takes if nothing disturbs it. logs: folder for what each start
    prints. report: is given each fault and what came of it."""

    def __init__(self, place: Place, outdir: Path, options: Sequence[str], seconds: float, logs: Path,
                 report: Callable[[Fault, str], None]):
        self._place, self._outdir, self._logs, self._report = place, outdir, logs, report
        self._options = [f'--outdir={outdir}', *options, '--resume=latest']
        self._patience = 120 + 20 * seconds
        self._excuses: set[str] = set()  # what happened since the last start
        self.sessions: list[int] = []
        self.complete = self.was_killed = False

    @property
    def run_dir(self) -> Path | None:
        """The newest one, of those with a snapshot if there are any: what --resume=latest takes."""
        found = list(self._outdir.iterdir()) if self._outdir.is_dir() else []
        return max([path for path in found if any(path.glob('network-snapshot-*.pkl'))] or found, default=None)

    def survive(self, faults: Sequence[Fault]) -> None:
        """Let all faults happen that come before the run is complete, then let it end. Raises Problem."""
        self._start()
        try:
            for fault in faults:
                while not self.complete and not self._wait_for_moment(fault):
                    self._end()
                if self.complete:
                    break
                self._excuses.add(fault.kind)
                self._report(fault, getattr(self, '_' + fault.kind.replace(' ', '_').replace('-', '_'))(fault))
            while not self.complete:
                self._end()
            self._wait_for_ends(60)
        finally:
            for session in self.sessions:
                send(processes_of(session), signal.SIGKILL)

    # --- starting and ending ---

    def _new(self) -> Training:
        training = Training(self._logs / f'{len(self.sessions):03d}.log', *self._options)
        self.sessions.append(training.process.pid)
        return training

    def _start(self) -> None:
        at_work = any(processes_of(session) for session in self.sessions)  # ranks whose launcher was killed, and which save
        self._excuses = {'refused'} if at_work else set()
        self._training = self._new()

    def _wait_for_moment(self, fault: Fault) -> bool:
        """Whether the run is alive then: after some lines of the start, or some more ticks."""
        ticks, end = self._ticks() + int(TICKS * fault.moment), time.monotonic() + self._patience
        while self._is_alive():
            if time.monotonic() > end:
                raise Problem(f'no progress for {self._patience:.0f} s')
            output = self._training.output()
            if output.count('\n') >= LINES * fault.moment if fault.early else 'Training for' in output and self._ticks() >= ticks:
                time.sleep(REST * fault.chance)
                return self._is_alive()
            time.sleep(0.01)
        return False

    def _ticks(self) -> int:
        """Since the last start."""
        return self._training.output().count('\ntick ')

    def _is_alive(self) -> bool:
        return self._training.process.is_alive()

    def _end(self) -> None:
        """Wait for the end, see whether it has a reason, and start again unless the run is complete."""
        self._judge_end()
        if 'refused' in self._excuses:
            time.sleep(0.5)
        if not self.complete:
            self._start()

    def _judge_end(self) -> None:
        self._training.process.join(self._patience)
        if self._is_alive():
            raise Problem(f'still at work {self._patience:.0f} s after the last fault')
        status, output = self._training.process.exitcode, self._training.output()
        last = output.rstrip().rpartition('\n')[2]
        self.was_killed |= status < 0
        if 'Traceback' in output and 'kill' not in self._excuses:
            raise Problem('a traceback, though no process was killed')
        if status == 0 and 'Stopped before the end' not in output:
            self.complete = True
        elif status == 0 and not self._excuses & {'terminate', 'kill'}:
            raise Problem('it stopped before its end, though nobody asked')
        elif status == 1 and last.startswith('Error: ') and not self._excuses & LONE_ENDS:
            raise Problem(f'it ended without a reason: {last}')
        elif not (status == 0 or (status == 1 and last.startswith('Error: '))) and not self._excuses & {'terminate', 'kill'}:
            raise Problem(f'it ended with status {status}')

    def _wait_for_ends(self, seconds: float) -> None:
        """Until no process of any start is left."""
        end = time.monotonic() + seconds
        while left := [process for session in self.sessions for process in processes_of(session)]:
            if time.monotonic() > end:
                raise Problem(f'processes that nobody waits for: {", ".join(" ".join(p.cmdline()) for p in left)}')
            time.sleep(0.05)

    # --- faults: each returns what happened, in a few words ---

    def _kill(self, fault: Fault) -> str:
        if fault.chance < 0.4:
            self._wait_for_save()
        self.was_killed = True
        return self._send(fault.target, fault.chance, signal.SIGKILL)

    def _terminate(self, fault: Fault) -> str:
        return self._send('all' if fault.target == 'all' else 'launcher', fault.chance, signal.SIGTERM)

    def _pause(self, fault: Fault) -> str:
        paused = self._targets(fault.target, fault.chance)
        send(paused, signal.SIGSTOP)
        time.sleep(fault.seconds)
        send(paused, signal.SIGCONT)
        return f'SIGSTOP to {len(paused)} processes for {fault.seconds:.1f} s'

    def _full_disk(self, fault: Fault) -> str:
        with self._place.full_disk(self._training.process.pid):
            time.sleep(fault.seconds)
        return f'for {fault.seconds:.1f} s'

    def _read_only(self, fault: Fault) -> str:
        if not self._place.mounts or self.run_dir is None:
            return 'skipped: cannot mount here' if self.run_dir else 'skipped: no directory yet'
        with self._place.read_only(self.run_dir):
            time.sleep(fault.seconds)
        return f'for {fault.seconds:.1f} s'

    def _clock(self, fault: Fault) -> str:
        if not self._place.has_clock:
            return 'skipped: no g++'
        self._place.set_clock(fault.hours)
        return f'now {fault.hours:+.2f} hours off'

    def _second_run(self, fault: Fault) -> str:
        """Another one of the same directory, which is refused; it takes over if the first ends before it can be."""
        if not self._has_pairs(1):
            return 'skipped: it ended first'
        return self._compete()

    def _two_at_once(self, fault: Fault) -> str:
        if not self._has_pairs(1):
            return 'skipped: it ended first'
        self._end_all()
        self._start()
        return self._compete()

    def _corrupt(self, fault: Fault) -> str:
        """The newest pair, while the one before is intact."""
        if not self._has_pairs(2):
            return 'skipped: it ended first'
        self._end_all()
        if self._training.process.exitcode == 0:  # nobody will read the file
            return 'skipped: it ended first'
        network = self._pairs()[-1]
        victim = network if fault.target == 'launcher' else state_of(network)
        data = bytearray(victim.read_bytes())
        place = int(fault.chance * len(data))
        if fault.seconds < 1:
            del data[place:]
        else:
            data[place] ^= 1
        victim.write_bytes(data)
        return f'{victim.name} {"cut off at" if fault.seconds < 1 else "flipped in"} byte {place}'

    # --- what they share ---

    def _compete(self) -> str:
        """Start another run beside the one that is alive: one of them must end with one line."""
        other = self._new()
        end = time.monotonic() + self._patience
        while self._is_alive() and other.process.is_alive() and time.monotonic() < end:
            time.sleep(0.02)
        if not other.process.is_alive():
            refused = other
        elif self._is_alive():
            raise Problem(f'two runs of one directory, neither of which ended within {self._patience:.0f} s')
        else:
            refused, self._training = self._training, other
        status, output = refused.process.exitcode, refused.output()
        if status == 1 and re.search(r'\nError: .*another process.*\n$', output) and 'Training for' not in output:
            return 'one was refused'
        if status != 0 and not self._excuses & {'kill', 'terminate'}:
            raise Problem(f'two runs of one directory, of which one ended with status {status}:\n{output}')
        self._excuses.add('refused')  # as the other may have been, a moment before
        return 'one had ended before the other could be refused'

    def _end_all(self) -> None:
        self._excuses.add('kill')
        self.was_killed = True
        self._send('all', 0, signal.SIGKILL)
        self._training.process.join()
        self._wait_for_ends(60)

    def _send(self, target: str, chance: float, which: signal.Signals) -> str:
        targets = self._targets(target, chance)
        send(targets, which)
        return f'{which.name} to {target if target != "one" else f"one of {len(self._others())}"}'

    def _targets(self, target: str, chance: float) -> list[psutil.Process]:
        if target == 'all':
            return processes_of(self._training.process.pid)
        others = self._others()
        if target == 'one' and others:
            return [others[int(chance * len(others))]]
        return [psutil.Process(self._training.process.pid)] if self._is_alive() else []

    def _others(self) -> list[psutil.Process]:
        """All processes of the run but the first, and those that only remove what Python leaves."""
        session = self._training.process.pid
        found = []
        for process in processes_of(session):
            with contextlib.suppress(psutil.Error):  # it has just ended
                if process.pid != session and 'resource_tracker' not in ' '.join(process.cmdline()):
                    found.append(process)
        return found

    def _pairs(self) -> list[Path]:
        """The network snapshots with an intact training state, the newest one last."""
        return [path for path in sorted(self.run_dir.glob('network-snapshot-*.pkl')) if state_of(path)] if self.run_dir else []

    def _has_pairs(self, count: int) -> bool:
        """Wait until there are as many, or the run has ended."""
        while self._is_alive() and len(self._pairs()) < count:
            time.sleep(0.05)
        return self._is_alive()

    def _wait_for_save(self) -> None:
        """Until a file is being written, or the run has ended."""
        end = time.monotonic() + 5
        while self._is_alive() and time.monotonic() < end and not (self.run_dir and any(self.run_dir.glob('.*.tmp'))):
            time.sleep(0.001)
