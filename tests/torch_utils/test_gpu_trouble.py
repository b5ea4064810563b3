"""What is said of a GPU that PyTorch can't use. The driver's and PyTorch's answers are doubles."""

import pytest
import torch

from torch_utils import cuda_driver, gpu_trouble


def machine(monkeypatch, gpus, driver, build, archs=('sm_75', 'sm_80', 'sm_90a', 'compute_120')):
    monkeypatch.setattr(cuda_driver, 'capabilities', lambda: gpus)
    monkeypatch.setattr(cuda_driver, 'version', lambda: driver)
    monkeypatch.setattr(torch.version, 'cuda', build)
    monkeypatch.setattr(torch.cuda, 'get_arch_list', lambda: list(archs))


@pytest.mark.parametrize('gpus, driver, build, told', [
    ([(9, 0)], (13, 0), None, 'is built without CUDA'),
    ([(9, 0)], (12, 4), '13.0', 'supports CUDA 12.4, and this PyTorch needs 13.0; update the driver'),
    ([(9, 0), (6, 1)], (13, 0), '13.0', 'it has compute capability 6.1, and this PyTorch needs 7.5'),
])
def test_the_reason_and_the_remedy_are_one_line(monkeypatch, gpus, driver, build, told):
    machine(monkeypatch, gpus, driver, build)
    text = gpu_trouble.trouble()
    assert told in text and '\n' not in text and ('install' in text or 'update' in text)


@pytest.mark.parametrize('gpus, driver, build, archs', [
    ([], (13, 0), None, ()),  # a driver without a GPU
    ([(7, 5)], (13, 0), '13.0', ('sm_75',)),
    ([(12, 1)], (13, 2), '13.0', ('sm_75', 'sm_90a')),  # newer than the build: the driver translates
    ([(9, 0)], (12, 4), '12.8', ('sm_90',)),  # a minor version older
    ([(9, 0)], (12, 4), '12.8', ()),
])
def test_nothing_is_said_where_it_works(monkeypatch, gpus, driver, build, archs):
    machine(monkeypatch, gpus, driver, build, archs)
    assert gpu_trouble.trouble() is None


def test_nothing_is_said_without_a_driver(monkeypatch):
    monkeypatch.setattr(cuda_driver, 'LIBRARY', 'libno-such-driver.so.1')
    cuda_driver._driver.cache_clear()
    assert gpu_trouble.trouble() is None
