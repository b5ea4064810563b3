"""Counting arithmetic: against what the layers' shapes say."""

import pytest
import torch
import torch.nn.functional as F

from torch_utils import flops


def test_convolutions_and_products_are_counted_with_their_gradients():
    x, w = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(5, 3, 3, 3, requires_grad=True)
    convolution = 2 * (2 * 5 * 8 * 8) * (3 * 3 * 3)
    with flops.Flops() as counter:
        y = F.conv2d(x, w, padding=1)
    assert counter.total == convolution
    with flops.Flops() as counter:
        y.sum().backward()
    assert counter.total == 2 * convolution
    with flops.Flops() as counter:
        F.linear(torch.randn(4, 6), torch.randn(7, 6), torch.randn(7))
        torch.randn(100).exp()
    assert counter.total == 2 * 4 * 6 * 7


def test_each_part_is_counted_once_and_by_its_share():
    meter, a, b = flops.FlopMeter({'main': 1, 'lazy': 4}), torch.randn(4, 5), torch.randn(5, 6)
    for step in range(6):
        with meter.counting('main'):
            a @ b
        if step == 3:
            with meter.counting('lazy'):
                a @ b @ b.T
        assert (meter.per_repetition() is None) == (step < 3)
    assert meter.per_repetition() == 240 + (240 + 240) / 4


def test_counting_changes_no_random_number():
    results = []
    for part in ('new', 'new', 'other'):
        meter = flops.FlopMeter({'new': 1})
        torch.manual_seed(0)
        with meter.counting(part):
            results.append((torch.randn(9) @ torch.randn(9, 9)).sum() + torch.rand([]))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize('name, peaks', [
    ('NVIDIA H100 80GB HBM3', (989, 67)), ('NVIDIA H100 PCIe', (756, 51)), ('NVIDIA H200', (989, 67)),
    ('NVIDIA A100-SXM4-80GB', (312, 19.5)), ('Tesla V100-SXM2-32GB', (125, 15.7)), ('NVIDIA L40S', (362, 91.6)),
    ('NVIDIA L4', (121, 30.3)), ('Tesla T4', (65, 8.1)), ('NVIDIA GeForce RTX 4090', (165, 82.6)),
    ('NVIDIA GeForce RTX 4090 D', None), ('NVIDIA L40', None), ('Unheard of', None)])
def test_peaks_of_known_cards(name, peaks, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: name)
    found = [flops.peak_flops(torch.device('cuda'), half) for half in (True, False)]
    assert found == ([None, None] if peaks is None else [peak * 1e12 for peak in peaks])


def test_on_a_cpu_the_peak_is_unknown():
    assert flops.peak_flops(torch.device('cpu'), half=False) is None
