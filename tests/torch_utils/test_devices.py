"""Choosing a device, seeding, timing: on whatever this machine has."""

import time

import numpy as np
import pytest
import torch

from dnnlib import OptionError
from torch_utils import devices, gpu_trouble

CPU = torch.device('cpu')


def available(monkeypatch, cuda, mps):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: mps)


@pytest.mark.parametrize('cuda, mps, name', [
    (True, True, 'cuda'), (True, False, 'cuda'), (False, True, 'mps'), (False, False, 'cpu')])
def test_auto_takes_the_best_device(monkeypatch, cuda, mps, name):
    available(monkeypatch, cuda, mps)
    assert devices.resolve_device('auto') == torch.device(name)


@pytest.mark.parametrize('name', ['cuda', 'mps', 'cpu'])
def test_a_device_that_is_there_is_given(monkeypatch, name):
    available(monkeypatch, True, True)
    assert devices.resolve_device(name) == torch.device(name)


def test_a_gpu_that_pytorch_cannot_use_is_explained(monkeypatch, capsys):
    available(monkeypatch, True, False)
    monkeypatch.setattr(gpu_trouble, 'trouble', lambda: 'the GPU is too old')
    with pytest.raises(OptionError, match='--device=cuda: the GPU is too old'):
        devices.resolve_device('cuda')
    assert devices.start('auto') == CPU
    assert capsys.readouterr().out == 'Warning: the GPU is too old. Computing on the CPU.\n'
    monkeypatch.setenv('RANK', '1')
    assert devices.start('auto') == devices.start('cpu') == CPU and capsys.readouterr().out == ''


@pytest.mark.parametrize('name', ['cuda', 'mps', 'tpu', 'cuda:7', ''])
def test_a_device_that_is_not_there_is_named(monkeypatch, name):
    available(monkeypatch, False, False)
    with pytest.raises(OptionError) as caught:
        devices.resolve_device(name)
    assert str(caught.value) == f'--device={name} is not available here; use --device=auto or --device=cpu'
    assert caught.value.exit_status == 2


def draw(*key):
    rng = devices.seed_everything(*key)
    return (*torch.rand(3).tolist(), *rng.random(3))


def test_one_key_gives_the_same_numbers_again():
    state = np.random.get_state()[1].copy()
    first = draw(3, 1, 64)
    assert draw(3, 1, 64) == first
    assert np.array_equal(np.random.get_state()[1], state)  # NumPy's global generator is nobody's


def test_every_part_of_the_key_matters():
    keys = [(3, 1, 64), (4, 1, 64), (3, 2, 64), (3, 1, 65), (1, 3, 64), (3, 64, 1), (0, 0, 1), (0, 1, 0), (2 ** 40, 1, 64),
            (3, 1, 2 ** 33), (3, 1)]
    results = [draw(*key) for key in keys]
    for part in zip(*results, strict=True):
        assert len(set(part)) == len(keys)


def test_torch_and_numpy_draw_different_numbers():
    assert len(set(draw(1, 2, 3))) == 6


def test_a_negative_key_is_refused():
    with pytest.raises(ValueError, match='non-negative'):
        devices.seed_everything(-1)


def test_the_stopwatch_times_the_latest_block():
    watch = devices.Stopwatch(CPU)
    assert watch.milliseconds() is None
    with watch:
        time.sleep(0.1)
    first = watch.milliseconds()
    assert 99 < first == watch.milliseconds()
    with pytest.raises(RuntimeError), watch:
        raise RuntimeError
    assert 0 <= watch.milliseconds() < 99


def test_the_cpu_computes_in_single_precision_and_counts_no_memory():
    assert not devices.computes(torch.float16, CPU) and devices.computes(torch.bfloat16, CPU) and not devices.pins_memory(CPU)
    assert devices.peak_memory_gib(CPU) == 0


def test_switches_are_set(monkeypatch):
    monkeypatch.setattr(devices, '_keep_freed_memory', lambda: None)
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32
    matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = True
    try:
        for benchmark, tf32 in ((True, False), (False, True), (False, False)):
            devices.configure(CPU, cudnn_benchmark=benchmark, allow_tf32=tf32)
            assert (cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32) == (benchmark, tf32, tf32)
            assert not matmul.allow_fp16_reduced_precision_reduction and not matmul.allow_bf16_reduced_precision_reduction
    finally:
        devices.configure(CPU, *before)


def test_full_precision_is_for_a_while():
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for value in (True, False):
            for switch in switches:
                switch.allow_tf32 = value
            with pytest.raises(KeyError), devices.full_precision():
                assert not any(switch.allow_tf32 for switch in switches)
                raise KeyError
            assert [switch.allow_tf32 for switch in switches] == [value, value]
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value
