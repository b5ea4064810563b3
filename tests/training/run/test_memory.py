"""Where the GPU has too little memory: one line that says which options to change."""

import pytest
import torch
from helpers.programs import run_program
from helpers.small_runs import config, write_domains

import calc_metrics
from dnnlib.util import EasyDict, UserError
from torch_utils import devices
from training.losses import Phase
from training.run.memory import smaller_microbatch, smaller_options
from training.training_loop import training_loop

TEXT = ('CUDA out of memory. Tried to allocate 2.25 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1.19 GiB is free. '
        'Including non-PyTorch memory, this process has 14.57 GiB memory in use.')


def run_out(*args):
    raise torch.cuda.OutOfMemoryError(TEXT)


def options(**changes):
    return EasyDict(dict(device='cuda', augment_kwargs=None, batch_size=32, batch_gpu=32, num_gpus=1, precision='auto',
                         D_kwargs=dict(channel_base=16384, epilogue_kwargs=dict(mbstd_group_size=4))), **changes)


@pytest.mark.parametrize('batch, gpus, batch_gpu, smaller', [
    (32, 1, 32, 16), (32, 1, 16, 8), (32, 1, 8, 4), (32, 1, 4, 2), (32, 1, 2, None), (24, 2, 12, 4), (64, 8, 8, 4), (9, 1, 9, 3)])
def test_the_next_smaller_microbatch(batch, gpus, batch_gpu, smaller):
    assert smaller_microbatch(options(batch_size=batch, num_gpus=gpus, batch_gpu=batch_gpu)) == smaller


def test_what_is_advised():
    assert smaller_options(options()) == (
        'use --batch-gpu=16 instead of 32 (gradients are accumulated over 2 rounds: slower, but with the same --batch), '
        'or --cbase=8192 instead of 16384 (smaller networks)')
    assert smaller_options(options(cuda_graphs=True)).startswith('use --cuda-graphs=0 (slower for small networks), or --batch')
    assert 'graphs' not in smaller_options(options(cuda_graphs=True, augment_kwargs={}))
    assert '--precision=auto instead of fp32' in smaller_options(options(precision='fp32'))
    assert smaller_options(options(batch_gpu=2, batch_size=2, D_kwargs={})) == 'use a GPU with more memory'


def test_training_ends_with_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(Phase, '_accumulate', run_out)
    (tmp_path / 'run').mkdir()
    with pytest.raises(UserError) as caught:
        training_loop(config(write_domains(tmp_path / 'data.zip'), tmp_path / 'run'))
    assert str(caught.value).startswith('the GPU is out of memory (2.25 GiB more were asked for, of 15.77 GiB); use '
                                        '--batch-gpu=10 instead of 50 (gradients are accumulated over 5 rounds')


def test_metrics_end_with_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(calc_metrics, 'check_options', lambda o: o.update(gpus=1, detector_paths={}))
    monkeypatch.setattr(calc_metrics, 'find_subjects', lambda networks: [])
    monkeypatch.setattr(calc_metrics, 'Records', run_out)
    status, _, err = run_program(calc_metrics.main, '--network=x', '--device=cpu', '--batch=64')
    assert (status, err) == (1, 'Error: the GPU is out of memory (2.25 GiB more were asked for, of 15.77 GiB); use --batch=32 '
                                'instead of 64\n')


def test_other_errors_are_not_taken_for_it():
    with pytest.raises(RuntimeError, match=r'^CUDA error$'), devices.explaining_out_of_memory('do something'):
        raise RuntimeError('CUDA error')
