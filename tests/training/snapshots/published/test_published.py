"""Published network pickles of PyTorch: what is in them is rebuilt by our classes, and draws what it should."""

import io
import os

import numpy as np
import pytest
import torch
from helpers.published_pickles import Published
from helpers.resuming import resume_networks

from dnnlib import UserError
from training.networks import Discriminator, Generator
from training.snapshots.file import NETWORKS, load_network_snapshot
from training.snapshots.published import stylegan2_ada


def from_golden(g, cls, **changes):
    net = cls(**{**g.meta['kwargs'], **changes}).eval()
    net.load_state_dict(g.state_dict, strict=True)
    return net


def write(path, data):
    path.write_bytes(data)
    return str(path)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def checked_images(golden, agrees):
    """check(G, name): ws, images and truncation of a generator against golden/<name>.npz."""
    def check(G, name):
        g = golden(name)
        c = g['c'] if G.c_dim else None
        agrees(G.mapping(g['z'], c), g['ws'])
        agrees(G.mapping(g['z'], c, truncation_psi=0.6, truncation_cutoff=3), g['ws_trunc'])
        for mode in ('const', 'none'):
            agrees(G.synthesis(g['ws'], noise_mode=mode), g[f'img_{mode}'])
        agrees(G(g['z'], c, noise_mode='const'), g['img_const'])
    return check


@pytest.fixture
def checked_logits(golden, agrees):
    def check(D, name):
        g = golden(name)
        agrees(D(g['img'], g['c'] if D.c_dim else None), g['logits'])
    return check


@pytest.mark.parametrize('g_name, d_name, protocol', [
    ('g_skip_uncond', 'd_resnet_uncond', 3), ('g_skip_cond', 'd_resnet_cond', 4), ('g_skip_cond', 'd_resnet_cond', 5),
    ('g_resnet', 'd_skip', 4), ('g_orig', 'd_orig', 3)])
def test_stylegan2_ada(tmp_path, golden, checked_images, checked_logits, g_name, d_name, protocol):
    G, D = from_golden(golden(g_name), Generator), from_golden(golden(d_name), Discriminator)
    marker = tmp_path / 'executed'
    program = Published(source=f'open({str(marker)!r}, "w")', numpy='numpy.core.multiarray' if protocol == 3 else
                        'numpy._core.multiarray')
    source = write(tmp_path / 'x.pkl', program.snapshot(G, D, G, protocol))
    loaded = load_network_snapshot(source)
    assert not marker.exists()
    checked_images(loaded.G_ema, g_name)
    checked_logits(loaded.D, d_name)
    assert all(same(loaded[name], net) for name, net in dict(G=G, D=D, G_ema=G).items())
    assert all(not m.training for name in NETWORKS for m in loaded[name].modules())
    assert not any(p.requires_grad for name in NETWORKS for p in loaded[name].parameters())
    assert (loaded.origin, loaded.cur_nimg, loaded.augment_pipe, loaded.augment_p) == ('StyleGAN2-ADA', None, None, None)
    assert loaded.training_set_kwargs['path'] == '/data/ffhq.zip'


def domain_generator(golden, mode, norm):
    """A generator whose mapping network is golden/mapping_<mode>_norm<norm>, and its synthesis network that of g_skip_cond."""
    m, g = golden(f'mapping_{mode}_norm{norm}'), golden('g_skip_cond')
    own = ('num_layers', 'cond_mode', 'i_dim', 'embed_features', 'flow_blocks', 'flow_dim', 'flow_norm')
    G = Generator(**{**g.meta['kwargs'], 'mapping_kwargs': {k: m.meta['kwargs'][k] for k in own}}).eval()
    G.mapping.load_state_dict(m.state_dict)
    G.synthesis.load_state_dict({k.removeprefix('synthesis.'): t for k, t in g.state_dict.items() if k.startswith('synthesis.')})
    return G


