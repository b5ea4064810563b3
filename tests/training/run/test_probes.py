"""What is measured for the rules on a run's health: variety, zeros among gradients, D on held-out images."""

import numpy as np
import pytest
import torch

from torch_utils import training_stats
from training.networks.layers import Block
from training.run import probes
from training.run.probes import Probes, variety, zero_gradients


@pytest.fixture
def reals():
    return np.random.default_rng(0).integers(0, 256, [200, 3, 8, 8]).astype(np.uint8)


def test_variety_of_real_images_is_1_and_of_one_image_0(reals):
    labels = np.zeros([200, 0], np.float32)
    assert variety(reals, reals, labels) == 1
    assert variety(reals[:1].repeat(200, axis=0), reals, labels) == 0
    assert variety(reals * 0.25 + 7, reals, labels) == pytest.approx(0.25)
    assert np.isnan(variety(reals, reals[:1].repeat(200, axis=0), labels))


def test_variety_is_within_labels(reals):
    """One image for each label: different images, but no variety."""
    labels = np.eye(2, dtype=np.float32)[np.arange(200) % 2]
    assert variety(reals[np.arange(200) % 2], reals, labels) == 0
    assert variety(reals[np.arange(200) % 2], reals, labels[:, :0]) > 0.5


def test_large_images_are_thinned_out():
    rng = np.random.default_rng(0)
    reals, fakes = (rng.normal(size=[50, 1, 64, 128]) * scale for scale in (1, 0.5))
    assert variety(fakes, reals, np.zeros([50, 0])) == pytest.approx(0.5, abs=0.02)


def test_zeros_are_counted_in_half_precision_layers_only(monkeypatch):
    monkeypatch.setattr(probes, 'computes', lambda dtype, device: True)
    net = torch.nn.Sequential(Block(use_fp16=True, fp16_channels_last=False), Block(use_fp16=False, fp16_channels_last=False))
    for block in net:
        block.weight = torch.nn.Parameter(torch.ones(4))
        block.weight.grad = torch.tensor([0.0, 1e-30, -0.0, 2.0])
    assert zero_gradients({'G': net}) == 0.5
    net[0].half_dtype = torch.bfloat16  # has the range of float32
    assert zero_gradients({'G': net}) is None


def test_no_share_where_the_device_does_not_compute_float16():
    block = Block(use_fp16=True, fp16_channels_last=False)
    block.weight = torch.nn.Parameter(torch.ones(4))
    block.weight.grad = torch.zeros(4)
    assert zero_gradients({'G': torch.nn.Sequential(block)}) is None


class Images:
    """Images of one grey value each."""

    def __init__(self, grey, use_labels=False):
        self.grey, self.label_dim = grey, 0

    def __len__(self):
        return 5

    def __getitem__(self, i):
        return np.full([1, 4, 4], self.grey, np.uint8), np.zeros(0, np.float32)


@pytest.mark.parametrize('grey, expected', [(255, 0.0), (0, 1.0), (191.25, 0.25)])
def test_held_out_images_are_placed_between_training_and_generated_images(grey, expected, monkeypatch):
    """D is the mean of the image; training images are white, generated ones black."""
    class G(torch.nn.Module):
        z_dim = 2
        mapping = type('Mapping', (), {'i_dim': 0})

        def forward(self, z, c, noise_mode):
            return torch.full([len(z), 1, 4, 4], -1.0)

    D = type('D', (torch.nn.Module,), {'forward': lambda self, x, c: x.mean(dim=(1, 2, 3))})()
    monkeypatch.setattr(probes, 'construct_class_by_name', lambda **kwargs: Images(grey))
    c = probes.EasyDict(eval_set_kwargs={}, training_set_kwargs=dict(use_labels=False), random_seed=0, batch_gpu=48)
    held_out = probes.Probes(c, Images(255), {'G': G(), 'D': D}, torch.device('cpu'))
    collector = training_stats.Collector('Health/held_out', keep_previous=False)
    held_out.report()
    collector.update()
    assert collector.mean('Health/held_out') == pytest.approx(expected, abs=0.01)


def test_nothing_is_reported_of_held_out_images_without_any():
    G = type('G', (torch.nn.Module,), {'z_dim': 2, 'mapping': type('Mapping', (), {'i_dim': 0})})()
    collector = training_stats.Collector('Health/.*', keep_previous=False)
    Probes(probes.EasyDict(), None, {'G': G, 'D': G}, torch.device('cpu')).report()
    collector.update()
    assert all(collector.num(name) == 0 for name in collector.names())
