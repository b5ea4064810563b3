"""Pickles for the published programs, opened by a stand-in for them (published_reader/README.md)."""

import io
import json
import os
import pickletools
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.networks import Discriminator, Generator
from training.snapshots.published import stylegan2_ada

READER = Path(__file__).parent / 'published_reader'
DATA = {'class_name': 'training.dataset.ImageFolderDataset', 'path': 'data.zip', 'xflip': False, 'max_size': None}


def make_networks(c_dim=0, g_arch='skip', d_arch='resnet', clamp=None, channels=3, fp16=0, d_kwargs=(), **mapping):
    torch.manual_seed(0)
    common = dict(c_dim=c_dim, img_resolution=16, img_channels=channels)
    width = dict(channel_base=128, channel_max=16, conv_clamp=clamp)
    G, G_ema = (Generator(z_dim=8, w_dim=8, mapping_kwargs=dict(num_layers=2, **mapping),
                          synthesis_kwargs=dict(**width, architecture=g_arch, num_fp16_res=fp16), **common) for _ in range(2))
    D = Discriminator(**width, architecture=d_arch, num_fp16_res=fp16,
                      **{'epilogue_kwargs': dict(mbstd_group_size=2), **dict(d_kwargs)}, **common)
    for net in (G, D, G_ema):
        for name, t in net.state_dict().items():
            if name.endswith(('bias', 'noise_strength', 'w_avg')):  # what is zero at first would hide mistakes
                t.normal_()
            if name.endswith('importance'):
                t.copy_(torch.linspace(-0.1, 1, t.shape[1])[None])  # some coordinates are not moved
    return {'G': G.eval(), 'D': D.eval(), 'G_ema': G_ema.eval()}


def pickled(networks, data=None):
    file = io.BytesIO()
    stylegan2_ada.dump(networks, data, file)
    return file.getvalue()


CASES = {
    'plain': dict(),
    'skip': dict(c_dim=3, d_arch='skip', clamp=2.0),
    'resnet': dict(c_dim=3, g_arch='resnet', cond_mode='concat', embed_features=4, fp16=2,
                   d_kwargs=dict(block_kwargs=dict(freeze_layers=2))),
    'orig': dict(g_arch='orig', d_arch='orig', cond_mode='flow', i_dim=3, flow_norm=1, channels=1,
                 d_kwargs=dict(epilogue_kwargs=dict(mbstd_num_channels=0), block_kwargs=None)),
    'flow': dict(c_dim=3, cond_mode='flow', i_dim=5, flow_blocks=3, flow_dim=4, fp16=1),
    'free': dict(c_dim=2, cond_mode='flow', i_dim=8, flow_norm=0, g_arch='resnet', d_arch='skip', channels=1),
    'mlp': dict(c_dim=3, cond_mode='mlp', i_dim=4, g_arch='orig', d_arch='orig'),
    'labelled': dict(c_dim=2, cond_mode='flow', i_dim=4, use_label=1, label_dim=6),
    'two labels': dict(c_dim=2, use_label=True, g_arch='orig'),
}


@pytest.fixture(scope='module')
def opened(tmp_path_factory):
    """For each case: (networks, inputs, what the stand-in makes of them)."""
    folder, cases = tmp_path_factory.mktemp('pickles'), {}
    for case, options in CASES.items():
        networks = make_networks(**options)
        G = networks['G']
        (folder / f'{case}.pkl').write_bytes(pickled(networks, None if case == 'orig' else DATA))
        inputs = {'z': torch.randn(4, 8), 'c': torch.eye(3)[[0, 1, 1, 0], :G.c_dim],
                  'images': torch.randn(4, G.img_channels, 16, 16), 'label': torch.randn(4, G.mapping.label_dim)}
        torch.save(inputs, folder / f'{case}.inputs')
        cases[case] = networks, inputs
    # As many threads as here: only then are sums of the same order.
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | {'OMP_NUM_THREADS': str(torch.get_num_threads())}
    subprocess.run([sys.executable, READER / 'main.py', folder], cwd=folder, env=env, check=True, timeout=120)
    return {case: (*made, torch.load(folder / f'{case}.results')) for case, made in cases.items()}


def equal(results, **expected):
    for name, value in expected.items():
        assert torch.equal(results[name], value), name


PLAIN = [case for case, options in CASES.items() if 'use_label' not in options]


@torch.no_grad()
@pytest.mark.parametrize('case', PLAIN)
def test_programs_of_stylegan2_ada(case, opened, agrees):
    networks, x, results = opened[case]
    G = networks['G_ema']
    ws = G.mapping(x['z'], x['c'], truncation_psi=0.5, truncation_cutoff=8)
    equal(results, images=G(x['z'], x['c'], noise_mode='const'), truncated=G.synthesis(ws, noise_mode='const', force_fp32=True),
          one=G(x['z'][:1], x['c'][:1], truncation_psi=0.5, truncation_cutoff=8, noise_mode='none'),
          logits=networks['D'](x['images'], x['c']))
    kwargs = {**G.init_kwargs, 'synthesis_kwargs': {**G.init_kwargs['synthesis_kwargs'], 'num_fp16_res': 4, 'conv_clamp': 256}}
    clamped = Generator(**kwargs).eval()
    clamped.load_state_dict(G.state_dict())
    equal(results, rebuilt=clamped(x['z'], x['c'], noise_mode='const'), again=clamped(x['z'], x['c'], noise_mode='const'))
    assert results['facts'] == {'G': [8, G.c_dim, 8, 16, G.img_channels, 6], 'ws': [4, 6, 8], 'w_avg': [8], 'blocks': [4, 8, 16]}