@pytest.mark.parametrize('mode, norm, dill, protocol, numpy', [
    ('flow', 0, '0.3.4', 3, 'numpy._core._multiarray_umath'), ('flow', 1, '0.3.4', 4, 'numpy.core.multiarray'),
    ('flow', 0, '0.3.6', 4, 'numpy.core.multiarray'), ('flow', 1, '0.4.1', 3, 'numpy._core.multiarray'),
    ('mlp', 0, '0.3.4', 4, 'numpy.core._multiarray_umath'), ('mlp', 1, '0.3.6', 3, 'numpy.core.multiarray'),
    ('flow', 0, '0.3.1.1', 3, 'numpy.core.multiarray'), ('flow', 0, '0.3.3', 2, 'numpy.core.multiarray'),
    ('flow', 0, '0.3.4', 3, 'numpy.core.multiarray'), ('flow', 1, '0.4.1', 2, 'numpy.core.multiarray'),
    ('flow', 1, '0.3.9', 5, 'numpy.core.multiarray'), ('mlp', 0, '0.3.1.1', 4, 'numpy.core.multiarray'),
    ('mlp', 1, '0.3.3', 2, 'numpy.core.multiarray'), ('mlp', 0, '0.4.1', 5, 'numpy._core.multiarray'),
    ('concat', 0, '0.3.6', 4, 'numpy.core.multiarray'), ('concat', 1, '0.3.4', 3, 'numpy.core.multiarray'),
    ('concat', 0, '0.3.1.1', 2, 'numpy.core.multiarray'), ('concat', 1, '0.4.1', 5, 'numpy._core.multiarray'),
    ('flow', 1, '0.3.1.1', 2, 'numpy.core.multiarray'), ('flow', 0, '0.3.1.1', 5, 'numpy.core.multiarray')])
def test_i_stylegan_and_cg_gan(tmp_path, golden, agrees, mode, norm, dill, protocol, numpy):
    G = domain_generator(golden, mode, norm)
    D = from_golden(golden('d_resnet_cond'), Discriminator)
    program = Published(dill=dill, numpy=numpy, more_attributes=('in_features', 'out_features', 'lr_multiplier', 'cond_mode'))
    loaded = load_network_snapshot(write(tmp_path / 'x.pkl', program.snapshot(G, D, G, protocol)))
    assert same(loaded.G_ema, G) and loaded.G_ema.mapping.cond_mode == mode
    origins = {'flow': 'i-StyleGAN/CG-GAN flow', 'mlp': 'i-StyleGAN mlp', 'concat': 'i-StyleGAN/CG-GAN concat'}
    assert loaded.origin == origins[mode]
    m, g = golden(f'mapping_{mode}_norm{norm}'), golden('g_skip_cond')
    agrees(loaded.G_ema.mapping(m['z'], m['c'])[:, :5], m['ws'])
    agrees(loaded.G_ema.synthesis(g['ws'], noise_mode='const'), g['img_const'])
    agrees(loaded.D(*(golden('d_resnet_cond')[k] for k in ('img', 'c'))), golden('d_resnet_cond')['logits'])


def test_clr_gan(tmp_path, golden, agrees, checked_images):
    D = from_golden(golden('clr_discriminator'), Discriminator)
    G = from_golden(golden('g_skip_uncond'), Generator)
    data = Published(source='return x, latent_code').snapshot(G, D, G)
    loaded = load_network_snapshot(write(tmp_path / 'x.pkl', data))
    g = golden('clr_discriminator')
    logits, latent = loaded.D(g['img'], None, return_latent=True)
    agrees(logits, g['logits'])
    agrees(latent, g['latent'])
    checked_images(loaded.G_ema, 'g_skip_uncond')
    assert loaded.origin == 'CLR-GAN'


# Arguments.

def small(**kwargs):
    kwargs = {**dict(z_dim=8, c_dim=0, w_dim=8, img_resolution=16, img_channels=3), **kwargs}
    return Generator(**{**kwargs, 'synthesis_kwargs': {'channel_base': 128, **kwargs.get('synthesis_kwargs', {})}}).eval()


