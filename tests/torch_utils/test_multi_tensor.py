"""Many tensors by few kernels: the same bits as one by one, and really few."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torch_utils import devices, multi_tensor

SHAPES = [[], [3], [2, 3, 3, 3], [1], [4, 5]]


def tensors():
    torch.manual_seed(0)
    result = [torch.randn(shape) for shape in SHAPES]
    result[2] = result[2].to(memory_format=torch.channels_last)
    result[1][1], result[4][2, 3], result[4][0, 0], result[3][0] = math.nan, math.inf, -math.inf, -0.0
    return result


class Calls(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names += [] if func.is_view or func.overloadpacket is torch.ops.aten.detach else [str(func)]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('few', [False, True])
def test_what_is_not_finite_is_replaced_and_counted(few, monkeypatch):
    monkeypatch.setattr(devices, 'wants_few_kernels', lambda device: few)
    cleaned = tensors()
    assert multi_tensor.replace_nonfinite(cleaned, 1e5) == 2
    for new, old in zip(cleaned, tensors(), strict=True):
        expected = torch.nan_to_num(old, nan=0.0, posinf=1e5, neginf=-1e5)
        assert torch.equal(new.view(torch.int32), expected.view(torch.int32)) and new.stride() == old.stride()


def test_a_hundred_tensors_take_few_calls(monkeypatch):
    monkeypatch.setattr(devices, 'wants_few_kernels', lambda device: True)
    many = [torch.randn(3) for _ in range(100)]
    with Calls() as calls:
        multi_tensor.replace_nonfinite(many, 1e5)
    assert len(calls.names) < 12, calls.names


def test_zeros_are_parts_of_one_tensor():
    zeros = multi_tensor.zeros_like(tensors())
    assert [list(z.shape) for z in zeros] == SHAPES and not any(z.any() for z in zeros)
    assert len({z.untyped_storage().data_ptr() for z in zeros}) == 1
    assert multi_tensor.zeros_like([]) == []
