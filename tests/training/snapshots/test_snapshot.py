"""Network snapshots: written whole, read without running code, resumed only where they fit."""

import os
import pickle

import pytest
import torch
from helpers.published_pickles import Global, Made, dumps
from helpers.resuming import resume_networks

from dnnlib import UserError
from torch_utils import persistence
from training.augmentation.pipe import AugmentPipe
from training.networks import Discriminator, Generator
from training.snapshots import file as snapshot_module
from training.snapshots.file import NETWORKS, load_network_snapshot, save_network_snapshot

DATA = {'class_name': 'training.dataset.ImageFolderDataset', 'path': 'some/data.zip', 'xflip': False, 'max_size': None}


def make_networks(seed=0, c_dim=2, resolution=8, channels=3, base=64, **d_kwargs):
    torch.manual_seed(seed)
    common = dict(c_dim=c_dim, img_resolution=resolution, img_channels=channels)
    g_kwargs = dict(z_dim=8, w_dim=8, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=dict(channel_base=base), **common)
    networks = {name: Generator(**g_kwargs) for name in ('G', 'G_ema')}
    networks['D'] = Discriminator(channel_base=base, mapping_kwargs=dict(num_layers=1), **common, **d_kwargs)
    torch.nn.init.normal_(networks['G_ema'].mapping.w_avg)
    return networks


def state(module):
    return {name: t.clone() for name, t in module.state_dict().items()}


def same(a, b):
    a, b = a.state_dict() if hasattr(a, 'state_dict') else a, b.state_dict()
    return list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """(path of a snapshot, the networks in it)."""
    path, networks = tmp_path_factory.mktemp('run') / 'network-snapshot-000012.pkl', make_networks()
    save_network_snapshot(path, networks, DATA, cur_nimg=12_345)
    return path, networks


def content(path):
    with open(path, 'rb') as f:
        return persistence.load(f)


def write(path, value):
    with open(path, 'wb') as f:
        persistence.dump(value, f)
    return str(path)


# Writing and reading.

def test_what_is_saved_is_loaded(saved):
    path, networks = saved
    for source in (str(path), path.as_uri()):
        loaded = load_network_snapshot(source)
        assert all(same(loaded[name], networks[name]) for name in NETWORKS)
        assert not same(loaded.G, loaded.G_ema)
        assert all(not m.training for name in NETWORKS for m in loaded[name].modules())
        assert not any(p.requires_grad for name in NETWORKS for p in loaded[name].parameters())
        assert (loaded.training_set_kwargs, loaded.cur_nimg) == (DATA, 12_345)
        assert loaded.G.init_kwargs == networks['G'].init_kwargs
    z, c = torch.randn(2, 8), torch.eye(2)
    expected = networks['G_ema'].eval()(z, c, truncation_psi=0.5, noise_mode='const')
    assert torch.equal(loaded.G_ema(z, c, truncation_psi=0.5, noise_mode='const'), expected)


def test_saving_leaves_the_networks_alone(tmp_path):
    networks = make_networks()
    before = {name: state(net) for name, net in networks.items()}
    networks['G'].train()
    save_network_snapshot(tmp_path / 'x.pkl', networks, DATA, 0)
    assert networks['G'].training and all(p.requires_grad for p in networks['G'].parameters())
    assert all(same(before[name], net) for name, net in networks.items())


def test_the_published_keys_are_in_the_file(saved):
    value = content(saved[0])
    assert list(value) == ['training_set_kwargs', 'G', 'D', 'G_ema', 'augment_pipe', 'progress']
    assert (value['augment_pipe'], value['G_ema']['class_name'], value['D']['class_name']) == (None, 'Generator', 'Discriminator')


def test_equal_networks_give_equal_files(saved, tmp_path):
    save_network_snapshot(tmp_path / 'again.pkl', make_networks(), DATA, 12_345)
    assert (tmp_path / 'again.pkl').read_bytes() == saved[0].read_bytes()
    loaded = load_network_snapshot(str(saved[0]))
    save_network_snapshot(tmp_path / 'loaded.pkl', loaded, loaded.training_set_kwargs, loaded.cur_nimg)
    assert (tmp_path / 'loaded.pkl').read_bytes() == saved[0].read_bytes()


def test_a_failure_keeps_the_older_snapshot(saved, tmp_path, monkeypatch):
    path = tmp_path / 'network-snapshot-000012.pkl'
    path.write_bytes(saved[0].read_bytes())

    def fail(value, file):
        file.write(b'half of it')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(snapshot_module.persistence, 'dump', fail)
    with pytest.raises(OSError):
        save_network_snapshot(path, saved[1], DATA, 12_346)
    assert os.listdir(tmp_path) == [path.name] and path.read_bytes() == saved[0].read_bytes()


