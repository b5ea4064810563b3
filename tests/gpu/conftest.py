"""Tests of one device: CUDA where there is a card, any other one by DEVICE=cpu; skipped where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from torch_utils import devices

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents and 'device' in item.fixturenames:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope='session')
def device() -> torch.device:
    """What is tested, computing float32 in float32."""
    name = os.environ.get('DEVICE', 'cuda')
    if name == 'cuda' and not torch.cuda.is_available():
        pytest.skip('there is no CUDA device; DEVICE=cpu runs the same tests on the CPU')
    chosen = devices.resolve_device(name)
    devices.configure(chosen, cudnn_benchmark=False, allow_tf32=False)
    return chosen
