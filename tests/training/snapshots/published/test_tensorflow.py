"""TensorFlow's pickles of StyleGAN2 and StyleGAN2-ADA: converted networks draw what the recorded ones drew."""

import numpy as np
import pytest
import torch
from helpers.published_pickles import Made, dumps, tf_array, tf_network
from helpers.resuming import resume_networks

from dnnlib import UserError
from training.networks import Discriminator, Generator
from training.snapshots.file import load_network_snapshot


def to_tf(w, flip=False):
    """A weight of ours in TensorFlow's axes."""
    w = w.numpy()
    if w.ndim == 2:
        return w.T
    w = w.transpose(2, 3, 1, 0)
    return w[::-1, ::-1] if flip else w


def layer(prefix, state, name, flip=False, affine=False):
    """The variables of one layer of ours. affine: it is modulated."""
    found = {f'{prefix}/weight': to_tf(state[f'{name}.weight'], flip)}
    if f'{name}.bias' in state:
        found[f'{prefix}/bias'] = state[f'{name}.bias'].numpy()
    if affine:
        found[f'{prefix}/mod_weight'] = to_tf(state[f'{name}.affine.weight'])
        found[f'{prefix}/mod_bias'] = state[f'{name}.affine.bias'].numpy() - 1
    if f'{name}.noise_strength' in state:
        found[f'{prefix}/noise_strength'] = state[f'{name}.noise_strength'].numpy()
    return found


def dense(prefix, state, name, found):
    i = 0
    while f'{name}{i}.weight' in state:
        found |= layer(f'{prefix}{i}', state, f'{name}{i}')
        i += 1
    if 'mapping.embed.weight' in state:
        found |= layer('LabelEmbed', state, 'mapping.embed')
    return found


def tf_generator(state, static_kwargs, version=5):
    """The network Gs (or G) with the weights of a generator's state dict of ours."""
    synthesis, noise = {'4x4/Const/const': state['synthesis.b4.const'].numpy()[None], 'lod': np.float32(0)}, 0
    for r in (4, 8, 16, 32):
        ours, theirs = f'synthesis.b{r}', f'{r}x{r}'
        for name, their_name in [('conv0', 'Conv0_up'), ('conv1', 'Conv' if r == 4 else 'Conv1')]:
            if f'{ours}.{name}.weight' in state:
                synthesis |= layer(f'{theirs}/{their_name}', state, f'{ours}.{name}', flip=name == 'conv0', affine=True)
                synthesis[f'noise{noise}'] = state[f'{ours}.{name}.noise_const'].numpy()[None, None]
                noise += 1
        if f'{ours}.torgb.weight' in state:
            synthesis |= layer(f'{theirs}/ToRGB', state, f'{ours}.torgb', affine=True)
        if f'{ours}.skip.weight' in state:
            synthesis |= layer(f'{theirs}/Skip', state, f'{ours}.skip', flip=True)
    components = {'synthesis': tf_network('G_synthesis', synthesis, {}, version=version),
                  'mapping': tf_network('G_mapping', dense('Dense', state, 'mapping.fc', {}), {}, version=version)}
    return tf_network('G', {'dlatent_avg': state['mapping.w_avg'].numpy()}, static_kwargs, components, version)


def tf_discriminator(state, static_kwargs, version=5, from_rgb='{r}x{r}/FromRGB'):
    found = dense('Mapping', state, 'mapping.fc', {})
    for r in (32, 16, 8, 4):
        for name, their_name in [('fromrgb', from_rgb.format(r=r)), ('conv0', f'{r}x{r}/Conv0'), ('conv1', f'{r}x{r}/Conv1_down'),
                                 ('skip', f'{r}x{r}/Skip'), ('conv', '4x4/Conv'), ('fc', '4x4/Dense0'), ('out', 'Output')]:
            if f'b{r}.{name}.weight' in state:
                found |= layer(their_name, state, f'b{r}.{name}')
    return tf_network('D', found, static_kwargs, version=version)


def tf_kwargs(kwargs):
    """TensorFlow's arguments for a network with these of ours."""
    if 'z_dim' in kwargs:
        own = kwargs['synthesis_kwargs']
        return dict(latent_size=kwargs['z_dim'], label_size=kwargs['c_dim'], dlatent_size=kwargs['w_dim'],
                    resolution=kwargs['img_resolution'], num_channels=kwargs['img_channels'], fmap_base=own['channel_base'] // 2,
                    mapping_layers=kwargs['mapping_kwargs']['num_layers'], fmap_max=own['channel_max'],
                    architecture=own['architecture'], conv_clamp=own['conv_clamp'], truncation_psi=0.5, structure='auto')
    return dict(label_size=kwargs['c_dim'], resolution=kwargs['img_resolution'], num_channels=kwargs['img_channels'],
                fmap_base=kwargs['channel_base'] // 2, fmap_max=kwargs['channel_max'], architecture=kwargs['architecture'],
                conv_clamp=kwargs['conv_clamp'], mbstd_group_size=2, mapping_layers=kwargs['mapping_kwargs']['num_layers'],
                mapping_lrmul=0.01)


