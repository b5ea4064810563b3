"""Optimizers without PyTorch's compiler: the same steps, and a quick start."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.background import TINY, write_images

from torch_utils.optimizers import without_compiler

ROOT = Path(__file__).parents[2]


def weights_after_steps(optimizer_class, **kwargs):
    """And the state after them. The state is saved and restored in the middle."""
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    optimizer = optimizer_class(network.parameters(), lr=0.1, **kwargs)
    for i in range(4):
        optimizer.zero_grad()
        network(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
        if i == 1:
            state = optimizer.state_dict()
            optimizer = optimizer_class(network.parameters(), lr=0.1, **kwargs)
            optimizer.load_state_dict(state)
    return [*network.parameters(), *(value for state in optimizer.state.values() for value in state.values())]


@pytest.mark.parametrize('optimizer_class, kwargs', [
    (torch.optim.Adam, dict(betas=(0.0, 0.99))), (torch.optim.AdamW, {}), (torch.optim.SGD, dict(momentum=0.9)),
    (torch.optim.RMSprop, {})])
def test_steps_are_the_same(optimizer_class, kwargs):
    expected = weights_after_steps(optimizer_class, **kwargs)
    for value, other in zip(weights_after_steps(without_compiler(optimizer_class), **kwargs), expected, strict=True):
        assert torch.equal(value, other)


def test_an_own_optimizer_stays_as_it_is():
    class Own(torch.optim.SGD):
        def step(self, closure=None):
            return 'own'

    assert without_compiler(Own) is Own


@pytest.mark.parametrize('options', [['--aug=noaug'], ['--aug=ada', '--method=i-stylegan,clr-gan', '--z-dim=4', '--i_dim=2']])
def test_training_does_not_import_the_compiler(options, tmp_path):
    arguments = [f'--outdir={tmp_path}', f'--data={write_images(tmp_path / "images")}', *TINY, '--kimg=1', '--wandb=disabled',
                 '--metrics=none', *options]
    code = f'import sys, train; train.main({arguments}, standalone_mode=False); print("torch._dynamo" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ['False'], done.stdout + done.stderr
