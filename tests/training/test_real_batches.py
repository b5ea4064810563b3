"""The data loader and the end of a program."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = '''
import builtins, sys
import torch
from dnnlib.util import EasyDict
from training.inputs import real_batches

class Images(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(0)

config = EasyDict(random_seed=0, batch_size=2, data_loader_kwargs=dict(num_workers=2, prefetch_factor=2))
builtins.kept_to_the_end = real_batches(config, Images(), 0, torch.device('cpu'))
next(builtins.kept_to_the_end)
'''


def test_workers_do_not_keep_a_program_from_ending():
    done = subprocess.run([sys.executable, '-c', PROGRAM], cwd=Path(__file__).parents[2], capture_output=True,
                          text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


OWN_DATASET = '''
import os, signal
import numpy as np

if os.environ['MAIN'] != str(os.getpid()):  # in a worker that has just started: Ctrl-C, and the end of a Slurm job
    os.killpg(0, signal.SIGINT)
    os.killpg(0, signal.SIGTERM)

class Images:
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return np.full((1, 4, 4), i, np.uint8), np.zeros(0, np.float32)
'''

WITH_SERVER = '''
import multiprocessing, os, signal, sys, time
from multiprocessing import forkserver
import torch
from dnnlib import plugins
from dnnlib.util import EasyDict
from torch_utils import devices
from training.data import workers
from training.inputs import real_batches

os.environ['MAIN'] = str(os.getpid())
devices.suffers_from_fork = lambda device: True
device = torch.device('cpu')
workers.prepare(device)
signal.signal(signal.SIGINT, lambda *_: None)
signal.signal(signal.SIGTERM, lambda *_: None)
dataset = plugins.load_object(sys.argv[1] + ':Images')()
config = EasyDict(random_seed=0, batch_size=2, data_loader_kwargs=dict(num_workers=2, prefetch_factor=2))
batches = real_batches(config, dataset, 0, device)
next(batches)
pids = [child.pid for child in multiprocessing.active_children()]
assert len(pids) >= 1 and os.getpid() not in [int(open(f'/proc/{pid}/stat').read().split()[3]) for pid in pids], 'forked'
os.killpg(0, signal.SIGINT)
for _ in range(9):
    images, _ = next(batches)
assert images.shape == (2, 1, 4, 4)
print(*pids, forkserver._forkserver._forkserver_pid, flush=True)
while sys.stdin.readline():
    pass
'''


@pytest.mark.skipif(sys.platform != 'linux', reason='a fork server is taken on Linux')
def test_workers_of_a_fork_server_read_own_datasets_bear_signals_from_their_start_and_end_when_the_training_is_killed(tmp_path):
    (tmp_path / 'own.py').write_text(OWN_DATASET)
    program = subprocess.Popen([sys.executable, '-c', WITH_SERVER, tmp_path / 'own.py'], cwd=Path(__file__).parents[2], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    try:
        pids = [int(pid) for pid in program.stdout.readline().split()]
        assert len(pids) >= 2
        assert all(alive(pid) for pid in pids)
        program.kill()
        end = time.monotonic() + 20
        while any(alive(pid) for pid in pids) and time.monotonic() < end:
            time.sleep(0.05)
        assert not [pid for pid in pids if alive(pid)]
    finally:
        program.kill()
        program.communicate()


def alive(pid):
    try:
        os.kill(pid, signal.SIG_DFL)
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (ProcessLookupError, FileNotFoundError):
        return False
