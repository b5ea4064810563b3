"""train.py goes on from network pickles of the published programs."""

import json

import torch
from helpers.published_pickles import Published
from test_train import write_images

import train as command
from training.networks import Discriminator, Generator
from training.snapshots.file import load_network_snapshot

KWARGS = dict(c_dim=2, img_resolution=16, img_channels=3)
SMALL = ['--device=cpu', '--cbase=64', '--cmax=4', '--batch=50', '--workers=1', '--batch-gpu=50', '--map-depth=2', '--z-dim=32']


def write_published(path):
    """A pickle as CG-GAN writes them, with dill: flow, augmentation of strength 0.25."""
    torch.manual_seed(1)
    G = Generator(z_dim=32, w_dim=512, mapping_kwargs=dict(num_layers=2, cond_mode='flow', i_dim=16),
                  synthesis_kwargs=dict(channel_base=64, channel_max=4, num_fp16_res=4, conv_clamp=256), **KWARGS)
    D = Discriminator(channel_base=64, channel_max=4, num_fp16_res=4, conv_clamp=256, **KWARGS)
    program = Published(dill='0.3.6')
    path.write_bytes(program.snapshot(G, D, G, augment_pipe=program.augment_pipe(0.25)))
    return G


def test_the_published_fine_tuning_of_cg_gan(tmp_path, capsys):
    data, pkl = write_images(tmp_path / 'tiny.zip'), tmp_path / 'network-snapshot-000356.pkl'
    G = write_published(pkl)
    command.main([f'--outdir={tmp_path}', f'--data={data}', '--gpus=1', '--cond=1', '--cond_mode=flow', '--flow_norm=1',
                  '--i_dim=16', '--lambda_sparse=0.1', '--lambda_imgsparse=0.1', '--perturb_norm=0.1', f'--resume={pkl}',
                  '--kimg=357', *SMALL], standalone_mode=False)
    out = capsys.readouterr().out
    assert 'Optimisers start fresh: there is no training state with this snapshot' in out
    assert 'Augmentation resumes at p = 0.250' in out and 'from 356 kimg' in out and '; new: ' not in out
    run_dir = next(tmp_path.glob('00000-*'))
    config = json.loads((run_dir / 'training_options.json').read_text())
    assert (config['ada_kimg'], config['ema_rampup']) == (100, None)
    after = load_network_snapshot(str(run_dir / 'network-snapshot-000357.pkl'))
    assert after.cur_nimg == 357_000 and 0.2 < after.augment_p < 0.3
    before, trained = (net.synthesis.b16.conv1.weight for net in (G, after.G))
    assert 0 < (before - trained).abs().max() < 0.2, 'it went on from those weights'


def test_transfer_learning_counts_from_zero(tmp_path, capsys):
    data, pkl = write_images(tmp_path / 'tiny.zip'), tmp_path / 'network-snapshot-000356.pkl'
    write_published(pkl)
    command.main([f'--outdir={tmp_path}', f'--data={data}', '--cond_mode=flow', '--i_dim=16', f'--resume={pkl}',
                  '--resume-kimg=0', '--kimg=1', *SMALL], standalone_mode=False)
    out = capsys.readouterr().out
    assert 'Optimisers and counters start fresh: transfer learning' in out and 'Augmentation goes on' not in out
    assert load_network_snapshot(str(next(tmp_path.glob('00000-*')) / 'network-snapshot-000001.pkl')).cur_nimg == 1000
