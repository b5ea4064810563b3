"""Exported generators: what they hold, that they load as they were, and what is refused."""

import http.server
import json
import threading
from functools import partial

import pytest
import safetensors
import safetensors.torch
import torch
from helpers.resuming import resume_networks

from dnnlib import UserError
from training.networks import Generator
from training.snapshots.file import load_network_snapshot
from training.snapshots.hub import is_export, load_export, make_config, public_data_kwargs, weights

DATA = {'class_name': 'training.dataset.ImageFolderDataset', 'path': '/home/me/secret/data.zip', 'xflip': False, 'max_size': 7,
        'use_labels': True, 'resolution': 16, 'other': '/home/me'}


def make_generator(**synthesis):
    torch.manual_seed(0)
    mapping = dict(num_layers=2, cond_mode='flow', i_dim=3, flow_norm=True)
    G = Generator(z_dim=8, c_dim=2, w_dim=8, img_resolution=16, img_channels=3, mapping_kwargs=mapping,
                  synthesis_kwargs=dict(channel_base=64, resample_filter=(1, 2, 1), **synthesis)).eval()
    torch.nn.init.normal_(G.mapping.w_avg)
    return G


def write(folder, G, **changes):
    folder.mkdir(exist_ok=True)
    (folder / 'model.safetensors').write_bytes(weights(G))
    (folder / 'config.json').write_text(json.dumps({**make_config(G, 12_345, DATA, method='flow'), **changes}))
    return folder


@pytest.fixture
def made(tmp_path):
    """(folder, generator)."""
    G = make_generator(num_fp16_res=2, fp16_channels_last=True)
    return write(tmp_path / 'faces', G), G


def same(G, loaded):
    a, b = G.state_dict(), loaded.state_dict()
    return list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)


def test_the_generator_is_the_same(made):
    folder, G = made
    names = [folder, folder / 'config.json', folder / 'model.safetensors']
    for source in (*map(str, names), *(name.as_uri() for name in names)):
        loaded = load_network_snapshot(source, only=('G_ema',))
        assert is_export(source) and same(G, loaded.G_ema) and loaded.cur_nimg == 12_345
        assert not loaded.G_ema.training and not any(p.requires_grad for p in loaded.G_ema.parameters())
    z, c = torch.randn(2, 8), torch.eye(2)
    with torch.no_grad():
        images = [net(z, c, truncation_psi=0.5, noise_mode='const') for net in (G, loaded.G_ema)]
    assert torch.equal(*images)


def test_it_loads_from_a_server(made, tmp_path, monkeypatch):
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, 'log_message', lambda *args: None)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01)).start()
        try:
            for name in ('model.safetensors', 'config.json?download=true'):
                source = f'http://127.0.0.1:{server.server_port}/faces/{name}'
                assert same(made[1], load_network_snapshot(source, only=('G_ema',)).G_ema)
        finally:
            server.shutdown()


def test_what_is_no_export_is_left_alone(tmp_path):
    (tmp_path / 'network.pkl').touch()
    for source in (tmp_path, tmp_path / 'network.pkl', 'gone', 'https://x/network.pkl', 'https://x/config.json/network.pkl'):
        assert not is_export(source)


def test_other_tools_can_read_the_weights(made):
    with safetensors.safe_open(made[0] / 'model.safetensors', 'pt') as f:
        assert f.metadata() == {'format': 'pt'}
        assert sorted(f.keys()) == sorted(made[1].state_dict())


def test_nothing_of_this_machine_is_told(made):
    assert 'secret' not in (made[0] / 'config.json').read_text() and '/home' not in (made[0] / 'config.json').read_text()
    assert load_export(str(made[0]), ('G_ema',)).training_set_kwargs == public_data_kwargs(DATA) == {
        'class_name': 'training.dataset.ImageFolderDataset', 'path': 'data.zip', 'xflip': False, 'max_size': 7,
        'use_labels': True, 'resolution': 16}
    assert public_data_kwargs({'path': 'C:\\Users\\me\\data'}) == {'path': 'data'} and public_data_kwargs(None) is None


