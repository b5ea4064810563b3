"""Many processes: order, errors, and that they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnnlib import UserError
from training.data.making import in_parallel

ROOT = Path(__file__).parents[4]


def square(x):
    if x == 13:
        raise UserError('thirteen')
    return x * x


def die(x):
    os._exit(9)


def test_results_come_in_order_and_errors_where_they_belong():
    tasks = [(i, (i,)) for i in range(13)]
    assert list(in_parallel.map_in_order(square, [*tasks, ('x', 'as it is')], 2)) == [*((i, i * i) for i in range(13)),
                                                                                     ('x', 'as it is')]
    with pytest.raises(UserError, match='thirteen'):
        list(in_parallel.map_in_order(square, [*tasks, (13, (13,))], 2))
    with pytest.raises(UserError, match='worker process was ended'):
        list(in_parallel.map_in_order(die, tasks, 2))


def test_tasks_are_not_taken_far_ahead(monkeypatch):
    monkeypatch.setattr(in_parallel, 'BATCH_ITEMS', 2)
    taken = []
    results = in_parallel.map_in_order(square, ((taken.append(i) or i, (0,)) for i in range(100)), 2)
    next(results)
    assert len(taken) <= 12
    results.close()


PROGRAM = '''
import os, signal, sys, time
from training.data.making import in_parallel
in_parallel.BATCH_ITEMS = 1
if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    def tasks():
        for i in range(100):
            yield i, ()
            if i == 50:
                print('ready', flush=True)
                time.sleep(60)
    for key, pid in in_parallel.map_in_order(os.getpid, tasks(), 2):
        if key < 20:
            print(pid, flush=True)
'''


@pytest.mark.parametrize('sign', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_program(tmp_path, sign):
    program = tmp_path / 'program.py'
    program.write_text(PROGRAM)
    process = subprocess.Popen([sys.executable, str(program)], cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)},
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # in the background it is ignored
    lines = []
    while not lines or lines[-1] != 'ready':
        lines.append(process.stdout.readline().strip())
        assert lines[-1]
    process.send_signal(sign)
    process.wait(20)
    process.stdout.close()
    pids = {int(line) for line in lines[:-1]}
    assert pids and process.pid not in pids
    deadline = time.monotonic() + 20
    while any(map(running, pids)):
        assert time.monotonic() < deadline, 'a process lives on'
        time.sleep(0.05)


def running(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False
