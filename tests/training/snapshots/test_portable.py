"""Generators as programs for applications: ONNX and torch.export compute what the network computes, for every kind of network."""

import importlib.util
import io
import zipfile

import pytest
import torch
from torch import nn

from dnnlib.errors import UserError
from training.networks import Generator
from training.networks.plain import PlainGenerator
from training.snapshots import portable
from training.snapshots.portable import Difference
from training.snapshots.tracing import mapping_inputs, trace

# float32 has 6e-8 of relative precision, and no image value is a sum of more than some hundred rounded ones.
PRECISION = 1e-5


def generator(c_dim=0, size=8, channels=3, mapping=None, half=False, **synthesis):
    torch.manual_seed(0)
    G = Generator(z_dim=6, c_dim=c_dim, w_dim=8, img_resolution=size, img_channels=channels,
                  mapping_kwargs=dict(num_layers=1, **(mapping or {})),
                  synthesis_kwargs=dict(channel_base=64, channel_max=8, **synthesis)).eval().requires_grad_(False)
    for name, p in G.state_dict().items():
        if name.endswith(('noise_strength', 'w_avg')):
            p.add_(0.3)
        if half:
            p.copy_(p.half())
    return G


class Rows(nn.Module):
    """A synthesis network of somebody else's."""

    def __init__(self, num_channels, size, w_dim):
        super().__init__()
        self.dense, self.shape = nn.Linear(w_dim, num_channels * size * size), (num_channels, size, size)

    def forward(self, ws, noise_mode='random', force_fp32=False, noise_repeat=1):
        return self.dense(ws[:, 0]).reshape(-1, *self.shape)


def own_generator():
    torch.manual_seed(0)
    G = PlainGenerator(4, 2, 8, 3)
    G.synthesis = Rows(3, 8, G.w_dim)
    return G.eval().requires_grad_(False)


FLOW = dict(cond_mode='flow', i_dim=3)
NETWORKS = {
    'skip': lambda: generator(),
    'resnet': lambda: generator(architecture='resnet'),
    'orig': lambda: generator(architecture='orig'),
    'labels': lambda: generator(2),
    'flow': lambda: generator(2, mapping=FLOW),
    'mlp': lambda: generator(2, mapping=dict(cond_mode='mlp', i_dim=3)),
    'second label': lambda: generator(2, mapping=dict(FLOW, use_label=1, label_dim=4)),
    'no mean of w': lambda: generator(mapping=dict(w_avg_beta=None)),
    'rectangle, RGBA': lambda: generator(size=(8, 16), channels=4),
    'grey, no noise': lambda: generator(channels=1, use_noise=False),
    'fp16 blocks, clamped': lambda: generator(size=16, num_fp16_res=4, conv_clamp=256, fp16_channels_last=True),
    'shipped in half': lambda: generator(half=True),
    'long filter': lambda: generator(resample_filter=[1, 7, 21, 35, 35, 21, 7, 1]),
    'own classes': own_generator,
}


@pytest.mark.slow
@pytest.mark.filterwarnings('error:No complete tensor')
@pytest.mark.parametrize('name', NETWORKS)
def test_every_kind_of_network_is_computed_as_in_pytorch(name):
    """1 and 3 images, with and without truncation, as torch.export and as ONNX. `-s` shows the table."""
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    G = NETWORKS[name]()
    mode = 'none' if name == 'resnet' else 'const'
    programs = trace(G, mode)
    for kind in ('torch-export', 'onnx'):
        files = portable.make_files(programs, kind, {})
        found = portable.compare(G, *(portable.load(kind, files[each]) for each in portable.NAMES), mode)
        print(f'\n{name:22} {kind:12}', *(f'  {each.batch}: ws {each.ws:.1e}, image {each.image:.1e}' for each in found))
        assert [each.batch for each in found] == [1, 3]
        for each in found:
            assert each.ws <= PRECISION * max(each.largest_ws, 1) and each.image <= PRECISION * max(each.largest_image, 1)
            assert each.largest_image > 0.01


def test_torch_export_holds_no_names_of_this_machine():
    G = generator(2, mapping=FLOW)
    files = portable.make_files(trace(G, 'const'), 'torch-export', {})
    found = portable.compare(G, *(portable.load('torch-export', files[name]) for name in portable.NAMES), 'const')
    assert all(each.tolerable and each.image < PRECISION * each.largest_image for each in found)
    for data in files.values():
        with zipfile.ZipFile(io.BytesIO(data)) as z:
            assert not [name for name in z.namelist() if b'.py' in z.read(name) or str(__file__).encode() in z.read(name)]


def test_wrong_programs_are_noticed():
    G = generator(2)
    good = (lambda z, c, truncation_psi: G.mapping(z, c, float(truncation_psi)), lambda ws: G.synthesis(ws, noise_mode='const'))
    assert all(each.tolerable for each in portable.compare(G, *good, 'const'))
    first = good[0](**mapping_inputs(G, 1))[0, 0, 0]

    def fails_with_truncation(ws):
        return G.synthesis(ws, noise_mode='const') * (1 if ws[0, 0, 0] == first else torch.nan)

    for mapping, synthesis in ((lambda z, c, truncation_psi: G.mapping(z, c), good[1]),
                               (lambda z, c, truncation_psi: G.mapping(z, c.flip(1), float(truncation_psi)), good[1]),
                               (good[0], lambda ws: G.synthesis(ws, noise_mode='none')), (good[0], lambda ws: torch.zeros(1)),
                               (good[0], fails_with_truncation),
                               (good[0], lambda ws: G.synthesis(ws[:1].expand_as(ws), noise_mode='const'))):
        assert not all(each.tolerable for each in portable.compare(G, mapping, synthesis, 'const'))


@pytest.mark.parametrize('ws, image, tolerable', [(0, 0, True), (9e-4, 1.9e-3, True), (1.1e-3, 0, False), (0, 2.1e-3, False),
                                                  (0, float('inf'), False), (0, float('nan'), False)])
def test_a_quarter_of_a_grey_level_is_tolerable(ws, image, tolerable):
    assert Difference(1, ws, image, largest_ws=0.5, largest_image=2).tolerable is tolerable


def test_missing_packages_are_named_with_the_remedy(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name.startswith('onnx') else find(name))
    portable.check_packages('torch-export')
    with pytest.raises(UserError, match='needs onnx and onnxscript and onnxruntime; pip install onnx onnxscript onnxruntime'):
        portable.check_packages('onnx')
