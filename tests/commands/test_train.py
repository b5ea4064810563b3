"""train.py as a user meets it: what a run leaves behind, determinism, going on, stopping, and wrong input."""

import hashlib
import json
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import background
from helpers.reported_runs import Elements

import generate
import train as command
from training.snapshots.file import load_network_snapshot

ROOT = Path(__file__).parents[2]
TINY = ['--device=cpu', '--cbase=64', '--cmax=8', '--batch=50', '--workers=1', '--tick=0.3', '--snap=2']




def train(*args):
    """Run train.py to its end."""
    return background.run('train', *args)


def write_images(path, count=24, size=16, labels=True, mode='RGB'):
    """A ZIP of random images with two classes."""
    rng = np.random.RandomState(0)
    names = [f'00000/img{i:08d}.png' for i in range(count)]
    with zipfile.ZipFile(path, 'w') as z:
        for name in names:
            pixels = rng.randint(0, 256, (size, size, 3), dtype=np.uint8)
            with z.open(name, 'w') as f:
                PIL.Image.fromarray(pixels).convert(mode).save(f, format='PNG')
        if labels:
            z.writestr('dataset.json', json.dumps({'labels': [[name, i % 2] for i, name in enumerate(names)]}))
    return path


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('data') / 'tiny.zip')


@pytest.fixture(scope='module')
def run(data, tmp_path_factory):
    """One conditional run of 1 kimg: (completed process, run directory)."""
    outdir = tmp_path_factory.mktemp('runs')
    done = train('--outdir', outdir, '--data', data, '--cond=1', '--kimg=1', *TINY)
    assert done.returncode == 0, done.stderr
    return done, outdir / '00000-tiny-cond-auto1-kimg1-batch50'


def digests(run_dir):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(run_dir.iterdir()) if p.suffix in ('.pkl', '.png')}


def test_a_run_leaves_everything_behind(run):
    done, run_dir = run
    names = {p.name for p in run_dir.iterdir()}
    assert {'training_options.json', 'log.txt', 'stats.jsonl', 'reals.png', 'fakes_init.png', 'fakes000000.png',
            'fakes000001.png', 'report.html', 'sessions.jsonl', 'network-snapshot-000000.pkl',
            'network-snapshot-000001.pkl'} < names
    assert any(name.startswith('events.out.tfevents.') for name in names)
    assert not any(name.endswith('.tmp') for name in names)
    config = json.loads((run_dir / 'training_options.json').read_text())
    assert config['run_dir'] == str(run_dir) and config['batch_size'] == 50
    log = (run_dir / 'log.txt').read_text()
    assert done.stdout.endswith(f'Results are in {run_dir}; open report.html in a browser.\n')
    assert log in done.stdout and 'tick 0 ' in log and 'Exiting...' in log
    assert PIL.Image.open(run_dir / 'reals.png').size == PIL.Image.open(run_dir / 'fakes000001.png').size == (256, 256)


def test_a_run_has_a_page_of_all_its_snapshots(run):
    done, run_dir = run
    page = Elements((run_dir / 'report.html').read_text())
    assert [frame['data-kimg'] for frame in page.of('figure', class_='frame')] == ['0', '1', '0']  # the last: training images
    for words in (run_dir.name, 'Complete', '1 of 1 kimg', 'network-snapshot-000000.pkl', 'network-snapshot-000001.pkl',
                  f'--resume={run_dir}', '--cbase', 'torch'):
        assert words in page.text
    assert 'report.html could not be written' not in done.stdout


