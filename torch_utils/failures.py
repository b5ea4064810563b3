"""What happens when one of several workers fails: all end at once, and its error is told on every machine."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import distributed as dist

from dnnlib.util import UserError
from torch_utils import torchrun
from torch_utils.meeting import Members

PERIOD = 0.5  # seconds between two looks at the others
GRACE = 3.0   # seconds that a worker, whose connection to another one broke, waits for that one's own words; and until all know
_COLLECTIVE = str(Path(dist.__file__).parent)


@dataclass(frozen=True)
class Failure:
    """Why the workers end. rank: of the one that failed. text: one line if it is a UserError, a traceback if not."""

    rank: int
    text: str
    exit_status: int = 1
    is_user_error: bool = False

    @classmethod
    def of(cls, rank: int, err: BaseException) -> Failure:
        if isinstance(err, UserError):
            return cls(rank, ' '.join(str(err).split()), err.exit_status, True)
        return cls(rank, ''.join(traceback.format_exception(err)).rstrip())

    def report(self, store: dist.Store) -> Failure:
        """Tell it to all workers, unless one has failed before: what counts then is returned."""
        return _decode(store.compare_set('failure', '', json.dumps(asdict(self))))


def reported(store: dist.Store) -> Failure | None:
    """What a worker has told, if one has failed."""
    return _decode(store.get('failure')) if store.check(['failure']) else None


def _decode(data: bytes) -> Failure:
    return Failure(**json.loads(data))


class Watch:
    """While active, this worker ends by itself as soon as another one has failed or is not heard of for lost_after seconds;
    an exception that passes through is told to the others.

    Each worker beats, and listens to the next one, so that it does not matter how many there are.
    """

    def __init__(self, members: Members, lost_after: float):
        self._members, self._lost_after = members, lost_after
        self._store = members.new_store()
        self._stopped = threading.Event()
        self._lock = threading.Lock()  # of whoever ends the process
        self._beat_at = time.monotonic()

    def __enter__(self) -> Watch:
        for run in (self._listen, self._check_contact):
            threading.Thread(target=run, name='watch', daemon=True).start()
        return self

    def stop(self) -> None:
        """From now on, others may go."""
        self._stopped.set()

    def __exit__(self, kind, err, trace) -> None:
        if err is None or not isinstance(err, Exception):
            self.stop()
            return
        mine = Failure.of(self._members.rank, err)
        if _is_of_collective(err):  # perhaps only the consequence of what another one has to tell
            time.sleep(GRACE)  # within which the watch may end this process
            mine = Failure(mine.rank, f'{mine.text}\n{self._advice()}')
        with self._lock:
            self.stop()
            try:
                counts = mine.report(self._members.new_store())
            except RuntimeError:  # nobody is there to be told
                counts = mine
        self._say(counts, always=counts == mine)
        self._let_all_hear(counts)
        self._end(counts)

    def _advice(self) -> str:
        me = self._members.describe(self._members.rank).capitalize()
        return (f'{me} could not reach another one any more, or waited longer than {self._members.timeout:g} s for it: see what '
                'the other hosts say. STYLEGAN_TIMEOUT sets the time.')

    def _listen(self) -> None:
        members, beats = self._members, 0
        neighbour = (members.rank + 1) % members.count
        heard, heard_at = -1, time.monotonic()
        while not self._stopped.wait(PERIOD):
            try:
                beats += 1
                self._store.set(f'beat/{members.rank}', str(beats))
                failure = reported(self._store)
                if self._store.check([f'beat/{neighbour}']):
                    now = int(self._store.get(f'beat/{neighbour}'))
                    heard, heard_at = (now, time.monotonic()) if now != heard else (heard, heard_at)
                if failure is None and time.monotonic() - heard_at > self._lost_after:
                    text = f'{members.describe(neighbour).capitalize()} has not been heard of for {self._lost_after:g} s.'
                    failure = Failure(neighbour, text).report(self._store)
            except RuntimeError as err:
                self._end_without_contact(str(err).splitlines()[0])
            self._beat_at = time.monotonic()
            if failure is not None:
                with self._lock:
                    if not self._stopped.is_set():
                        self._say(failure)
                        self._let_all_hear(failure)
                        self._end(failure)

    def _check_contact(self) -> None:
        """A call to the store waits for as long as the network is silent."""
        while not self._stopped.wait(PERIOD):
            if time.monotonic() - self._beat_at > self._lost_after:
                self._end_without_contact(f'silent for {self._lost_after:g} s')

    def _end_without_contact(self, reason: str) -> None:
        rank = self._members.rank
        text = f'{self._members.describe(rank).capitalize()} has lost the connection to what all workers share ({reason}).'
        with self._lock:
            if not self._stopped.is_set():
                print(text, file=sys.stderr, flush=True)
                self._end(Failure(rank, text))

    def _say(self, failure: Failure, always: bool = False) -> None:
        """Once per machine and, for the log file, in the first worker; under `launch`, the launching process does it."""
        if torchrun.was_launched():
            return
        elsewhere = self._members.hosts[failure.rank] != self._members.hosts[self._members.rank]
        if always or self._members.rank == 0 or (elsewhere and os.environ.get('LOCAL_RANK') == '0'):
            print(explain(failure, self._members), file=sys.stderr, flush=True)

    def _let_all_hear(self, failure: Failure) -> None:
        """Wait a moment until all know it: torchrun may end with this worker, and take what they share with it."""
        if torchrun.was_launched():  # and the launching process stays
            return
        end = time.monotonic() + GRACE
        with contextlib.suppress(RuntimeError):
            store = self._members.new_store()
            store.add('heard', int(self._members.rank != failure.rank))
            while store.add('heard', 0) < self._members.count - 1 and time.monotonic() < end:
                time.sleep(PERIOD / 10)

    def _end(self, failure: Failure) -> None:
        """At once: the main thread may be waiting for another worker."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(failure.exit_status)


def explain(failure: Failure, members: Members) -> str:
    """For people."""
    if failure.is_user_error:
        return f'Error: {failure.text}'
    return f'{members.describe(failure.rank).capitalize()} failed, so that all workers end:\n{failure.text}'


def _is_of_collective(err: BaseException) -> bool:
    """Whether it was raised by a call that needs other workers."""
    return any(frame.filename.startswith(_COLLECTIVE) for frame in traceback.extract_tb(err.__traceback__))
