"""Every operator is tested as PyTorch computes it and as the native library does."""

import pytest
import torch

from torch_utils import custom_ops
from torch_utils.building import CannotBuild
from torch_utils.ops import backend


@pytest.fixture(scope='session')
def native():
    """The native operators, built into the user's cache when they are tested for the first time; skips without a compiler."""
    try:
        custom_ops.load('cpu')
    except CannotBuild as err:
        if err.reason.startswith(('there is no C++ compiler', 'ninja is missing')):
            pytest.skip(f'the native operators cannot be built here: {err}')
        raise


@pytest.fixture(scope='session')
def native_ops(native):
    """torch.ops.style_gan_ops: the raw operators of the library."""
    return torch.ops.style_gan_ops


@pytest.fixture(params=['torch', 'native'])
def ops(request):
    """Who computes during a test."""
    if request.param == 'native':
        request.getfixturevalue('native')
    with backend.using(request.param):
        yield request.param