def test_statistics_of_every_tick_are_strict_json(run):
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (run[1] / 'stats.jsonl').read_text().splitlines()]
    assert [line['Progress/tick']['mean'] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[-1]['Progress/kimg']['mean'] == 1.0
    assert {'Loss/G/loss', 'Loss/D/loss', 'Loss/scores/real', 'Loss/signs/fake', 'Loss/pl_penalty', 'Loss/r1_penalty',
            'Loss/G/reg', 'Loss/D/reg', 'Timing/Gmain', 'Timing/Greg', 'Timing/Dmain', 'Timing/Dreg', 'Timing/sec_per_kimg',
            'Resources/cpu_mem_gb', 'Progress/augment', 'timestamp'} <= lines[-1].keys()
    assert lines[2]['Loss/G/loss']['num'] == 300 and np.isfinite(lines[2]['Loss/G/loss']['mean'])


def test_tensorboard_reads_the_events(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(run[1])).Reload()
    scalars = events.Scalars('Loss/G/loss')
    assert [e.step for e in scalars] == [0, 0, 0, 0, 1] and abs(scalars[-1].wall_time - time.time()) < 3600


def test_one_seed_fixes_a_run_bit_for_bit(run, data, tmp_path):
    for seed, same in ((0, True), (1, False)):
        done = train('--outdir', tmp_path, '--data', data, '--cond=1', '--kimg=1', f'--seed={seed}', *TINY)
        assert done.returncode == 0, done.stderr
        other = tmp_path / f'0000{seed}-tiny-cond-auto1-kimg1-batch50'
        ours, theirs = digests(run[1]), digests(other)
        assert ours.keys() == theirs.keys() and 'network-snapshot-000001.pkl' in ours
        assert (ours == theirs) is same


def test_the_snapshot_holds_networks_that_were_trained(run):
    first, last = (load_network_snapshot(str(run[1] / f'network-snapshot-00000{i}.pkl')) for i in (0, 1))
    assert last.cur_nimg == 1000 and last.training_set_kwargs['use_labels'] is True
    for name in ('G', 'D', 'G_ema'):
        assert last[name].c_dim == 2 and not last[name].training
        a, b = (torch.cat([p.flatten() for p in net[name].parameters()]) for net in (first, last))
        assert b.isfinite().all() and not torch.equal(a, b)
    assert last.G.mapping.w_avg.abs().max() > 0


def test_resume_goes_on_where_the_snapshot_ends(run, data, tmp_path):
    pkl = run[1] / 'network-snapshot-000001.pkl'
    done = train('--outdir', tmp_path, '--data', data, '--cond=1', '--kimg=2', f'--resume={pkl}', *TINY)
    assert done.returncode == 0, done.stderr
    run_dir = tmp_path / '00000-tiny-cond-auto1-kimg2-batch50-resumecustom'
    assert load_network_snapshot(str(run_dir / 'network-snapshot-000002.pkl')).cur_nimg == 2000
    # The grids differ by nothing but the weights, and those are the same.
    assert (run_dir / 'fakes_init.png').read_bytes() == (run[1] / 'fakes000001.png').read_bytes()
    stats = json.loads((run_dir / 'stats.jsonl').read_text().splitlines()[0])
    assert (stats['Progress/kimg']['mean'], stats['Progress/tick']['mean']) == (1.3, 5), 'it counts on'


def train_here(*args):
    """Run train.py in this process, which has imported torch already."""
    command.main([*map(str, args)], standalone_mode=False)


def test_the_published_recipe_of_cg_gan(data, tmp_path):
    """First i-StyleGAN, then go on from its snapshot with the Jacobian term."""
    published = ['--gpus=1', '--cond=1', '--cond_mode=flow', '--i_dim=16', '--flow_blocks=2', '--flow_dim=10', '--flow_norm=1',
                 '--lambda_sparse=0.1', '--metrics=none', '--batch=500', '--cbase=64', '--cmax=4', '--workers=1', '--device=cpu']
    train_here(f'--outdir={tmp_path}', f'--data={data}', '--kimg=1', *published)
    name = 'tiny-cond-auto1-kimg{}-batch500{}-flow-nb2-dim10-styledim16-norm-sparse0.1'
    first = tmp_path / f'00000-{name.format(1, "")}'
    pkl = first / 'network-snapshot-000001.pkl'
    train_here(f'--outdir={tmp_path}', f'--data={data}', '--kimg=2', *published, '--lambda_imgsparse=0.1', '--perturb_norm=0.1',
               f'--resume={pkl}')
    second = tmp_path / f'00001-{name.format(2, "-resumecustom")}'

    stats = [[json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()] for run_dir in (first, second)]
    assert [[line['Progress/kimg']['mean'] for line in lines] for lines in stats] == [[0.5, 1.0], [2.0]]
    for line in stats[0] + stats[1]:
        assert line['Progress/style_dims']['mean'] == 16 and 0.9 < line['Loss/G/sparse']['mean'] <= 1
    assert stats[1][0]['Loss/G/sparse']['mean'] < 1, 'the importance that was learned, not a new one'
    assert not any('Loss/G/img_sparse' in line and line['Loss/G/img_sparse']['num'] for line in stats[0])
    assert all(line['Loss/G/img_sparse']['num'] == 500 and line['Loss/G/img_sparse']['mean'] > 0 for line in stats[1])

    before, after = (load_network_snapshot(str(path)) for path in (pkl, second / 'network-snapshot-000002.pkl'))
    assert after.cur_nimg == 2000 and after.G_ema.mapping.cond_mode == 'flow'
    for name in ('mapping.importance', 'mapping.flow.model.1.w_', 'mapping.flow_fc2.weight', 'synthesis.b16.conv1.weight'):
        assert not torch.equal(before.G.get_parameter(name), after.G.get_parameter(name)), name
    assert (second / 'fakes_init.png').read_bytes() == (first / 'fakes000001.png').read_bytes()
    assert PIL.Image.open(second / 'reals.png').size == (16 * 16, 16 * 16)


def test_metrics_of_every_snapshot_change_nothing_else(data, tmp_path, capsys):
    """One that this run can't have is left out."""
    digests = []
    for outdir, metrics in ((tmp_path / 'with', 'mcc5,jacobian'), (tmp_path / 'without', 'none')):
        train_here(f'--outdir={outdir}', f'--data={data}', '--method=i-stylegan', '--i_dim=4', '--z-dim=6', '--cbase=64',
                   '--cmax=8', '--batch=250', '--kimg=1', '--tick=0.25', '--snap=1', '--workers=1', '--device=cpu',
                   f'--metrics={metrics}')
        run_dir = next(outdir.iterdir())
        digests.append(hashlib.sha256((run_dir / 'network-snapshot-000001.pkl').read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    assert capsys.readouterr().out.count('Error: --metrics=mcc5 is left out from now on: ') == 1
    run_dir = next((tmp_path / 'with').iterdir())
    records = [json.loads(line) for line in (run_dir / 'metric-jacobian.jsonl').read_text().splitlines()]
    assert [r['snapshot_pkl'] for r in records] == ['network-snapshot-000000.pkl'] * 2 + ['network-snapshot-000001.pkl']
    assert records[0]['results'].keys() == records[-1]['results'].keys() and records[0]['results'] != records[-1]['results']
    assert (run_dir / 'jacobian-network-snapshot-000001.png').is_file() and not (run_dir / 'metric-translation.jsonl').exists()


def test_methods_together_train_resume_and_draw(data, tmp_path):
    """CG-GAN, CLR-GAN and CSDI in one run; then on from its snapshot; then samples and translations."""
    options = [f'--outdir={tmp_path}', f'--data={data}', '--method=cg-gan,clr-gan', '--lambda_orth=1', '--z-dim=16', '--i_dim=4',
               '--batch=100', '--cbase=64', '--cmax=64', '--workers=1', '--device=cpu']
    train_here(*options, '--kimg=1')
    first = next(tmp_path.glob('00000-*-flow-nb2-dim10-styledim4-norm-sparse0.1-clr5-0.5'))
    pkl = first / 'network-snapshot-000001.pkl'
    train_here(*options, '--kimg=2', f'--resume={pkl}')
    second = next(tmp_path.glob('00001-*'))
    for run_dir, kimg in ((first, 1), (second, 2)):
        last = json.loads((run_dir / 'stats.jsonl').read_text().splitlines()[-1])
        for name in ('G/sparse', 'G/img_sparse', 'G/orth', 'G/recon', 'D/latent'):
            assert last[f'Loss/{name}']['mean'] > 0 and last[f'Loss/{name}']['num'] > 0, name
        assert last['Loss/G/nonfinite_grads']['mean'] == last['Loss/D/nonfinite_grads']['mean'] == 0
        reals, pairs = (np.array(PIL.Image.open(run_dir / name)) for name in ('reals.png', f'recon{kimg:06d}.png'))
        assert reals.shape == pairs.shape
        for column in (0, 4):  # every other image of the picture is a real one
            np.testing.assert_array_equal(pairs[:, 32 * column:32 * column + 16], reals[:, 16 * column:16 * column + 16])
        assert not np.array_equal(pairs[:, 16:32], pairs[:, :16])
    network = f'--network={second / "network-snapshot-000002.pkl"}'
    for args in (['domains', network, '--seeds=0-3'], ['translate', network, f'--images={data}', '--max-images=4']):
        with pytest.raises(SystemExit) as caught:
            generate.main([*args, '--device=cpu', f'--outdir={tmp_path / args[0]}'])
        assert not caught.value.code
    assert (tmp_path / 'domains' / 'domains.png').is_file() and len(list((tmp_path / 'translate').glob('img*.png'))) == 4 * 2


@pytest.mark.slow
def test_greyscale_without_labels_trains(tmp_path):
    data = write_images(tmp_path / 'grey.zip', mode='L', labels=False)
    done = train('--outdir', tmp_path, '--data', data, '--kimg=1', '--mirror=1', '--cfg=cifar', '--freezed=2', '--batch-gpu=10',
                 *TINY)
    assert done.returncode == 0, done.stderr
    assert 'Num images:   48' in done.stdout
    run_dir = tmp_path / '00000-grey-mirror-cifar-kimg1-batch50-freezed2'
    assert PIL.Image.open(run_dir / 'fakes000001.png').mode == 'L'


# --- options and wrong input ---


def test_dry_run_prints_the_configuration_and_creates_nothing(data, tmp_path):
    done = train(f'--outdir={tmp_path}/runs', f'--data={data}', '--gpus=1', '--dry-run')
    assert done.returncode == 0 and done.stderr == ''
    assert not (tmp_path / 'runs').exists()
    text = done.stdout
    config, _ = json.JSONDecoder().raw_decode(text[text.index('{'):])
    assert config['run_dir'] == f'{tmp_path}/runs/00000-tiny-auto1' and config['total_kimg'] == 25000
    assert 'Image resolution:   16' in text and text.endswith('Dry run; exiting.\n')


def test_both_spellings_of_options(data, tmp_path):
    common = [f'--outdir={tmp_path}', f'--data={data}']
    hyphens = train(*common, '--batch-gpu=4', '--map-depth=3', '--allow-tf32=1', '--dry-run')
    underscores = train(*common, '--batch_gpu=4', '--map_depth=3', '--allow_tf32', '1', '--dry_run')
    assert hyphens.returncode == 0 and hyphens.stdout == underscores.stdout
    assert '"batch_gpu": 4' in hyphens.stdout and '"num_layers": 3' in hyphens.stdout and '"allow_tf32": true' in hyphens.stdout


def test_numbers_of_run_directories_go_up(data, tmp_path):
    for name in ('00007-x', '12-y', 'readme'):
        (tmp_path / name).mkdir()
    (tmp_path / '99999-file').write_text('')
    assert f'{tmp_path}/00013-tiny-auto1\n' in train(f'--outdir={tmp_path}', f'--data={data}', '-n').stdout


def zip_of(path, files):
    with zipfile.ZipFile(path, 'w') as z:
        for name, content in files.items():
            z.writestr(name, content)
    return path


def png(width, height, mode='RGB'):
    import io
    f = io.BytesIO()
    PIL.Image.new(mode, (width, height)).save(f, format='PNG')
    return f.getvalue()


BAD_DATA = {
    'missing': (lambda d: d / 'gone.zip', 2, ['gone.zip']),
    'empty': (lambda d: zip_of(d / 'empty.zip', {}), 2, ['empty.zip', 'image']),
    'no zip': (lambda d: shutil.copy(__file__, d / 'text.zip'), 2, ['text.zip']),
    'no image': (lambda d: zip_of(d / 'a.zip', {'0.png': png(16, 16), '1.png': b'text'}), 1, ['a.zip', '1.png']),
    'unequal': (lambda d: zip_of(d / 'a.zip', {'0.png': png(16, 16), '1.png': png(32, 32)}), 1, ['1.png', 'dataset_tool.py']),
    'mixed modes': (lambda d: zip_of(d / 'a.zip', {'0.png': png(16, 16), '1.png': png(16, 16, 'L')}), 1, ['1.png']),
    'odd size': (lambda d: zip_of(d / 'a.zip', {'0.png': png(18, 20)}), 2, ['a.zip', '20x24 or 20x20', 'dataset_tool.py']),
    'bad json': (lambda d: zip_of(d / 'a.zip', {'0.png': png(16, 16), 'dataset.json': '{'}), 1, ['dataset.json']),
}


@pytest.mark.parametrize('case', BAD_DATA)
def test_wrong_data_is_one_line_and_leaves_nothing(case, tmp_path):
    make, status, words = BAD_DATA[case]
    done = train(f'--outdir={tmp_path}/runs', '--data', make(tmp_path), *TINY)
    assert_refused(done, status, words)
    assert not (tmp_path / 'runs').exists()


def assert_refused(done, status, words):
    assert done.returncode == status, done.stderr
    assert 'Traceback' not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith('Error: ')]
    assert len(errors) == 1 and all(word in errors[0] for word in words), done.stderr


@pytest.mark.parametrize('args, words', [
    (['--batch=0'], ['--batch']), (['--kimg=-1'], ['--kimg']), (['--gamma=-0.1'], ['--gamma']), (['--seed=-2'], ['--seed']),
    (['--snap=x'], ['--snap']), (['--cfg=best'], ['--cfg']), (['--workers=0'], ['--workers']), (['--no-such=1'], ['--no-such']),
    (['--subset=25'], ['--subset', '24']), (['--cond=maybe'], ['--cond']), (['--gpus=5', '--batch=32'], ['--gpus']),
    (['--batch=6', '--batch-gpu=4'], ['--batch', '--batch-gpu']),
])
def test_wrong_options_are_one_line_with_status_2(args, words, data, tmp_path):
    assert_refused(train(f'--outdir={tmp_path}/runs', f'--data={data}', *args), 2, words)
    assert not (tmp_path / 'runs').exists()


def test_conditional_training_needs_labels(tmp_path):
    data = write_images(tmp_path / 'plain.zip', labels=False)
    assert_refused(train(f'--outdir={tmp_path}/runs', f'--data={data}', '--cond=1'), 2, ['--cond', 'dataset.json'])


@pytest.mark.parametrize('case', ['missing', 'text', 'truncated', 'other labels', 'finished'])
def test_a_snapshot_that_cannot_be_resumed(case, run, data, tmp_path):
    good = run[1] / 'network-snapshot-000001.pkl'
    pkl, cond, status, words = tmp_path / f'{case}.pkl', 1, 1, [f'{case}.pkl']
    if case == 'text':
        pkl.write_text('no pickle')
    elif case == 'truncated':
        pkl.write_bytes(good.read_bytes()[:-1000])
    elif case == 'other labels':
        shutil.copy(good, pkl)
        cond = 0
    elif case == 'finished':
        shutil.copy(good, pkl)
        status, words = 2, ['--kimg=1', '--resume']
    done = train(f'--outdir={tmp_path}/runs', f'--data={data}', f'--cond={cond}', '--kimg=1', f'--resume={pkl}', *TINY)
    assert_refused(done, status, words)
    assert not (tmp_path / 'runs').exists()


def test_an_image_damaged_inside_ends_the_run_with_its_name(tmp_path):
    whole = png(16, 16)
    data = zip_of(tmp_path / 'a.zip', {'0.png': whole, '1.png': whole[:50] + b'\0' * (len(whole) - 50)})
    done = train(f'--outdir={tmp_path}/runs', f'--data={data}', '--kimg=1', *TINY)
    assert_refused(done, 1, ['a.zip', '1.png'])
    assert not (tmp_path / 'runs').exists() or not list((tmp_path / 'runs').rglob('*.pkl'))


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has the device that must be missing')
def test_a_device_that_is_not_there(data, tmp_path):
    done = train(f'--outdir={tmp_path}/runs', f'--data={data}', '--device=cuda')
    assert_refused(done, 2, ['--device=cuda'])
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('command, name', [
    ('--gpus=1', 'auto1'),
    ('--cfg=paper512 --mirror=1 --aug=ada --target=0.7 --augpipe=bgcfnc --gamma=10 --snap=10',
     'mirror-paper512-gamma10-ada-target0.7-bgcfnc'),
    ('--gpus=8 --cfg=stylegan2 --mirror=1 --aug=noaug', 'mirror-stylegan2-noaug'),
    ('--gpus=8 --cfg=paper256 --mirror=1 --kimg=100000 --aug=ada --target=0.5', 'mirror-paper256-kimg100000-ada-target0.5'),
    ('--gpus=2 --cfg=cifar --cond=1 --aug=ada --target=0.6', 'cond-cifar-ada-target0.6'),
    ('--resume=ffhq256 --snap=10', 'auto1-resumeffhq256'),
    ('--aug=fixed --p=0.25 --augpipe=bgcf --subset=12 --freezed=10', 'subset12-auto1-fixed-p0.25-bgcf-freezed10'),
    ('--fp32=true --nhwc=yes --nobench=on --allow_tf32=1 --workers=2 --seed=3 --metrics=none --batch=16', 'auto1-batch16'),
    ('--gpus=4 --cond=1 --cond_mode=flow --flow_norm=1 --i_dim=256 --lambda_sparse=0.1',
     'cond-auto4-flow-nb2-dim10-styledim256-norm-sparse0.1'),
    ('--gpus=4 --cond=1 --cond_mode=flow --flow_norm=1 --i_dim=256 --lambda_sparse=0.1 --lambda_imgsparse=0.1 '
     '--perturb_norm=0.1',  # and --resume=network-snapshot-019356.pkl, which a dry run would read: test_train_inputs.py
     'cond-auto4-flow-nb2-dim10-styledim256-norm-sparse0.1'),
    ('--gpus=8 --cfg=paper256 --method=clr-gan --mirror=1', 'mirror-paper256-clr5-0.5'),
])
def test_published_commands_can_be_looked_at_first(tmp_path, command, name):
    data = write_images(tmp_path / 'tiny.zip', size=32)
    out = train(f'--outdir={tmp_path / "runs"}', f'--data={data}', *command.split(), '-n')
    assert out.returncode == 0, out.stderr
    config = json.loads(out.stdout.partition('Training options:\n')[2].partition('\nOutput directory')[0])
    assert config['run_dir'] == str(tmp_path / 'runs' / f'00000-tiny-{name}') and out.stdout.endswith('Dry run; exiting.\n')
    assert f'Number of GPUs:     {config["num_gpus"]}\n' in out.stdout and not (tmp_path / 'runs').exists()
