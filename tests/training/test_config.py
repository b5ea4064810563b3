"""From options to configuration: presets, the auto formulas, checks, names. No torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import train
from dnnlib.util import EasyDict, OptionError
from training.config import DatasetInfo, build_config, run_description
from training.methods import complete_options
from training.presets import auto_preset
from training.run.resume import find_resume

DEFAULTS = train.main.make_context('train', ['--outdir=runs', '--data=d/afhq.zip', '--gpus=1', '--metrics=none']).params
DATA = DatasetInfo(name='afhq', resolution=256, label_dim=3, size=1000)


def options(**changes):
    assert changes.keys() <= DEFAULTS.keys()
    return complete_options(EasyDict(DEFAULTS, **changes))


def build(data=DATA, **changes):
    o = options(**changes)
    return build_config(o, data, find_resume(o.resume, o.resume_kimg, 'no-such-directory', 'x'))


# resolution: (batch, gamma) for 1, 2, 4 and 8 GPUs, as published.
AUTO = {
    32:   [(32, 0.0064), (64, 0.0032), (64, 0.0032), (64, 0.0032)],
    128:  [(32, 0.1024), (64, 0.0512), (64, 0.0512), (64, 0.0512)],
    256:  [(16, 0.8192), (32, 0.4096), (64, 0.2048), (64, 0.2048)],
    512:  [(8, 6.5536), (16, 3.2768), (32, 1.6384), (64, 0.8192)],
    1024: [(4, 52.4288), (8, 26.2144), (16, 13.1072), (32, 6.5536)],
}


@pytest.mark.parametrize('resolution', AUTO)
def test_auto_formulas(resolution):
    for gpus, (batch, gamma) in zip((1, 2, 4, 8), AUTO[resolution], strict=True):
        p = auto_preset(resolution, gpus)
        assert (p.batch, p.gamma) == (batch, pytest.approx(gamma)) and p.mbstd == 4
        assert p.ema_kimg == batch * 10 / 32 and p.ema_rampup == 0.05 and p.map_depth == 2
        assert p.channel_base == (32768 if resolution >= 512 else 16384)
        assert p.lr == (0.002 if resolution >= 1024 else 0.0025)


CFGS = {  # reference GPUs, batch, batch per GPU, group of minibatch stddev, as published
    'stylegan2': (8, 32, 4, 4), 'paper256': (8, 64, 8, 8), 'paper512': (8, 64, 8, 8), 'paper1024': (8, 32, 4, 4),
    'cifar': (2, 64, 32, 32),
}


@pytest.mark.parametrize('gpus', [1, 2, 4, 8])
@pytest.mark.parametrize('resolution', [32, 64, 128, 256, 512, 1024])
def test_every_configuration_for_every_size_and_number_of_workers(resolution, gpus):
    data = DatasetInfo('x', resolution, 0, 1000)
    c = build(data, gpus=gpus)  # auto, by the formulas of spec/06: written out again here
    batch = max(min(gpus * min(4096 // resolution, 32), 64), gpus)
    assert (c.batch_size, c.batch_gpu, c.num_gpus) == (batch, batch // gpus, gpus)
    assert c.D_kwargs['epilogue_kwargs']['mbstd_group_size'] == min(batch // gpus, 4)
    assert c.loss_kwargs['terms']['D/r1']['weight'] == pytest.approx(0.0002 * resolution ** 2 / batch / 2)
    base = 32768 if resolution >= 512 else 16384
    assert c.G_kwargs['synthesis_kwargs']['channel_base'] == c.D_kwargs['channel_base'] == base
    assert c.G_opt_kwargs['lr'] == c.D_opt_kwargs['lr'] == (0.002 if resolution >= 1024 else 0.0025)
    assert (c.ema_kimg, c.ema_rampup, c.total_kimg) == (batch * 10 / 32, 0.05, 25000)
    for cfg, (ref_gpus, batch, batch_gpu, mbstd) in CFGS.items():
        if gpus > ref_gpus:
            with pytest.raises(OptionError, match='--batch=64 must be a multiple of --batch-gpu=32 times --gpus'):
                build(data, gpus=gpus, cfg=cfg)
            continue
        c = build(data, gpus=gpus, cfg=cfg)
        assert (c.batch_size, c.batch_gpu, c.D_kwargs['epilogue_kwargs']['mbstd_group_size']) == (batch, batch_gpu, mbstd)
        assert batch % (batch_gpu * gpus) == 0
        assert (c.G_kwargs['z_dim'], c.G_kwargs['synthesis_kwargs']['channel_max']) == (512, 512)
        c = build(data, gpus=gpus, cfg=cfg, batch=16 * gpus, gamma=3.0, kimg=7)
        assert (c.batch_size, c.batch_gpu, c.total_kimg, c.loss_kwargs['terms']['D/r1']['weight']) == (16 * gpus, 16, 7, 1.5)


PIPES = dict(blit='xflip rotate90 xint', geom='scale rotate aniso xfrac', color='brightness contrast lumaflip hue saturation',
             filter='imgfilter', noise='noise', cutout='cutout')


@pytest.mark.parametrize('name, parts', [(name, [name]) for name in PIPES] + [
    ('bg', list(PIPES)[:2]), ('bgc', list(PIPES)[:3]), ('bgcf', list(PIPES)[:4]), ('bgcfn', list(PIPES)[:5]),
    ('bgcfnc', list(PIPES))])
def test_augmentation_pipes(name, parts):
    transforms = {word: 1 for part in parts for word in PIPES[part].split()}
    c = build(augpipe=name, aug='fixed', p=0.25)
    assert c.augment_kwargs == dict(class_name='training.augment.AugmentPipe', **transforms)
    assert (c.augment_p, c.ada_target) == (0.25, None)


def test_augmentation_adapts_unless_told_otherwise():
    c = build()
    assert c.augment_kwargs == build(aug='ada', augpipe='bgc').augment_kwargs
    assert (c.augment_p, c.ada_target, c.ada_interval, c.ada_kimg) == (0, 0.6, 4, 500)
    assert build(target=0.7).ada_target == 0.7 and build(target=0.0).ada_target == 0
    none = build(aug='noaug')
    assert (none.augment_kwargs, none.augment_p, none.ada_target) == (None, 0, None)


def test_what_resuming_changes():
    assert (build(resume='noresume').resume_pkl, build(resume='noresume').ada_kimg) == (None, 500)
    prefix = 'https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets/'
    for preset, name in (('ffhq256', 'ffhq-res256-mirror-paper256-noaug'), ('ffhq512', 'ffhq-res512-mirror-stylegan2-noaug'),
                         ('ffhq1024', 'ffhq-res1024-mirror-stylegan2-noaug'),
                         ('lsundog256', 'lsundog-res256-paper256-kimg100000-noaug'),
                         ('celebahq256', 'celebahq-res256-mirror-paper256-kimg100000-ada-target0.5'), ('a.pkl', None)):
        c = build(resume=preset)
        assert c.resume_pkl == (f'{prefix}{name}.pkl' if name else 'a.pkl')
        assert (c.ada_kimg, c.ema_rampup) == (100, None)


def test_metrics():
    assert build().metrics == build(metrics='').metrics == build(metrics='NONE').metrics == []
    assert build(metrics='domains, jacobian,domains').metrics == ['domains', 'jacobian']
    assert [(c.metrics, c.slow_metrics) for c in (build(metrics=None), build(metrics='fid50k_full'))] == [
        (['fid50k_full'], False), (['fid50k_full'], True)]
    assert build(metric_seed=3).metric_seed == 3


def test_precision():
    fp16 = dict(num_fp16_res=4, conv_clamp=256)
    fp32 = dict(num_fp16_res=0, conv_clamp=None)
    for changes, name, expected in ((dict(), 'auto', fp16), (dict(precision='bf16'), 'bf16', fp16),
                                    (dict(precision='fp16'), 'fp16', fp16),
                                    (dict(precision='fp32'), 'fp32', fp32), (dict(fp32=True), 'fp32', fp32),
                                    (dict(fp32=True, precision='fp32'), 'fp32', fp32)):
        c = build(**changes)
        assert c.precision == name
        assert expected.items() <= c.D_kwargs.items() and expected.items() <= c.G_kwargs['synthesis_kwargs'].items()
    with pytest.raises(OptionError, match='--fp32=1 contradicts --precision=bf16'):
        build(fp32=True, precision='bf16')


def test_the_snapshot_interval_is_the_one_published_for_the_method():
    assert build().network_snapshot_ticks == build().image_snapshot_ticks == 50
    assert build(cond_mode='flow').network_snapshot_ticks == 40 and build(cond_mode='flow', snap=3).network_snapshot_ticks == 3


def test_defaults_for_256_pixels():
    c = build()
    assert c.G_kwargs['synthesis_kwargs'] == dict(channel_base=16384, channel_max=512, num_fp16_res=4, conv_clamp=256,
                                                  fp16_channels_last=False, use_noise=True)
    assert c.G_kwargs['z_dim'] == c.G_kwargs['w_dim'] == 512 and c.G_kwargs['mapping_kwargs'] == dict(num_layers=2)
    assert c.D_kwargs['epilogue_kwargs'] == dict(mbstd_group_size=4) and c.D_kwargs['architecture'] == 'resnet'
    assert (c.batch_size, c.batch_gpu, c.total_kimg, c.ema_kimg, c.ema_rampup) == (16, 16, 25000, 5, 0.05)
    adam = dict(class_name='torch.optim.Adam', lr=0.0025, betas=[0.0, 0.99], eps=1e-8)
    assert c.G_opt_kwargs == c.D_opt_kwargs == adam
    assert c.loss_kwargs['style_mixing_prob'] == 0.9
    assert c.loss_kwargs['terms']['D/r1'] == dict(weight=pytest.approx(0.4096), interval=16)
    assert c.loss_kwargs['terms']['G/path_length'] == dict(weight=2.0, interval=4)
    assert c.training_set_kwargs == dict(class_name='training.dataset.ImageFolderDataset', path='d/afhq.zip', resolution=256,
                                         use_labels=False, max_size=1000, xflip=False)
    assert c.resume_pkl is None and c.cudnn_benchmark and not c.allow_tf32
    assert json.loads(json.dumps(c)) == c
    assert c.wandb == dict(mode='auto', project='stylegan-research', images='fakes')
    assert build(wandb='offline').wandb['mode'] == 'offline'


@pytest.mark.parametrize('cfg, batch, batch_gpu, mbstd, base, lr, gamma, ema, rampup, depth, kimg', [
    ('stylegan2', 32, 4, 4, 32768, 0.002, 10, 10, None, 8, 25000),
    ('paper256', 64, 8, 8, 16384, 0.0025, 1, 20, None, 8, 25000),
    ('paper512', 64, 8, 8, 32768, 0.0025, 0.5, 20, None, 8, 25000),
    ('paper1024', 32, 4, 4, 32768, 0.002, 2, 10, None, 8, 25000),
    ('cifar', 64, 32, 32, 32768, 0.0025, 0.01, 500, 0.05, 2, 100000),
])
def test_published_configurations(cfg, batch, batch_gpu, mbstd, base, lr, gamma, ema, rampup, depth, kimg):
    c = build(cfg=cfg)
    assert (c.batch_size, c.batch_gpu, c.total_kimg, c.ema_kimg, c.ema_rampup) == (batch, batch_gpu, kimg, ema, rampup)
    assert c.D_kwargs['epilogue_kwargs']['mbstd_group_size'] == mbstd and c.D_kwargs['channel_base'] == base
    assert c.G_opt_kwargs['lr'] == lr and c.G_kwargs['mapping_kwargs']['num_layers'] == depth
    assert c.loss_kwargs['terms']['D/r1']['weight'] == gamma / 2


def test_cifar_has_no_path_length_mixing_or_residual_discriminator():
    c = build(cfg='cifar')
    assert c.loss_kwargs['terms']['G/path_length']['weight'] == 0 == c.loss_kwargs['style_mixing_prob']
    assert c.D_kwargs['architecture'] == 'orig' and c.G_reg_interval == 4


def test_every_option_reaches_the_configuration():
    c = build(cond=True, mirror=True, subset=100, seed=7, snap=5, tick=1.5, gamma=0.5, kimg=10, batch=24, batch_gpu=8, cbase=1024,
              cmax=64, map_depth=3, concat_dim=16, noise=False, pl_weight=0.5, mixing=0.25, glr=0.001, dlr=0.004,
              resume='net.pkl', freezed=2, fp32=True, nhwc=True, nobench=True, allow_tf32=True, workers=1, device='cpu')
    assert c.training_set_kwargs == dict(class_name='training.dataset.ImageFolderDataset', path='d/afhq.zip', resolution=256,
                                         use_labels=True, max_size=100, xflip=True, random_seed=7)
    assert (c.random_seed, c.image_snapshot_ticks, c.network_snapshot_ticks, c.kimg_per_tick) == (7, 5, 5, 1.5)
    assert (c.batch_size, c.batch_gpu, c.total_kimg) == (24, 8, 10)
    assert c.loss_kwargs['terms']['D/r1']['weight'] == 0.25 == c.loss_kwargs['style_mixing_prob']
    assert c.loss_kwargs['terms']['G/path_length']['weight'] == 0.5
    width = dict(channel_base=1024, channel_max=64, num_fp16_res=0, conv_clamp=None)
    assert c.G_kwargs['synthesis_kwargs'] == dict(width, fp16_channels_last=True, use_noise=False)
    assert c.G_kwargs['mapping_kwargs'] == dict(num_layers=3, embed_features=16)
    assert width.items() <= c.D_kwargs.items()
    assert c.D_kwargs['block_kwargs'] == dict(freeze_layers=2, fp16_channels_last=True)
    assert (c.G_opt_kwargs['lr'], c.D_opt_kwargs['lr']) == (0.001, 0.004)
    assert (c.resume_pkl, c.cudnn_benchmark, c.allow_tf32, c.device) == ('net.pkl', False, True, 'cpu')
    assert c.data_loader_kwargs['num_workers'] == 1


def test_a_subset_of_everything_is_everything():
    assert build(subset=1000).training_set_kwargs['max_size'] == 1000
    assert 'random_seed' not in build(subset=1000).training_set_kwargs


@pytest.mark.parametrize('changes, text', [
    (dict(snap=0), '--snap must be at least 1'), (dict(kimg=0), '--kimg must be at least 1'),
    (dict(batch=-4), '--batch must be at least 1'),
    (dict(batch=7, gpus=2), '--batch .* divisible by --gpus'), (dict(batch_gpu=0), '--batch-gpu must be at least 1'),
    (dict(gamma=-1.0), '--gamma must be non-negative'), (dict(freezed=-1), '--freezed must be non-negative'),
    (dict(workers=0), '--workers must be at least 1'), (dict(tick=0.0), '--tick must be greater than 0'),
    (dict(glr=-0.1), '--glr must be greater than 0'), (dict(seed=-1), '--seed must be non-negative'),
    (dict(tick=float('nan')), '--tick must be'), (dict(gamma=float('inf')), '--gamma must be'),
    (dict(cmax=0), '--cmax must be'), (dict(map_depth=0), '--map-depth must be'),
    (dict(gpus=0), '--gpus must be at least 1'), (dict(subset=0), '--subset must be between 1 and 1000'),
    (dict(subset=1001), '--subset must be between 1 and 1000'), (dict(batch=10, batch_gpu=4), 'must be a multiple'),
    (dict(desc='a/b'), '--desc'), (dict(gpus=5), '--batch=64 must be a multiple'),
    (dict(metrics='fid'), '--metrics can only contain the following values: fid50k_full, kid50k_full'),
    (dict(aug='fixed'), '--aug=fixed requires specifying --p'), (dict(p=0.5), '--p can only be specified with --aug=fixed'),
    (dict(aug='fixed', p=1.5), '--p must be between 0 and 1'), (dict(aug='fixed', p=float('nan')), '--p must be between 0 and 1'),
    (dict(aug='fixed', p=0.5, target=0.5), '--target can only be specified with --aug=ada'),
    (dict(target=-0.1), '--target must be between 0 and 1'),
    (dict(aug='noaug', target=0.5), '--target can only be'), (dict(aug='noaug', p=0.5), '--p can only be'),
    (dict(aug='noaug', augpipe='bg'), '--augpipe cannot be specified with --aug=noaug'),
    (dict(mixing=1.5), '--mixing must be between'), (dict(pl_weight=-1.0), '--pl-weight must be'), (dict(cbase=100), '--cbase'),
])
def test_wrong_values_name_their_option(changes, text):
    with pytest.raises(OptionError, match=text):
        build(**changes)


def test_filters_of_43_taps_need_an_image_around_them():
    small = DatasetInfo('x', 16, 0, 10)
    with pytest.raises(OptionError, match=r'--augpipe=bgcf .*22x22'):
        build(small, augpipe='bgcf')
    build(small, augpipe='bgc')
    build(DatasetInfo('x', 32, 0, 10), augpipe='bgcfnc')


def test_labels_and_image_size_are_checked():
    with pytest.raises(OptionError, match='labels'):
        build(DatasetInfo('x', 32, 0, 10), cond=True)
    for resolution, text in [(4, '8x8 is the smallest'), (18, 'nearest sizes that can: 20x20 or 16x16'),
                             ((375, 500), 'images of 500x375 .*512x384')]:
        with pytest.raises(OptionError, match=rf'afhq.zip: .*{text}.*dataset_tool.py'):
            build(DatasetInfo('x', resolution, 0, 10))


def test_rectangles_are_configured_by_their_area():
    c = build(DatasetInfo('x', (384, 512), 0, 10))
    assert c.training_set_kwargs['resolution'] == [384, 512] and json.loads(json.dumps(c)) == c
    assert (c.batch_size, c.G_kwargs['synthesis_kwargs']['channel_base']) == (8, 16384)
    assert c.loss_kwargs['terms']['D/r1']['weight'] == pytest.approx(0.0002 * 384 * 512 / 8 / 2)
    assert auto_preset((512, 512), 4) == auto_preset(512, 4)
    for resolution in (48, 96, 192, 384, 768, 1536, (160, 96), (1024, 640)):
        batch = auto_preset(resolution, 1).batch
        assert batch & (batch - 1) == 0, resolution
    with pytest.raises(OptionError, match='--cbase must be at least 512'):
        build(DatasetInfo('x', (384, 512), 0, 10), cbase=256)
    with pytest.raises(OptionError, match=r'bgcf filters images, which takes 22x22 .*has 64x16'):
        build(DatasetInfo('x', (16, 64), 0, 10), augpipe='bgcf')
    build(DatasetInfo('x', (24, 32), 0, 10), augpipe='bgcf')


def test_run_descriptions_in_the_published_order():
    assert run_description(options(), DATA) == 'afhq-auto1'
    everything = options(cond=True, subset=50, mirror=True, cfg='paper256', gamma=0.5, kimg=100, batch=8, aug='noaug',
                         resume='x.pkl', freezed=0, desc='try')
    expected = 'afhq-cond-subset50-mirror-paper256-gamma0.5-kimg100-batch8-noaug-resumecustom-freezed0-try'
    assert run_description(everything, DATA) == expected
    assert run_description(options(resume='noresume'), DATA) == 'afhq-auto1-noresume'
    published = options(cond=True, mirror=True, gamma=0.5, kimg=100, batch=8, aug='ada', target=0.7, augpipe='bgc',
                        resume='x.pkl', freezed=2, cond_mode='flow', lambda_sparse=0.1)
    assert run_description(published, DATA) == (
        'afhq-cond-mirror-auto1-gamma0.5-kimg100-batch8-ada-target0.7-bgc-resumecustom-freezed2'
        '-flow-nb2-dim10-styledim256-norm-sparse0.1')
    published = options(cfg='paper512', mirror=True, aug='ada', target=0.7, augpipe='bgcfnc', gamma=10.0, snap=10)
    assert run_description(published, DATA) == 'afhq-mirror-paper512-gamma10-ada-target0.7-bgcfnc'
    assert run_description(options(gpus=8, aug='fixed', p=0.25, resume='ffhq256'), DATA) == 'afhq-auto8-fixed-p0.25-resumeffhq256'


def test_needs_no_torch():
    code = 'import sys, train; assert not {"torch", "scipy", "requests", "tensorboard"} & set(sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize('changes', [dict(batch=32, batch_gpu=1), dict(batch=35, batch_gpu=7), dict(batch=5)])
def test_microbatches_that_switch_minibatch_stddev_off_are_refused(changes):
    name = 'batch-gpu' if 'batch_gpu' in changes else 'batch'
    with pytest.raises(OptionError, match=f'--{name}: a microbatch of .* take a multiple of 4'):
        build(**changes)


def test_microbatches_with_smaller_groups_are_accepted():
    assert build(batch=6).batch_gpu == 6
