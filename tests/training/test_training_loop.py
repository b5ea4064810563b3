"""The training loop in this process: what may and what must not change a run."""

import hashlib
import json
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.util import EasyDict
from training import training_loop as loop
from training.augmentation.pipe import AugmentPipe
from training.inputs import random_labels
from training.snapshots.file import load_network_snapshot


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Twelve 8x8 images; the label of each is a vector, and all of its pixels have the label's value."""
    path = tmp_path_factory.mktemp('data') / 'tiny.zip'
    with zipfile.ZipFile(path, 'w') as z:
        labels = []
        for i in range(12):
            with z.open(f'{i:02d}.png', 'w') as f:
                PIL.Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(f, format='PNG')
            labels.append([f'{i:02d}.png', [20.0 * i, 1.0]])
        z.writestr('dataset.json', json.dumps({'labels': labels}))
    return str(path)


def config(data, run_dir, **changes):
    adam = dict(class_name='torch.optim.Adam', lr=0.002, betas=[0.0, 0.99], eps=1e-8)
    run_dir.mkdir(parents=True)
    width = dict(channel_base=32, channel_max=4)
    return EasyDict(dict(
        device='cpu', precision='fp32', ops='torch', metrics=[], random_seed=0, run_dir=str(run_dir),
        training_set_kwargs=dict(class_name='training.dataset.ImageFolderDataset', path=data, use_labels=True),
        data_loader_kwargs=dict(num_workers=1, prefetch_factor=2),
        G_kwargs=dict(class_name='training.networks.Generator', z_dim=4, w_dim=4, mapping_kwargs=dict(num_layers=1),
                      synthesis_kwargs=width),
        D_kwargs=dict(class_name='training.networks.Discriminator', mapping_kwargs=dict(num_layers=1), **width),
        G_opt_kwargs=adam, D_opt_kwargs=adam, G_reg_interval=4, D_reg_interval=16,
        loss_kwargs=dict(style_mixing_prob=0.5, terms={
            'G/logistic': {}, 'G/path_length': dict(weight=2.0, interval=4), 'D/logistic_fake': {}, 'D/logistic_real': {},
            'D/r1': dict(weight=1.0, interval=16)}),
        batch_size=25, batch_gpu=25, ema_kimg=1, ema_rampup=None, total_kimg=1, kimg_per_tick=0.25, grid_by_domain=False,
        reconstructs=False, augment_kwargs=None, augment_p=0.0, ada_target=None,
        image_snapshot_ticks=None, network_snapshot_ticks=None,
        resume_pkl=None, resume_state=None, resume_nimg=None, keep=2, snap_minutes=None, max_minutes=None,
        cudnn_benchmark=False, allow_tf32=False, cuda_graphs=True), **changes)


def final_weights(c):
    loop.training_loop(c)
    return hashlib.sha256(open(f'{c.run_dir}/network-snapshot-000001.pkl', 'rb').read()).hexdigest()


def test_what_is_written_and_how_it_is_read_does_not_change_the_run(data, tmp_path):
    plain = final_weights(config(data, tmp_path / 'a'))
    torch.manual_seed(99)
    np.random.seed(99)
    chatty = config(data, tmp_path / 'b', kimg_per_tick=0.1, image_snapshot_ticks=1, network_snapshot_ticks=3,
                    data_loader_kwargs=dict(num_workers=0))
    assert final_weights(chatty) == plain
    assert final_weights(config(data, tmp_path / 'c', random_seed=1)) != plain


def test_accumulating_in_rounds_counts_every_image_once(data, tmp_path):
    """That rounds add up to one large batch is shown for the phases; here, that the loop cuts its batches so."""
    loop.training_loop(config(data, tmp_path / 'a', batch_gpu=5))
    stats = [json.loads(line) for line in (tmp_path / 'a' / 'stats.jsonl').read_text().splitlines()]
    assert sum(line['Loss/G/loss']['num'] for line in stats) == 1000


def test_reals_come_in_order_with_their_labels_from_any_start(data, tmp_path):
    c = config(data, tmp_path / 'a', batch_size=6)
    training_set = loop.construct_class_by_name(**c.training_set_kwargs)
    device = torch.device('cpu')
    whole = loop.real_batches(c, training_set, 0, device)
    batches = [next(whole) for _ in range(8)]
    for images, labels in batches:
        assert images.shape == (6, 1, 8, 8) and images.dtype == torch.float32 and labels.shape == (6, 2)
        torch.testing.assert_close(images[:, 0, 0, 0], labels[:, 0] / 127.5 - 1)
    later = next(loop.real_batches(c, training_set, 30, device))
    assert torch.equal(later[0], batches[5][0]) and torch.equal(later[1], batches[5][1])