def small_d(**kwargs):
    return Discriminator(**{**dict(c_dim=0, img_resolution=16, img_channels=3, channel_base=128), **kwargs}).eval()


def test_stylegan2_networks_of_stylegan3(tmp_path, golden, checked_images):
    g = golden('g_skip_uncond')
    synthesis_kwargs = dict(channel_base=256, channel_max=16, num_fp16_res=4, conv_clamp=256)
    G = Generator(**{**g.meta['kwargs'], 'synthesis_kwargs': synthesis_kwargs,
                     'mapping_kwargs': dict(num_layers=3, w_avg_beta=0.998)}).eval()
    G.load_state_dict(g.state_dict)
    kwargs = dict(z_dim=32, c_dim=0, w_dim=24, img_resolution=32, img_channels=3, mapping_kwargs=dict(num_layers=3),
                  channel_base=256, channel_max=16, fused_modconv_default='inference_only')
    D = small_d(num_fp16_res=4, conv_clamp=256)
    d_kwargs = {k: v for k, v in D.init_kwargs.items() if k not in ('num_fp16_res', 'conv_clamp')}
    data = Published().snapshot(G, D, G, G=kwargs, G_ema=kwargs, D=d_kwargs)
    loaded = load_network_snapshot(write(tmp_path / 'x.pkl', data))
    assert loaded.origin == 'StyleGAN2 of StyleGAN3'
    checked_images(loaded.G_ema, 'g_skip_uncond')
    assert loaded.G_ema.synthesis.b32.use_fp16 and not loaded.G_ema.synthesis.b4.use_fp16
    assert loaded.G_ema.synthesis.b32.conv1.conv_clamp == 256 and loaded.G_ema.mapping.w_avg_beta == 0.998
    assert loaded.D.b16.use_fp16 and loaded.D.b16.conv0.conv_clamp == 256


GENERATORS = {
    'skip': {}, 'conditional': dict(c_dim=3), 'resnet': dict(synthesis_kwargs=dict(architecture='resnet', channel_base=200)),
    'orig': dict(synthesis_kwargs=dict(architecture='orig', channel_max=16), mapping_kwargs=dict(num_layers=2)),
    'narrow': dict(synthesis_kwargs=dict(channel_base=64, channel_max=12), mapping_kwargs=dict(layer_features=5)),
    'half': dict(synthesis_kwargs=dict(num_fp16_res=1, conv_clamp=3)),
    'quiet': dict(synthesis_kwargs=dict(use_noise=False, activation='relu'), mapping_kwargs=dict(activation='relu')),
    'flow': dict(c_dim=3, mapping_kwargs=dict(cond_mode='flow', i_dim=4, flow_blocks=3, flow_dim=7, num_layers=2, flow_norm=0)),
    'shallow': dict(c_dim=2, mapping_kwargs=dict(cond_mode='flow', i_dim=8, flow_blocks=1, num_layers=1, embed_features=3)),
    'mlp': dict(c_dim=3, mapping_kwargs=dict(cond_mode='mlp', i_dim=2, num_layers=2)),
    'labelled': dict(c_dim=2, mapping_kwargs=dict(use_label=1, embed_features=5, num_layers=1)),
    'other label': dict(c_dim=2, mapping_kwargs=dict(use_label=1, label_dim=3, num_layers=1)),
    'fast': dict(mapping_kwargs=dict(lr_multiplier=0.5, w_avg_beta=0.9)),
    'grey': dict(img_channels=1, img_resolution=8),
}
DISCRIMINATORS = {
    'resnet': {}, 'conditional': dict(c_dim=3), 'skip': dict(architecture='skip', channel_max=16),
    'orig': dict(architecture='orig', c_dim=2, cmap_dim=5, mapping_kwargs=dict(num_layers=2, layer_features=6)),
    'groups': dict(epilogue_kwargs=dict(mbstd_group_size=2, mbstd_num_channels=4)),
    'batch': dict(epilogue_kwargs=dict(mbstd_group_size=None)), 'none': dict(epilogue_kwargs=dict(mbstd_num_channels=0)),
    'half': dict(num_fp16_res=1, conv_clamp=2), 'frozen': dict(block_kwargs=dict(freeze_layers=3)),
    'relu': dict(block_kwargs=dict(activation='relu'), epilogue_kwargs=dict(activation='relu')),
    'fast': dict(c_dim=2, mapping_kwargs=dict(num_layers=1, lr_multiplier=0.5)),
}