def test_only_what_is_asked_for_is_built(saved):
    loaded = load_network_snapshot(str(saved[0]), only=('G_ema',))
    assert set(loaded) == {'G_ema', 'training_set_kwargs', 'cur_nimg', 'augment_pipe', 'augment_p', 'origin'}
    assert same(loaded.G_ema, saved[1]['G_ema'])


def test_a_discriminator_in_the_place_of_a_generator_is_refused(saved, tmp_path):
    path = write(tmp_path / 'x.pkl', {'G_ema': content(saved[0])['D']})
    with pytest.raises(UserError, match=r'x\.pkl.*Discriminator'):
        load_network_snapshot(path, only=('G_ema',))


def test_a_file_without_the_rest_serves_for_sampling(saved, tmp_path):
    path = write(tmp_path / 'x.pkl', {'G_ema': content(saved[0])['G_ema']})
    loaded = load_network_snapshot(path, only=('G_ema',))
    assert (loaded.training_set_kwargs, loaded.cur_nimg, loaded.origin) == (None, None, 'this project')
    with pytest.raises(UserError, match='it lacks networks'):
        load_network_snapshot(path)


# What is refused.

def refused(path, *texts, call=load_network_snapshot):
    with pytest.raises(UserError) as caught:
        call(str(path))
    message = str(caught.value)
    assert message.startswith(f'{path}: ') and '\n' not in message and caught.value.exit_status == 1
    assert all(text in message for text in texts), message


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / 'gone.pkl', 'no such file')
    refused(tmp_path, 'is a directory')


def test_a_damaged_file_is_named(saved, tmp_path):
    data, path = saved[0].read_bytes(), tmp_path / 'x.pkl'
    for damaged in (b'', b'hello', data[:1], data[:1000], data[:len(data) // 2], data[:-150], data[100:], data[::-1]):
        path.write_bytes(damaged)
        refused(path, 'not a readable network snapshot', 'it is damaged', 'pass a network-snapshot-*.pkl')


def test_names_of_published_pickles_are_of_no_use_in_a_record(saved, tmp_path):
    own = content(saved[0])
    for key, value in (('init_kwargs', {}), ('tensors', {})):
        record = {**own['G_ema'], key: Made(Global('dnnlib.util', 'EasyDict'), new=True, items=value)}
        (tmp_path / 'x.pkl').write_bytes(dumps({**own, 'G_ema': record}))
        refused(tmp_path / 'x.pkl', 'a dict in the place of a Generator',
                call=lambda path: load_network_snapshot(path, only=('G_ema',)))


def test_a_pickle_with_code_is_not_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'done'),)

    (tmp_path / 'x.pkl').write_bytes(pickle.dumps({'G': 1, 'D': 2, 'G_ema': Evil()}))
    refused(tmp_path / 'x.pkl', 'mkdir')
    assert not (tmp_path / 'done').exists()


@pytest.mark.parametrize('value', [None, [], 'text', {}, {'G': None, 'D': None, 'G_ema': None}, {'G': {}, 'D': {}, 'G_ema': {}}])
def test_a_pickle_of_something_else_is_named(tmp_path, value):
    refused(write(tmp_path / 'x.pkl', value), 'not a readable network snapshot')


@pytest.mark.parametrize('progress', [None, 5, {}, {'cur_nimg': 'many'}, {'cur_nimg': -1}, {'cur_nimg': None}, {'cur_nimg': 1.5}])
def test_damaged_progress_is_named(saved, tmp_path, progress):
    refused(write(tmp_path / 'x.pkl', {**content(saved[0]), 'progress': progress}), 'its progress is damaged')


def test_a_record_that_fits_no_class_is_named(saved, tmp_path):
    value = content(saved[0])
    value['G_ema']['init_kwargs']['synthesis_kwargs'] = {'activation': 'none such'}
    refused(write(tmp_path / 'x.pkl', value), 'its Generator cannot be rebuilt')


# Resuming.

def test_weights_are_copied_into_the_networks(saved):
    networks = make_networks(seed=1)
    assert not any(same(networks[name], saved[1][name]) for name in NETWORKS)
    assert resume_networks(str(saved[0]), networks) == 12_345
    assert all(same(networks[name], saved[1][name]) for name in NETWORKS)
    assert all(p.requires_grad for p in networks['G'].parameters())


@pytest.mark.parametrize('name, nimg', [('network-snapshot-000024.pkl', 24_000), ('best.pkl', 0)])
def test_a_file_without_progress_counts_by_its_name(saved, tmp_path, name, nimg):
    value = content(saved[0])
    del value['progress']
    assert resume_networks(write(tmp_path / name, value), make_networks()) == nimg