def test_random_labels_follow_the_dataset(data, tmp_path):
    training_set = loop.construct_class_by_name(**config(data, tmp_path / 'a').training_set_kwargs)
    labels = random_labels(training_set, 1200, np.random.default_rng(0))
    values, counts = labels[:, 0].unique(return_counts=True)
    assert values.tolist() == [20.0 * i for i in range(12)] and counts.min() > 60
    training_set = loop.construct_class_by_name(**dict(config(data, tmp_path / 'b').training_set_kwargs, use_labels=False))
    assert random_labels(training_set, 3, np.random.default_rng(0)).shape == (3, 0)


def test_rounds_partition_the_batch():
    z, c = torch.arange(6)[:, None], torch.arange(6)[:, None] * 10
    rounds = loop.split_rounds(2, z=z, c=c)
    assert [r['z'].flatten().tolist() for r in rounds] == [[0, 3], [1, 4], [2, 5]]
    assert [r['c'].flatten().tolist() for r in rounds] == [[0, 30], [10, 40], [20, 50]]


@pytest.fixture(scope='module')
def domains(tmp_path_factory):
    """Nine 8x8 images in three domains; all pixels of each have the value 80 times its domain."""
    path = tmp_path_factory.mktemp('data') / 'domains.zip'
    with zipfile.ZipFile(path, 'w') as z:
        for i in range(9):
            with z.open(f'{i}.png', 'w') as f:
                PIL.Image.fromarray(np.full((8, 8), 80 * (2 - i % 3), np.uint8)).save(f, format='PNG')
        z.writestr('dataset.json', json.dumps({'labels': [[f'{i}.png', 2 - i % 3] for i in range(9)]}))
    return str(path)


def cg_gan(domains, run_dir, jacobian='fd', **changes):
    c = config(domains, run_dir, batch_size=100, batch_gpu=100, data_loader_kwargs=dict(num_workers=0), **changes)
    c.G_kwargs['mapping_kwargs'].update(cond_mode='flow', i_dim=3, flow_dim=2)
    c.loss_kwargs['terms'] |= {'G/sparse': dict(weight=0.1), 'G/img_sparse': dict(weight=0.1, jacobian=jacobian)}
    return c


