"""Helpers shared by the tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

os.environ['WANDB_MODE'] = 'disabled'  # whoever runs the tests may be logged in
# No test compiles unawares; those of the native operators choose them. `make test OPS=auto` has all of them compute with ours.
os.environ['STYLEGAN_OPS'] = os.environ.get('STYLEGAN_TEST_OPS', 'torch')
torch.set_num_threads(1)  # tiny networks gain nothing from more threads, and share the machine better
GOLDEN = Path(__file__).parent / 'golden'


class Golden:
    """One file of golden numbers: arrays as float32 tensors, `meta`, and weights as a state dict."""

    def __init__(self, name: str):
        with np.load(GOLDEN / f'{name}.npz') as f:
            self.arrays = {k: f[k] for k in f.files}
        self.meta = json.loads(str(self.arrays.pop('meta')))
        self.state_dict = {k[len('state/'):]: self[k] for k in self.arrays if k.startswith('state/')}

    def __getitem__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(np.array(self.arrays[key]))


@pytest.fixture
def in_tmp_path(tmp_path, monkeypatch):
    """The working directory is an empty one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def golden():
    """golden('g_orig') reads tests/golden/g_orig.npz."""
    return Golden


@pytest.fixture
def agrees():
    """agrees(actual, expected): equal shapes, and 1e-4 relative to the largest expected value."""

    def check(actual, expected, tol=1e-4):
        actual, expected = torch.as_tensor(actual).detach(), torch.as_tensor(expected)
        assert actual.shape == expected.shape
        scale = expected.abs().max().clamp(min=1e-12)
        error = ((actual - expected).abs().max() / scale).item()
        assert error <= tol, f'off by {error:.2e} of the largest value'

    return check