def written(path, networks, protocol=3):
    path.write_bytes(dumps(tuple(networks), protocol))
    return str(path)


@pytest.mark.parametrize('version, origin', [(4, 'StyleGAN2 TensorFlow'), (5, 'StyleGAN2-ADA TensorFlow')])
@pytest.mark.parametrize('g_name, d_name', [('g_skip_uncond', 'd_resnet_uncond'), ('g_skip_cond', 'd_resnet_cond'),
                                            ('g_resnet', 'd_skip'), ('g_orig', 'd_orig')])
def test_images_and_logits_agree_with_golden_numbers(tmp_path, golden, agrees, g_name, d_name, version, origin):
    g, d = golden(g_name), golden(d_name)
    G = tf_generator(g.state_dict, tf_kwargs(g.meta['kwargs']), version)
    other = tf_generator({k: t + 1 for k, t in g.state_dict.items()}, tf_kwargs(g.meta['kwargs']), version)
    D = tf_discriminator(d.state_dict, tf_kwargs(d.meta['kwargs']), version)
    loaded = load_network_snapshot(written(tmp_path / 'x.pkl', (other, D, G), protocol=version - 1))
    c = g['c'] if loaded.G_ema.c_dim else None
    agrees(loaded.G_ema.mapping(g['z'], c), g['ws'])
    agrees(loaded.G_ema.mapping(g['z'], c, truncation_psi=0.6, truncation_cutoff=3), g['ws_trunc'])
    for mode in ('const', 'none'):
        agrees(loaded.G_ema(g['z'], c, noise_mode=mode), g[f'img_{mode}'])
    agrees(loaded.D(d['img'], d['c'] if loaded.D.c_dim else None), d['logits'])
    assert torch.equal(loaded.G.mapping.w_avg, loaded.G_ema.mapping.w_avg + 1)
    assert (loaded.origin, loaded.cur_nimg, loaded.training_set_kwargs, loaded.augment_p) == (origin, None, None, None)
    for name in ('G', 'D', 'G_ema'):
        assert not loaded[name].training and not any(p.requires_grad for p in loaded[name].parameters())


def test_one_network_alone(tmp_path, golden, agrees):
    g = golden('g_skip_uncond')
    broken = tf_network('D', {}, {'resolution': 7})
    path = written(tmp_path / 'x.pkl', (broken, broken, tf_generator(g.state_dict, tf_kwargs(g.meta['kwargs']))))
    agrees(load_network_snapshot(path, only=('G_ema',)).G_ema(g['z'], None, noise_mode='const'), g['img_const'])
    assert load_network_snapshot(path, only=('G_ema',), force_fp16=True).G_ema.synthesis.b32.use_fp16
    with pytest.raises(UserError, match='Discriminator cannot be rebuilt'):
        load_network_snapshot(path, only=('D',))


def test_converted_networks_can_be_trained_on(tmp_path, golden):
    g, d = golden('g_skip_uncond'), golden('d_resnet_uncond')
    G = tf_generator(g.state_dict, tf_kwargs(g.meta['kwargs']))
    path = written(tmp_path / 'x.pkl', (G, tf_discriminator(d.state_dict, tf_kwargs(d.meta['kwargs'])), G))
    networks = {name: Generator(**g.meta['kwargs']) for name in ('G', 'G_ema')} | {'D': Discriminator(**d.meta['kwargs'])}
    assert resume_networks(path, networks) == 0
    for name, expected in dict(G=g, D=d, G_ema=g).items():
        for key, t in networks[name].state_dict().items():
            torch.testing.assert_close(t, expected.state_dict[key], msg=f'{name} {key}', atol=1e-6, rtol=1e-6)