def test_a_column_of_the_grid_is_one_latent_in_every_domain(domains, tmp_path):
    c = cg_gan(domains, tmp_path / 'a', grid_by_domain=True)
    training_set = loop.construct_class_by_name(**c.training_set_kwargs)
    grid = loop.SampleGrid(c, training_set, 4, torch.device('cpu'))
    columns, rows = grid.size
    assert (columns, rows) == (16, 15), 'less than published, for a CPU'
    z = torch.cat(grid.z).reshape(rows // 3, 3, columns, 4)
    assert torch.equal(z, z[:, :1].expand_as(z)) and len(z[:, 0].reshape(-1, 4).unique(dim=0)) == 5 * 16
    shown = torch.cat(grid.c).argmax(dim=1).reshape(rows // 3, 3, columns)
    assert torch.equal(shown, torch.arange(3)[None, :, None].expand_as(shown)), 'domains in ascending order'
    np.testing.assert_array_equal(grid.reals[:, 0, 0, 0], 80 * shown.flatten())
    plain = loop.SampleGrid(EasyDict(c, grid_by_domain=False), training_set, 4, torch.device('cpu'))
    assert len(torch.cat(plain.z).unique(dim=0)) == plain.size[0] * plain.size[1]


@pytest.mark.parametrize('jacobian', ['fd', 'jvp'])
def test_one_seed_fixes_a_run_of_cg_gan(jacobian, domains, tmp_path):
    first = final_weights(cg_gan(domains, tmp_path / 'a', jacobian))
    torch.manual_seed(99)
    assert final_weights(cg_gan(domains, tmp_path / 'b', jacobian)) == first
    stats = [json.loads(line) for line in (tmp_path / 'a' / 'stats.jsonl').read_text().splitlines()]
    assert all(line['Loss/G/img_sparse']['mean'] > 0 for line in stats)
    assert stats[0]['Progress/style_dims']['mean'] == 3


def test_living_style_coordinates_are_counted_at_the_end_of_each_tick(domains, tmp_path, capsys):
    c = cg_gan(domains, tmp_path / 'a')
    c.loss_kwargs['terms'] = {'G/sparse': dict(weight=1.0)}  # nothing else: importance falls steadily
    c.G_opt_kwargs = dict(c.G_opt_kwargs, lr=0.2)
    loop.training_loop(c)
    stats = [json.loads(line) for line in (tmp_path / 'a' / 'stats.jsonl').read_text().splitlines()]
    living = [line['Progress/style_dims']['mean'] for line in stats]
    assert living[0] == 3 and living[-1] == 0 and living == sorted(living, reverse=True)
    assert capsys.readouterr().out.count('warning: style: no style coordinate is alive') == 1


def test_a_damaged_image_is_named_although_a_worker_reads_it(data, tmp_path):
    broken = tmp_path / 'broken.zip'
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(broken, 'w') as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[:45] if name == '07.png' else content)
    c = config(str(broken), tmp_path / 'a')
    training_set = loop.construct_class_by_name(**c.training_set_kwargs)
    with pytest.raises(loop.UserError, match=r'^[^\n]*07\.png[^\n]*$'):
        next(loop.real_batches(c, training_set, 0, torch.device('cpu')))


def test_stopping_early_saves_under_the_images_seen(data, tmp_path):
    c = config(data, tmp_path / 'a', total_kimg=1000)
    calls = []
    loop.training_loop(c, stop_requested=lambda: calls.append(0) or len(calls) > 60)
    snapshots = list((tmp_path / 'a').glob('network-snapshot-*.pkl'))
    assert [p.name for p in snapshots] == ['network-snapshot-000001.pkl']


def augmented(data, run_dir, **changes):
    return config(data, run_dir, augment_kwargs=dict(class_name='training.augment.AugmentPipe', xint=1, brightness=1),
                  ada_interval=4, ada_kimg=1, batch_size=10, batch_gpu=10, **changes)


def last_stats(c):
    return json.loads(open(f'{c.run_dir}/stats.jsonl').read().splitlines()[-1])


@pytest.mark.parametrize('target, p', [(-2.0, 1.0), (2.0, 0.0)])
def test_the_strength_of_augmentation_follows_the_sign_statistic(data, tmp_path, target, p):
    """Above any target, p rises by 4 · 10 / 1000 every 4 steps: 25 times in 100 steps; below, it stays at 0."""
    c = augmented(data, tmp_path / 'run', ada_target=target)
    loop.training_loop(c)
    assert last_stats(c)['Progress/augment']['mean'] == pytest.approx(p, abs=1e-5)
    assert load_network_snapshot(f'{c.run_dir}/network-snapshot-000001.pkl').augment_p == pytest.approx(p, abs=1e-5)


def test_every_image_that_d_sees_is_augmented(data, tmp_path, monkeypatch):
    seen, plain = [], AugmentPipe.forward
    monkeypatch.setattr(AugmentPipe, 'forward', lambda self, images: seen.append(images) or plain(self, images))
    c = augmented(data, tmp_path / 'run', augment_p=0.5)
    loop.training_loop(c)
    # Per step: fakes for G; fakes and reals for D; and reals for R1 in one step of 16.
    assert len(seen) == 3 * 100 + 7 and all(images.shape == (10, 1, 8, 8) for images in seen)
    assert last_stats(c)['Progress/augment']['mean'] == 0.5


@pytest.mark.parametrize('changes', [dict(augment_kwargs=None), dict(augment_p=0.0)])
def test_without_strength_there_is_no_pipe(data, tmp_path, changes):
    assert loop.make_augmentation(EasyDict(augmented(data, tmp_path / 'run'), **changes), torch.device('cpu')) == (None, None)


def test_bfloat16_trains_and_stays_near_float32(data, tmp_path):
    """The images of the first networks are those of float32 up to rounding."""
    width = dict(channel_base=32, channel_max=4, num_fp16_res=4, conv_clamp=256)
    grids = []
    for precision in ('fp32', 'bf16'):
        c = config(data, tmp_path / precision, precision=precision)
        c.D_kwargs.update(width)
        c.G_kwargs['synthesis_kwargs'] = width if precision == 'bf16' else dict(width, num_fp16_res=0)
        loop.training_loop(c)
        assert last_stats(c)['Loss/G/nonfinite_grads']['mean'] == 0
        grids.append(np.array(PIL.Image.open(f'{c.run_dir}/fakes_init.png')).astype(int))
    assert 0 < np.abs(grids[0] - grids[1]).mean() < 2
