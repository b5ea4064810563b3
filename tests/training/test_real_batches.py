"""The data loader and the end of a program."""

import subprocess
import sys
from pathlib import Path

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