def test_the_augmentation_and_its_strength_are_kept(saved, tmp_path):
    pipe = AugmentPipe(xflip=1, brightness=0.5)
    pipe.p.fill_(0.25)
    save_network_snapshot(tmp_path / 'x.pkl', {**saved[1], 'augment_pipe': pipe}, DATA, 0)
    loaded = load_network_snapshot(str(tmp_path / 'x.pkl'), only=())
    assert loaded.augment_p == 0.25 and loaded.augment_pipe.brightness == 0.5 and same(loaded.augment_pipe, pipe)


def test_half_precision_on_demand(saved):
    loaded = load_network_snapshot(str(saved[0]), force_fp16=True)
    assert loaded.G.synthesis.b8.use_fp16 and loaded.D.b8.use_fp16 and loaded.D.b8.conv0.conv_clamp == 256
    assert same(loaded.G, saved[1]['G']) and not load_network_snapshot(str(saved[0])).G.synthesis.b8.use_fp16


def test_frozen_layers_take_the_weights_of_trained_ones(saved):
    networks = make_networks(seed=1, block_kwargs=dict(freeze_layers=2))
    assert len(list(networks['D'].parameters())) < len(list(saved[1]['D'].parameters()))
    resume_networks(str(saved[0]), networks)
    assert all(torch.equal(t, saved[1]['D'].state_dict()[k]) for k, t in networks['D'].state_dict().items())


@pytest.mark.parametrize('other, text', [(dict(base=32), 'in the source'), (dict(channels=1), 'in the source'),
                                         (dict(c_dim=3), 'labels of 3'), (dict(c_dim=0), 'has no labels')])
def test_networks_of_another_shape_are_named(saved, other, text):
    networks = make_networks(**other)
    before = state(networks['G'])
    refused(saved[0], 'does not fit this run', text, call=lambda path: resume_networks(path, networks))
    assert same(before, networks['G'])


def test_resuming_from_a_damaged_file_copies_nothing(saved, tmp_path):
    (tmp_path / 'x.pkl').write_bytes(saved[0].read_bytes()[:-200])
    networks = make_networks(seed=1)
    before = {name: state(net) for name, net in networks.items()}
    refused(tmp_path / 'x.pkl', 'damaged', call=lambda path: resume_networks(path, networks))
    assert all(same(before[name], net) for name, net in networks.items())


def test_what_matches_is_restored_and_what_is_new_is_named(saved, capsys):
    """From 8x8 to 16x16 pixels: the blocks of 16x16 are new, and D reads the image there."""
    networks = make_networks(seed=1, resolution=16)
    fresh = {name: state(net) for name, net in networks.items()}
    resume_networks(str(saved[0]), networks)
    for name in NETWORKS:
        old = saved[1][name].state_dict()
        for key, t in networks[name].state_dict().items():
            assert torch.equal(t, old[key] if key in old else fresh[name][key]), f'{name}.{key}'
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(':')[0] for line in lines[1:]] == list(NETWORKS)
    assert 'synthesis.b16.' in lines[1] and 'not used' not in lines[1]
    assert 'new: b16.' in lines[2] and 'not used: b8.fromrgb.' in lines[2]


def test_networks_with_nothing_in_common_are_refused(saved, tmp_path):
    networks = make_networks()
    networks['D'] = torch.nn.Linear(3, 4)
    refused(saved[0], 'its D has nothing in common', call=lambda path: resume_networks(path, networks))


def test_a_file_with_a_changed_byte_is_refused_by_its_checksum(saved, tmp_path):
    """In the middle of the weights, where the pickle stays readable."""
    data = bytearray(saved[0].read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / 'x.pkl').write_bytes(data)
    refused(tmp_path / 'x.pkl', 'its checksum does not fit')


def test_the_augmentation_pipe_is_kept(saved, tmp_path):
    pipe = AugmentPipe(xflip=1, scale=1)
    pipe.p.fill_(0.3)
    save_network_snapshot(tmp_path / 'x.pkl', {**saved[1], 'augment_pipe': pipe}, DATA, 0)
    loaded = load_network_snapshot(str(tmp_path / 'x.pkl'))
    assert loaded.augment_p == float(pipe.p) and same(loaded.augment_pipe, pipe)
    assert (loaded.augment_pipe.scale, loaded.augment_pipe.rotate) == (1, 0)


@pytest.mark.parametrize('where, error', [('_read', MemoryError('none left')), ('_own', NameError('a bug')),
                                          ('_own', torch.cuda.OutOfMemoryError('none left')), ('_own', TypeError('a bug'))])
def test_trouble_that_is_not_of_the_file_keeps_its_name(saved, monkeypatch, where, error):
    def fail(*_):
        raise error
    monkeypatch.setattr(snapshot_module, where, fail)
    with pytest.raises(type(error), match=str(error)):
        load_network_snapshot(str(saved[0]))