@pytest.mark.parametrize('case', PLAIN)
def test_gradients_of_the_projector(case, opened, agrees):
    G = opened[case][0]['G_ema']
    w = G.mapping.w_avg.clone().repeat(1, 6, 1).requires_grad_()
    noise = [buffer.requires_grad_() for name, buffer in G.synthesis.named_buffers() if 'noise_const' in name]
    slopes = torch.autograd.grad(G.synthesis(w, noise_mode='const').square().sum(), [w, *noise])
    for buffer in noise:
        buffer.requires_grad_(False)
    agrees(opened[case][2]['slopes'], torch.stack([g.abs().sum() for g in slopes]), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize('case', CASES)
def test_programs_of_i_stylegan_and_cg_gan(case, opened):
    networks, x, results = opened[case]
    G = networks['G_ema']
    M = G.mapping
    assert results['mode'] == [M.cond_mode, M.use_label, M.i_dim, M.flow_norm]
    label = x['label'] if M.use_label else None
    equal(results, labelled=G.synthesis(M(x['z'], x['c'], label=label), noise_mode='const'))
    assert ('sparsity' in results) == (M.cond_mode != 'concat')
    if M.cond_mode != 'concat':
        alive = M.style_mask()
        equal(results, ws=M(x['z'], x['c'], label=label), sparsity=M.importance.abs().mean(), importance=M.importance,
              masks=torch.stack([alive, ~alive]), influence=M.importance * (M.importance > 0.1))
        assert M.i_dim > alive.sum() > 0


@torch.no_grad()
@pytest.mark.parametrize('case', CASES)
def test_programs_of_stylegan3(case, opened):
    networks, x, results = opened[case]
    G = networks['G_ema']
    ws = G.mapping(x['z'], x['c'], label=x['label'] if G.mapping.use_label else None)
    equal(results, ws3=ws, images3=G.synthesis(ws, noise_mode='const'), logits3=networks['D'](x['images'], x['c']))


@pytest.mark.parametrize('case', CASES)
def test_tensors_and_options_arrive(case, opened):
    networks, _, results = opened[case]
    for name, net in networks.items():
        expected = net.state_dict()
        assert list(results[f'{name}.state']) == list(expected)
        assert all(torch.equal(t, expected[k]) for k, t in results[f'{name}.state'].items())
    assert results['data'] == repr(None if case == 'orig' else DATA)


def test_constructor_arguments_are_those_of_the_published_classes(opened):
    results = opened['orig'][2]
    width = {'channel_base': 128, 'channel_max': 16, 'conv_clamp': None, 'architecture': 'orig'}
    assert json.loads(results['G.kwargs']) == {
        'z_dim': ['int', 8], 'c_dim': ['int', 0], 'w_dim': ['int', 8], 'img_resolution': ['int', 16], 'img_channels': ['int', 1],
        'mapping_kwargs': ['EasyDict', {'num_layers': 2}], 'synthesis_kwargs': ['EasyDict', {**width, 'num_fp16_res': 0}]}
    assert json.loads(results['D.kwargs']) == {
        'c_dim': ['int', 0], 'img_resolution': ['int', 16], 'img_channels': ['int', 1], 'channel_base': ['int', 128],
        'channel_max': ['int', 16], 'conv_clamp': ['NoneType', None], 'architecture': ['str', 'orig'], 'num_fp16_res': ['int', 0],
        'epilogue_kwargs': ['EasyDict', {'mbstd_num_channels': 0}]}
    kwargs = json.loads(opened['flow'][2]['G.kwargs'])['mapping_kwargs'][1]
    assert kwargs == {'num_layers': 2, 'cond_mode': 'flow', 'i_dim': 5, 'flow_blocks': 3, 'flow_dim': 4}


@pytest.mark.parametrize('mode', ['concat', 'flow'])
def test_only_published_names_are_in_it(mode):
    asked, strings = set(), []
    for op, arg, _ in pickletools.genops(pickled(make_networks(c_dim=3, cond_mode=mode), DATA)):
        if 'UNICODE' in op.name:
            strings.append(arg)
        assert op.name not in ('GLOBAL', 'INST', 'OBJ', 'PERSID', 'BINPERSID', 'EXT1')
        assert op.name != 'BUILD' or mode == 'flow'
        if op.name == 'STACK_GLOBAL':
            asked.add('.'.join(strings[-2:]))
    published = {'torch_utils.persistence._reconstruct_persistent_obj', 'collections.OrderedDict', 'dnnlib.util.EasyDict',
                 'torch._utils._rebuild_parameter', 'torch._utils._rebuild_tensor_v2', 'torch.storage._load_from_bytes'}
    published |= {'torch.nn.modules.container.Sequential'} if mode == 'flow' else set()
    # A name of which a part was used before takes it from the memo: then only the other part is here.
    assert len(asked) == len(published) and all(name in published or name.partition('.')[2] in str(published) for name in asked)


def test_equal_networks_give_equal_files():
    assert pickled(make_networks()) == pickled(make_networks())


def test_a_storage_is_one_that_torch_reads():
    t = torch.randn(3, 5)
    storage = torch.load(io.BytesIO(stylegan2_ada._storage(t)), weights_only=True)
    assert torch.equal(torch.tensor([]).set_(storage, 0, (3, 5)), t)


class Wider(Generator):
    """A network that is not in the text."""


def test_networks_of_other_classes_are_refused():
    networks = make_networks()
    stylegan2_ada.check(networks)
    for name in networks:
        with pytest.raises(stylegan2_ada.UnknownToPublished, match=f'its {name} is a Wider of your own'):
            stylegan2_ada.check({**networks, name: Wider(**networks['G'].init_kwargs)})
    networks['D'].b8.conv0 = torch.nn.Conv2d(16, 16, 3)
    with pytest.raises(stylegan2_ada.UnknownToPublished, match='Conv2d'):
        pickled(networks)