@pytest.mark.parametrize('say', [True, False])
@pytest.mark.parametrize('name', GENERATORS)
def test_a_generator_is_rebuilt_with_and_without_its_arguments(tmp_path, name, say):
    G = small(**GENERATORS[name])
    torch.nn.init.normal_(G.mapping.w_avg)
    program = Published(dill='0.3.6', more_attributes=('flow_norm', 'num_layers'))
    data = program.snapshot(G, None, G, **({} if say else {'G': {}, 'G_ema': {}}))
    loaded = load_network_snapshot(write(tmp_path / 'x.pkl', data), only=('G_ema',)).G_ema
    z, c = torch.randn(3, 8), torch.eye(3)[:, :G.c_dim]
    label = dict(label=torch.randn(3, G.mapping.label_dim)) if G.mapping.use_label else {}
    ws = G.mapping(z, c, truncation_psi=0.5, **label)
    assert same(loaded, G) and torch.equal(loaded.mapping(z, c, truncation_psi=0.5, **label), ws)
    images = [net.synthesis(ws, noise_mode='const') for net in (G, loaded)]
    assert torch.equal(*images)
    assert [b.use_fp16 for b in loaded.synthesis.children()] == [b.use_fp16 for b in G.synthesis.children()]
    assert loaded.mapping.w_avg_beta == G.mapping.w_avg_beta and loaded.z_dim == 8


@pytest.mark.parametrize('say', [True, False])
@pytest.mark.parametrize('name', DISCRIMINATORS)
def test_a_discriminator_is_rebuilt_with_and_without_its_arguments(tmp_path, name, say):
    D = small_d(**DISCRIMINATORS[name])
    data = Published().snapshot(None, D, None, **({} if say else {'D': {}}))
    loaded = load_network_snapshot(write(tmp_path / 'x.pkl', data), only=('D',)).D
    img, c = torch.randn(4, 3, 16, 16), torch.eye(4)[:, :D.c_dim]
    assert torch.equal(loaded(img, c), D(img, c))
    assert {k: v.tolist() for k, v in loaded.state_dict().items()} == {k: v.tolist() for k, v in D.state_dict().items()}
    assert loaded.b16.use_fp16 == D.b16.use_fp16


def test_arguments_that_are_passed_by_position_and_as_none(tmp_path):
    G = small(c_dim=2)
    program = Published()
    made = program.module(G, {'mapping_kwargs': dict(cond_mode='concat', i_dim=None, flow_blocks=None, flow_norm=None,
                                                     embed_features=None)})
    made.args[0]['state']['_init_args'] = (8, 2, 8, 16, 3)
    data = program.snapshot(None, None, made)
    assert same(load_network_snapshot(write(tmp_path / 'x.pkl', data), only=('G_ema',)).G_ema, G)


def test_half_precision_on_demand(tmp_path):
    G, D = small(), small_d()
    path = write(tmp_path / 'x.pkl', Published().snapshot(G, D, G))
    loaded = load_network_snapshot(path, force_fp16=True)
    assert loaded.G_ema.synthesis.b16.use_fp16 and loaded.D.b8.use_fp16 and loaded.D.b8.conv0.conv_clamp == 256
    assert same(loaded.G_ema, G) and same(loaded.D, D)
    assert not load_network_snapshot(path).G_ema.synthesis.b16.use_fp16


