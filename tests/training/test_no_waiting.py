"""Between ticks, training does not wait for the device: the loop runs on the meta device, where asking for a value fails."""

import contextlib

import pytest
import torch
from helpers.small_runs import config, write_domains
from torch.utils._python_dispatch import TorchDispatchMode

from torch_utils import devices, training_stats
from training import training_loop as loop
from training.augmentation import ada
from training.augmentation.presets import AUGPIPES

META = torch.device('meta')


class Copies(TorchDispatchMode):
    """Counts copies from main memory to the device, and those that nobody would wait for."""

    def __init__(self):
        super().__init__()
        self.all = self.without_waiting = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and args[0].device.type == 'cpu' and kwargs.get('device') == META:
            self.all += 1
            self.without_waiting += bool(kwargs.get('non_blocking'))
        return func(*args, **kwargs)


class Bystander:
    """Takes the place of what looks at a run between ticks."""

    longest_save, stopped_by = 0.0, None

    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name):
        return lambda *args, **kwargs: []

    def surviving(self, name):
        return contextlib.nullcontext()

    def waiting_for_data(self):
        return contextlib.nullcontext()


@pytest.fixture
def pinned(monkeypatch):
    """The loop on the meta device, as if it were CUDA. Gives the tensors that were pinned."""
    for name in ('Monitor', 'Probes', 'SampleGrid', 'Checkpoints', 'Evaluation'):
        monkeypatch.setattr(loop, name, Bystander)
    monkeypatch.setattr(devices, 'start', lambda *args: META)
    monkeypatch.setattr(devices, 'wants_few_shapes', lambda device: device == META)
    monkeypatch.setattr(devices, 'wants_few_kernels', lambda device: device == META)
    monkeypatch.setattr(devices, 'pins_memory', lambda device: device == META)
    tensors = []
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda self, device=None: tensors.append(self) or self)
    monkeypatch.setattr(training_stats, '_waiting', [])
    return tensors


TERMS = {'G/sparse': dict(weight=0.1), 'G/img_sparse': dict(weight=0.1, jacobian='fd-normalized', penalty='hoyer'),
         'G/recon': dict(weight=0.5), 'D/latent': dict(weight=5.0), 'G/orth': dict(weight=0.1, interval=4)}


@pytest.mark.parametrize('terms, matrix_size', [({}, 128), (TERMS, 4)], ids=['stylegan2-small', 'everything-large'])
def test_no_step_waits(terms, matrix_size, tmp_path, monkeypatch, pinned):
    monkeypatch.setattr('training.augmentation.geometry.MATRIX_SIZE', matrix_size)
    c = config(write_domains(tmp_path / 'data.zip'), tmp_path, batch_size=12, batch_gpu=6, kimg_per_tick=1000,
               augment_kwargs=dict(class_name='training.augment.AugmentPipe', **AUGPIPES['bgc'], noise=1, cutout=1),
               augment_p=0.5, ada_target=0.6, ada_interval=4, ada_kimg=100)
    c.loss_kwargs['terms'] |= terms
    if terms:
        c.G_kwargs['mapping_kwargs'].update(cond_mode='flow', i_dim=3, flow_dim=2)
    updates, steps, copies = [], [], Copies()
    # ADA alone asks for something: one number every ada_interval steps, which decides what is drawn next.
    monkeypatch.setattr(ada.AdaController, 'update', lambda self: updates.append(1))

    def stop():
        if not steps:  # the networks are where they should be by now
            copies.all = copies.without_waiting = 0
        steps.append(1)
        return len(steps) == 6

    with copies:
        loop.training_loop(c, stop)
    assert len(steps) == 6 and len(updates) == 1
    assert copies.all == copies.without_waiting > 5 * 4 and len(pinned) > 5 * 4
    assert len(training_stats._waiting) > 6 * 8 and all(x.is_meta for _, x in training_stats._waiting)