@pytest.mark.parametrize('source', ['', 'config.json'])
def test_other_networks_are_not_in_it(made, source):
    path = str(made[0] / source)
    for only, text in ((('G_ema', 'D'), 'without D;'), (('G',), 'without G;')):
        with pytest.raises(UserError, match='is G_ema alone') as caught:
            load_network_snapshot(path, only=only)
        assert text in str(caught.value) and str(caught.value).startswith(f'{path}: ')
    with pytest.raises(UserError, match='without G and D'):
        resume_networks(path, {})


def refused(folder, text):
    with pytest.raises(UserError) as caught:
        load_network_snapshot(str(folder), only=('G_ema',))
    assert text in str(caught.value) and str(folder) in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors'])
def test_a_missing_file_is_named(made, name):
    (made[0] / name).unlink()
    refused(made[0], f'{name}: no such file')


@pytest.mark.parametrize('damage', [lambda data: b'', lambda data: data[:-1], lambda data: data[:5],
                                    lambda data: b'\xff' * 8 + data, lambda data: data + b'x'])
@pytest.mark.parametrize('name, text', [('config.json', 'config.json is not valid JSON'),
                                        ('model.safetensors', 'not a readable')])
def test_a_damaged_file_is_named(made, name, text, damage):
    path = made[0] / name
    if name == 'config.json':
        path.write_text(path.read_text().strip())
    path.write_bytes(damage(path.read_bytes()))
    refused(made[0], text)


@pytest.mark.parametrize('changes, text', [
    (dict(format='something'), 'is that of something else'),
    (dict(format_version=2), 'is of version 2'),
    (dict(cur_nimg=-1), 'lacks cur_nimg'), (dict(cur_nimg='1'), 'lacks cur_nimg'), (dict(cur_nimg=True), 'lacks cur_nimg'),
    (dict(class_name='os.system'), 'its G_ema is of class os.system; add --classes='),
    (dict(class_name=['x']), 'unknown or damaged'),
    (dict(init_kwargs=None), 'unknown or damaged'), (dict(init_kwargs={}), 'cannot be rebuilt'),
    (dict(init_kwargs={'z_dim': 'x'}), 'cannot be rebuilt'),
])
def test_a_wrong_config_is_refused(tmp_path, changes, text):
    refused(write(tmp_path / 'x', make_generator(), **changes), text)


@pytest.mark.parametrize('name, kwargs', [
    ('synthesis_kwargs', dict(channel_base=2 ** 20, channel_max=2 ** 20)), ('img_resolution', 2 ** 40), ('z_dim', 10 ** 15),
    ('mapping_kwargs', dict(num_layers=10 ** 6)), ('mapping_kwargs', dict(num_layers=10 ** 9)),
    ('mapping_kwargs', dict(cond_mode='flow', flow_blocks=10 ** 9, i_dim=1)), ('z_dim', float('inf')), ('z_dim', float('nan')),
    ('mapping_kwargs', dict(cond_mode='flow', flow_blocks=10 ** 6, i_dim=1))])
def test_a_config_that_asks_for_a_huge_network_takes_no_memory(tmp_path, name, kwargs):
    G = make_generator()
    refused(write(tmp_path / 'x', G, init_kwargs={**G.init_kwargs, name: kwargs}), 'cannot be rebuilt')


@pytest.mark.parametrize('change, text', [
    (lambda s: s.pop('mapping.w_avg'), 'lacks mapping.w_avg'),
    (lambda s: s.update(extra=torch.zeros(1)), 'has unknown extra'),
    (lambda s: s.update({'mapping.w_avg': torch.zeros(9)}), 'mapping.w_avg is torch.float32 [9] instead of torch.float32 [8]'),
    (lambda s: s.update({'mapping.w_avg': torch.zeros(8).double()}), 'mapping.w_avg is torch.float64'),
])
def test_weights_that_do_not_fit_are_refused(made, change, text):
    state = {k: t.contiguous() for k, t in made[1].state_dict().items()}
    change(state)
    safetensors.torch.save_file(state, made[0] / 'model.safetensors')
    refused(made[0], text)
