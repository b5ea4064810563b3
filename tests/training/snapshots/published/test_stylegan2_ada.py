"""Pickles for the published StyleGAN2-ADA code, opened by a stand-in for it (published_reader/README.md)."""

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


def make_networks(c_dim=0, g_arch='skip', d_arch='resnet', clamp=None, d_kwargs=(), **mapping):
    torch.manual_seed(0)
    common = dict(c_dim=c_dim, img_resolution=16, img_channels=3)
    width = dict(channel_base=128, channel_max=16, conv_clamp=clamp)
    G, G_ema = (Generator(z_dim=8, w_dim=8, mapping_kwargs=dict(num_layers=2, **mapping),
                          synthesis_kwargs=dict(**width, architecture=g_arch, num_fp16_res=0), **common) for _ in range(2))
    D = Discriminator(**width, architecture=d_arch, **{'epilogue_kwargs': dict(mbstd_group_size=2), **dict(d_kwargs)}, **common)
    for net in (G, D, G_ema):
        for name, t in net.state_dict().items():
            if name.endswith(('bias', 'noise_strength', 'w_avg')):  # what is zero at first would hide mistakes
                t.normal_()
    return {'G': G.eval(), 'D': D.eval(), 'G_ema': G_ema.eval()}


def pickled(networks, data=None):
    file = io.BytesIO()
    stylegan2_ada.dump(networks, data, file)
    return file.getvalue()


CASES = {
    'plain': dict(),
    'skip': dict(c_dim=3, d_arch='skip', clamp=2.0),
    'resnet': dict(c_dim=3, g_arch='resnet', cond_mode='concat', embed_features=4,
                   d_kwargs=dict(block_kwargs=dict(freeze_layers=2))),
    'orig': dict(g_arch='orig', d_arch='orig', cond_mode='flow', i_dim=3, flow_norm=1,
                 d_kwargs=dict(epilogue_kwargs=dict(mbstd_num_channels=0), block_kwargs=None)),
}


@pytest.fixture(scope='module')
def opened(tmp_path_factory):
    """For each case: (networks, inputs, what the stand-in makes of them)."""
    folder, cases = tmp_path_factory.mktemp('pickles'), {}
    for case, options in CASES.items():
        networks = make_networks(**options)
        (folder / f'{case}.pkl').write_bytes(pickled(networks, None if case == 'orig' else DATA))
        labels = torch.eye(3)[[0, 1, 2, 0]] if networks['G'].c_dim else torch.zeros(4, 0)
        inputs = {'z': torch.randn(4, 8), 'c': labels, 'images': torch.randn(4, 3, 16, 16)}
        torch.save(inputs, folder / f'{case}.inputs')
        cases[case] = networks, inputs
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | {'OMP_NUM_THREADS': '1'}
    subprocess.run([sys.executable, READER / 'main.py', folder], cwd=folder, env=env, check=True, timeout=120)
    return {case: (*made, torch.load(folder / f'{case}.results')) for case, made in cases.items()}


@pytest.mark.parametrize('case', CASES)
def test_the_reader_renders_the_same_images(case, opened, agrees):
    networks, inputs, results = opened[case]
    G, D = networks['G_ema'], networks['D']
    with torch.no_grad():
        agrees(results['G_ema'], G(inputs['z'], inputs['c'], noise_mode='const'), 1e-5)
        agrees(results['truncated'], G(inputs['z'], inputs['c'], truncation_psi=0.5, noise_mode='const'), 1e-5)
        agrees(results['D'], D(inputs['images'], inputs['c']), 1e-5)
    for name, net in networks.items():
        expected = net.state_dict()
        assert set(results[f'{name}.state']) == set(expected)
        assert all(torch.equal(t, expected[k]) for k, t in results[f'{name}.state'].items())
    assert results['sources'] == [stylegan2_ada.MODULE_SRC] and stylegan2_ada.MODULE_SRC.count('\n') == 1
    assert results['data'] == repr(None if case == 'orig' else DATA)


def test_constructor_arguments_are_those_of_the_published_classes(opened):
    results = opened['orig'][2]
    width = {'channel_base': 128, 'channel_max': 16, 'conv_clamp': None, 'architecture': 'orig'}
    assert json.loads(results['G.kwargs']) == {
        'z_dim': ['int', 8], 'c_dim': ['int', 0], 'w_dim': ['int', 8], 'img_resolution': ['int', 16], 'img_channels': ['int', 3],
        'mapping_kwargs': ['EasyDict', {'num_layers': 2}], 'synthesis_kwargs': ['EasyDict', {**width, 'num_fp16_res': 0}]}
    assert json.loads(results['D.kwargs']) == {
        'c_dim': ['int', 0], 'img_resolution': ['int', 16], 'img_channels': ['int', 3], 'channel_base': ['int', 128],
        'channel_max': ['int', 16], 'conv_clamp': ['NoneType', None], 'architecture': ['str', 'orig'],
        'epilogue_kwargs': ['EasyDict', {'mbstd_num_channels': 0}]}


def test_only_published_names_are_in_it():
    asked, strings = set(), []
    for op, arg, _ in pickletools.genops(pickled(make_networks(c_dim=3), DATA)):
        if 'UNICODE' in op.name:
            strings.append(arg)
        assert op.name not in ('GLOBAL', 'INST', 'OBJ', 'BUILD', 'PERSID', 'BINPERSID', 'EXT1')
        if op.name == 'STACK_GLOBAL':
            asked.add('.'.join(strings[-2:]))
    published = {'torch_utils.persistence._reconstruct_persistent_obj', 'collections.OrderedDict', 'dnnlib.util.EasyDict',
                 'torch._utils._rebuild_parameter', 'torch._utils._rebuild_tensor_v2', 'torch.storage._load_from_bytes'}
    # A name of which a part was used before takes it from the memo: then only the other part is here.
    assert len(asked) == len(published) and all(name in published or name.partition('.')[2] in str(published) for name in asked)


def test_equal_networks_give_equal_files():
    assert pickled(make_networks()) == pickled(make_networks())


def test_a_storage_is_one_that_torch_reads():
    t = torch.randn(3, 5)
    storage = torch.load(io.BytesIO(stylegan2_ada._storage(t)), weights_only=True)
    assert torch.equal(torch.tensor([]).set_(storage, 0, (3, 5)), t)


@pytest.mark.parametrize('mapping, text', [(dict(cond_mode='flow'), 'has --cond-mode=flow'),
                                           (dict(cond_mode='mlp'), 'has --cond-mode=mlp'),
                                           (dict(use_label=1), 'takes a second label')])
def test_what_the_published_code_has_no_layers_for_is_refused(mapping, text):
    with pytest.raises(stylegan2_ada.UnknownToPublished, match=text):
        pickled(make_networks(c_dim=3, **mapping))