def test_weights_in_half_precision_and_channels_last(tmp_path):
    G = small()
    expected = small()
    expected.load_state_dict({k: t.half().float() for k, t in G.state_dict().items()})
    G = G.half()
    for name in ('conv0', 'conv1'):
        layer = getattr(G.synthesis.b16, name)
        layer.weight = torch.nn.Parameter(layer.weight.data.contiguous(memory_format=torch.channels_last))
        assert not layer.weight.is_contiguous()
    data = Published().snapshot(None, None, G)
    assert same(load_network_snapshot(write(tmp_path / 'x.pkl', data), only=('G_ema',)).G_ema, expected)


@pytest.mark.parametrize('name', ['plain', 'flow', 'mlp', 'labelled', 'other label'])
def test_what_is_exported_to_the_published_programs_comes_back(tmp_path, name):
    G = small(**{'c_dim': 2, **GENERATORS.get(name, {})})
    networks = dict(G=G, D=small_d(c_dim=G.c_dim), G_ema=G)
    file = io.BytesIO()
    stylegan2_ada.dump(networks, {'path': 'x'}, file)
    loaded = load_network_snapshot(write(tmp_path / 'x.pkl', file.getvalue()))
    assert all(same(loaded[name], net) for name, net in networks.items())
    assert loaded.G_ema.mapping.cond_mode == G.mapping.cond_mode and loaded.G_ema.mapping.flow_norm == G.mapping.flow_norm
    assert (loaded.origin, loaded.training_set_kwargs) == ('exported pickle of this project', {'path': 'x'})


# The rest of the file.

def test_augment_pipe(tmp_path):
    program = Published()
    data = program.snapshot(None, None, small(), augment_pipe=program.augment_pipe(0.375))
    loaded = load_network_snapshot(write(tmp_path / 'x.pkl', data), only=('G_ema',))
    assert (loaded.augment_p, loaded.augment_pipe.p.item(), loaded.augment_pipe.brightness) == (0.375, 0.375, 1)
    assert not loaded.augment_pipe.training
    damaged = program.augment_pipe(0.375)
    damaged.args[0]['state']['_init_kwargs'] = {'brightness': 1, 'unheard_of': 1}
    data = program.snapshot(None, None, small(), augment_pipe=damaged)
    with pytest.raises(UserError, match='AugmentPipe has the unknown argument unheard_of'):
        load_network_snapshot(write(tmp_path / 'x.pkl', data), only=('G_ema',))


def test_dataset_options_are_information_and_may_be_missing(tmp_path):
    for options, expected in [(None, None), ({'path': 'x', 'resolution': 8, 'odd': [[1]], 'net': Published().module(small())},
                                             {'path': 'x', 'resolution': 8})]:
        data = Published().snapshot(None, None, small(), training_set_kwargs=options)
        assert load_network_snapshot(write(tmp_path / 'x.pkl', data), only=('G_ema',)).training_set_kwargs == expected


def test_only_what_is_asked_for_needs_to_be_readable(tmp_path):
    source = write(tmp_path / 'x.pkl', Published().snapshot(None, small(), small()))
    assert set(load_network_snapshot(source, only=('G_ema',))) == {
        'G_ema', 'cur_nimg', 'training_set_kwargs', 'augment_pipe', 'augment_p', 'origin'}
    with pytest.raises(UserError, match='Generator in the place of a Discriminator'):
        load_network_snapshot(source, only=('D',))


@pytest.mark.parametrize('name, nimg', [('network-snapshot-000123.pkl', 123_000), ('ffhq.pkl', 0)])
def test_resuming_counts_from_the_name(tmp_path, name, nimg):
    G, D = small(), small_d()
    source = write(tmp_path / name, Published().snapshot(G, D, G))
    networks = dict(G=small(), D=small_d(), G_ema=small())
    assert resume_networks(source, networks) == nimg
    assert all(same(networks[key], net) for key, net in dict(G=G, D=D, G_ema=G).items())


# What is refused.

def refused(tmp_path, data, text):
    with pytest.raises(UserError) as caught:
        load_network_snapshot(write(tmp_path / 'bad.pkl', data), only=('G_ema',))
    message = str(caught.value)
    assert message.startswith(f'{tmp_path / "bad.pkl"}: ') and '\n' not in message and text in message, message
    assert os.listdir(tmp_path) == ['bad.pkl']