def test_defaults_are_those_of_tensorflow(tmp_path, golden):
    g, d = golden('g_skip_uncond'), golden('d_resnet_uncond')
    kwargs = tf_kwargs(d.meta['kwargs'])
    del kwargs['mbstd_group_size'], kwargs['conv_clamp'], kwargs['mapping_layers'], kwargs['mapping_lrmul']
    g_kwargs = {**tf_kwargs(g.meta['kwargs']), 'w_avg_beta': None}
    del g_kwargs['conv_clamp']
    G = tf_generator(g.state_dict, g_kwargs)
    loaded = load_network_snapshot(written(tmp_path / 'x.pkl', (G, tf_discriminator(d.state_dict, kwargs), G)))
    assert loaded.D.b4.mbstd.group_size is None and loaded.D.b32.conv0.conv_clamp is None
    assert loaded.D.init_kwargs['mapping_kwargs']['num_layers'] == 0
    assert loaded.D.init_kwargs['mapping_kwargs']['lr_multiplier'] == 0.1
    assert loaded.G.mapping.w_avg_beta == 1 and loaded.G.synthesis.b32.conv1.conv_clamp is None
    assert torch.equal(loaded.G.mapping.w_avg, g.state_dict['mapping.w_avg'])


def test_labels_without_a_mapping_network_in_the_discriminator(tmp_path, golden):
    d = golden('d_resnet_cond')
    kwargs = {**d.meta['kwargs'], 'mapping_kwargs': dict(num_layers=0)}
    D = Discriminator(**kwargs).eval()
    tf = tf_discriminator(D.state_dict(), {**tf_kwargs(kwargs), 'mapping_layers': 0})
    loaded = load_network_snapshot(written(tmp_path / 'x.pkl', (tf, tf, tf)), only=('D',)).D
    torch.testing.assert_close(loaded(d['img'], d['c']), D(d['img'], d['c']))


def test_old_names_of_rgb_layers(tmp_path, golden, agrees):
    d = golden('d_orig')
    kwargs = tf_kwargs(d.meta['kwargs'])
    del kwargs['architecture']
    D = tf_discriminator(d.state_dict, kwargs, from_rgb='FromRGB_lod0')
    loaded = load_network_snapshot(written(tmp_path / 'x.pkl', (D, D, D)), only=('D',)).D
    agrees(loaded(d['img'], d['c']), d['logits'])


# What is refused.

def changed(network, path=(), **state):
    target = network
    for name in path:
        target = target.state['components'].items[name]
    target.state |= state
    return network


def without(network, name):
    return [item for item in network.state['components'].items['synthesis'].state['variables'] if item[0] != name]


@pytest.mark.parametrize('change, text', [
    (lambda n: changed(n, version=3), 'StyleGAN1'), (lambda n: changed(n, version='5'), 'version'),
    (lambda n: changed(n, static_kwargs={**n.state['static_kwargs'].items, 'fmap_decay': 1.5}), 'fmap_decay'),
    (lambda n: changed(n, static_kwargs={**n.state['static_kwargs'].items, 'fmap_base': 1 << 29}), 'instead of'),
    (lambda n: changed(n, static_kwargs={**n.state['static_kwargs'].items, 'mapping_layers': 1 << 29}), 'more than the'),
    (lambda n: changed(n, static_kwargs={**n.state['static_kwargs'].items, 'mapping_layers': 4}), 'Dense3/weight'),
    (lambda n: changed(n, static_kwargs={**n.state['static_kwargs'].items, 'latent_size': 7}), 'mapping.fc0.weight'),
    (lambda n: changed(n, static_kwargs=None), 'damaged'), (lambda n: changed(n, variables=None), 'damaged'),
    (lambda n: changed(n, variables=[('dlatent_avg', 3)]), 'variable in it is damaged'),
    (lambda n: changed(n, variables=[]), 'lacks the variable dlatent_avg'),
    (lambda n: changed(n, components={'mapping': 3}), 'network in it is damaged'),
    (lambda n: changed(n, components={'mapping': n}), 'network in it is damaged'),
    (lambda n: changed(n, ['synthesis'], variables=without(n, 'noise1')), 'lacks the variable synthesis/noise1'),
    (lambda n: changed(n, ['synthesis'], variables=[('4x4/ToRGB_lod3/weight', tf_array(np.ones([1])))]), 'levels of detail')])
def test_what_does_not_fit_is_named(tmp_path, golden, change, text):
    g = golden('g_skip_uncond')
    network = change(tf_generator(g.state_dict, tf_kwargs(g.meta['kwargs'])))
    path = written(tmp_path / 'x.pkl', (network, network, network), protocol=4)
    with pytest.raises(UserError) as caught:
        load_network_snapshot(path, only=('G_ema',))
    message = str(caught.value)
    assert message.startswith(f'{path}: not a readable network snapshot') and '\n' not in message and text in message, message


@pytest.mark.parametrize('value', [(), (1, 2, 3), (tf_network('G', {}, {}),) * 2,
                                   (Made(tf_network('G', {}, {}).target, new=True),) * 3])
def test_other_tuples_are_refused(tmp_path, value):
    with pytest.raises(UserError, match='not a readable network snapshot'):
        load_network_snapshot(written(tmp_path / 'x.pkl', value))