def with_state(module, **changes):
    made = Published().module(module, module.init_kwargs)
    made.args[0]['state'] |= changes
    return Published().snapshot(None, None, made)


def test_stylegan3_generators_are_named(tmp_path):
    program = Published()
    synthesis = program.persistent('SynthesisNetwork', {'_modules': {'input': program.persistent('SynthesisInput', {})}})
    mapping = program.persistent('MappingNetwork', {})
    parts = {'synthesis': synthesis, 'mapping': mapping}
    made = program.persistent('Generator', {'_init_kwargs': {'z_dim': 8}, '_modules': parts})
    refused(tmp_path, program.snapshot(None, None, made), 'StyleGAN3')


@pytest.mark.parametrize('kwargs, text', [
    ({'unheard_of': 1}, 'unknown argument unheard_of'), ({'mapping_kwargs': {'depth': 1}}, 'unknown argument depth'),
    ({'mapping_kwargs': [1]}, 'damaged'), ({'z_dim': 9}, 'mapping.fc0.weight'), ({'z_dim': 'eight'}, 'cannot be rebuilt'),
    ({'z_dim': 1 << 40}, 'no plain value'), ({'synthesis_kwargs': {'channel_base': 1 << 30}}, 'cannot be rebuilt'),
    ({'mapping_kwargs': {'num_layers': 1 << 30}}, 'more than the'),
    ({'synthesis_kwargs': {'resample_filter': [1] * 100}}, 'plain'),
    ({'synthesis_kwargs': {'activation': 'system'}}, 'cannot be rebuilt'), ({'img_resolution': 1 << 30}, 'more than the'),
    ({'c_dim': 1 << 30, 'mapping_kwargs': {'cond_mode': 'mlp'}}, 'more than the')])
def test_arguments_that_fit_nothing_are_named(tmp_path, kwargs, text):
    G = small(mapping_kwargs=dict(num_layers=2), synthesis_kwargs=dict(channel_base=128))
    refused(tmp_path, with_state(G, _init_kwargs={**G.init_kwargs, **kwargs}), text)


@pytest.mark.parametrize('changes', [dict(_modules={}), dict(_modules=None), dict(_modules={1: 2}), dict(_parameters={'x': 1}),
                                     dict(_init_args=[]), dict(_init_kwargs=None), dict(_buffers={'x': {}})], ids=str)
def test_damaged_states_are_named(tmp_path, changes):
    refused(tmp_path, with_state(small(), **changes), 'not a readable network snapshot')


def test_missing_and_unknown_tensors_are_named(tmp_path):
    G = small()
    del G.mapping.fc3.bias
    refused(tmp_path, Published().snapshot(None, None, G), 'lacks mapping.fc3.bias')
    G = small()
    G.mapping.register_buffer('other', torch.zeros(1))
    refused(tmp_path, Published().snapshot(None, None, G), 'unknown mapping.other')


def test_other_versions_are_refused(tmp_path):
    made = Published().module(small())
    made.args[0]['version'] = 7
    refused(tmp_path, Published().snapshot(None, None, made), 'version 7')


def test_damage_anywhere_ends_in_one_line(tmp_path):
    G = small(c_dim=2, w_dim=4, mapping_kwargs=dict(num_layers=1, cond_mode='flow'), synthesis_kwargs=dict(channel_base=32))
    data, rng = Published(dill='0.3.6').snapshot(None, None, G), np.random.RandomState(0)
    refusals = 0
    for i in range(300):
        damaged = bytearray(data[:len(data) * i // 300] if i % 3 == 0 else data)
        for place in rng.randint(len(data), size=i % 3):
            damaged[place:place + 1] = rng.bytes(rng.randint(3))
        try:
            load_network_snapshot(write(tmp_path / 'x.pkl', bytes(damaged)), only=('G_ema',))
        except UserError as err:
            assert '\n' not in str(err)
            refusals += 1
    assert refusals > 150
