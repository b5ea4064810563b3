"""calc_metrics.py: what it prints and where it puts results, where the dataset comes from, and its errors in one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers.programs import run_program
from helpers.shapes import write_dataset

import calc_metrics
from dnnlib import progress
from dnnlib.util import format_time
from metrics import registry
from metrics.context import Result
from metrics.domains import domains
from training.networks import Discriminator, Generator
from training.snapshots.file import save_network_snapshot

ROOT = Path(__file__).parents[2]
RECORD = ['results', 'metric', 'total_time', 'total_time_str', 'num_gpus', 'snapshot_pkl', 'timestamp']


def save_network(path, c_dim=2, training_set_kwargs=None):
    torch.manual_seed(0)
    common = dict(c_dim=c_dim, img_resolution=16, img_channels=3)
    mapping = dict(num_layers=1, cond_mode='flow' if c_dim else 'concat', i_dim=3)
    G = Generator(z_dim=8, w_dim=8, mapping_kwargs=mapping, synthesis_kwargs=dict(channel_base=64), **common)
    D = Discriminator(channel_base=64, **common)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_network_snapshot(path, dict(G=G, G_ema=G, D=D), training_set_kwargs or {}, 0)
    return path


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('data') / 'shapes.zip', count=60)


@pytest.fixture
def network(tmp_path, data):
    """A snapshot in a run directory, trained on `data`."""
    kwargs = dict(class_name='training.dataset.ImageFolderDataset', path=data, max_size=60, resolution=16, use_labels=True)
    path = save_network(tmp_path / 'runs' / '00000-x' / 'network-snapshot-000012.pkl', training_set_kwargs=kwargs)
    (path.parent / 'training_options.json').write_text('{}')
    return path


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(*args): the command as a program, in this process. Gives (exit status, stdout lines, stderr lines)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, 'LINE_SECONDS', float('inf'))  # no progress, on however slow a machine

    def call(*args):
        status, *texts = run_program(calc_metrics.main, '--device=cpu', *args)
        return status, *(text.splitlines() for text in texts)

    return call


@pytest.fixture
def fast(monkeypatch):
    """Replaces the metrics by quick ones: 'plain' tells the seed, 'picky' needs data and tells how much there is."""

    def plain(context, odd):
        return Result({'seed': context.seed, 'odd': odd}, notes=('Note this.',))

    def picky(context):
        return Result({'images': len(context.dataset), 'labels': context.dataset.label_dim})

    monkeypatch.setitem(sys.modules, 'metrics.fake', type(sys)('metrics.fake'))
    sys.modules['metrics.fake'].__dict__.update(plain=plain, picky=picky)
    monkeypatch.setattr(registry, 'METRICS', {
        'plain': registry.Metric('metrics.fake:plain', needs_data=False, kwargs=dict(odd=float('nan'))),
        'picky': registry.Metric('metrics.fake:picky', needs_data=True)})


def files(folder):
    return sorted(p.name for p in Path(folder).iterdir())


# Results.

def test_results_go_into_the_run_directory(network, run):
    status, out, err = run(f'--network={network}', '--metrics=jacobian,domains')
    assert (status, err) == (0, [])
    assert out[:2] == [f'Loading network from "{network}"...', 'Calculating jacobian...'] and out[3] == 'Calculating domains...'
    assert files(network.parent) == ['domains-network-snapshot-000012.png', 'jacobian-network-snapshot-000012.png',
                                     'metric-domains.jsonl', 'metric-jacobian.jsonl', network.name, 'training_options.json']
    for line, name, key in [(out[2], 'jacobian', 'style_l1'), (out[4], 'domains', 'content_consistency')]:
        assert (network.parent / f'metric-{name}.jsonl').read_text() == line + '\n'
        record = json.loads(line)
        assert list(record) == RECORD and record['metric'] == name and record['num_gpus'] == 1
        assert record['snapshot_pkl'] == network.name and record['results'][key] >= 0 and record['total_time'] > 0
        assert record['total_time_str'] == format_time(record['total_time']) and record['timestamp'] > 1.7e9
        with PIL.Image.open(network.parent / f'{name}-network-snapshot-000012.png') as image:
            pixels = np.array(image.convert('RGB'))
        assert min(pixels.shape[:2]) > 300 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10
    assert json.loads(out[2])['results']['style_dims'] == 3


def test_several_networks_are_compared_in_a_table(network, run):
    later = save_network(network.parents[1] / '00001-y' / network.name)
    with torch.no_grad():
        G = calc_metrics.load_network_snapshot(str(later)).G
        G.mapping.importance[0, 0] = 0
        save_network_snapshot(later, dict(G=G, G_ema=G, D=Discriminator(2, 16, 3, channel_base=64)), {}, 0)
    status, out, err = run(f'--network={network}', f'--network={later}', '--metrics=jacobian', '--outdir=out', '--verbose=0')
    assert (status, err) == (0, [])
    records = [json.loads(line) for line in out[:2]]
    assert [record['results']['style_dims'] for record in records] == [3, 2]
    table = [line.split() for line in out[2:] if line]
    assert table[0] == ['00000-x-network-snapshot-000012', '00001-y-network-snapshot-000012']
    assert table[1] == ['style_dims', '3', '2']
    assert table[2] == ['style_l1', *(f'{record["results"]["style_l1"]:.4g}' for record in records)]
    assert files('out') == ['jacobian-00000-x-network-snapshot-000012.png', 'jacobian-00001-y-network-snapshot-000012.png',
                            'metric-jacobian.jsonl']


def test_classifiers_are_trained_once_for_networks_with_the_same_data(network, data, run, monkeypatch):
    calls = []
    train = domains.train_judges
    monkeypatch.setattr(domains, 'train_judges', lambda *args: calls.append(args) or train(*args))
    alone = [json.loads(run(f'--network={network}', '--metrics=domains', '--verbose=0')[1][0])['results'] for _ in range(2)]
    assert len(calls) == 2
    copy = shutil.copy(network, network.with_name('copy.pkl'))
    out = run(f'--network={network}', f'--network={copy}', '--metrics=domains', f'--data={data}', '--verbose=0')[1]
    assert len(calls) == 3 and [json.loads(line)['results'] for line in out[:2]] == alone


def test_results_are_appended(network, run, fast):
    outs = [run(f'--network={network}', '--metrics=plain', f'--seed={seed}', '--verbose=0')[1] for seed in (0, 7)]
    assert [out[0] for out in outs] == ['Note this.'] * 2 and [len(out) for out in outs] == [2, 2]
    lines = (network.parent / 'metric-plain.jsonl').read_text().splitlines()
    assert lines == [out[1] for out in outs] and [json.loads(line)['results']['seed'] for line in lines] == [0, 7]
    assert 'plain-network-snapshot-000012.png' not in files(network.parent)  # there is no figure of it


def test_what_is_not_finite_is_null(network, run, fast):
    assert json.loads(run(f'--network={network}', '--metrics=plain')[1][-1])['results'] == {'seed': 0, 'odd': None}


def test_outdir_takes_the_results(network, run, fast):
    before = files(network.parent)
    status, _, _ = run(f'--network={network}', '--metrics=plain', '--outdir=new/out')
    record = json.loads(Path('new/out/metric-plain.jsonl').read_text())
    assert status == 0 and record['snapshot_pkl'] == '../../runs/00000-x/network-snapshot-000012.pkl'
    assert files(network.parent) == before


@pytest.mark.parametrize('as_url', [False, True])
def test_outside_a_run_directory_results_are_only_printed(network, run, fast, as_url):
    if not as_url:
        (network.parent / 'training_options.json').unlink()
    before = files(network.parent)
    name = network.as_uri() if as_url else network
    status, out, _ = run(f'--network={name}', '--metrics=plain')
    assert status == 0 and json.loads(out[-1])['snapshot_pkl'] == str(name) and files(network.parent) == before
    assert any('--outdir' in line for line in out) and files('.') == ['runs']
    assert '--outdir' not in ''.join(run(f'--network={name}', '--metrics=plain', '--verbose=0')[1])


def test_a_figure_is_named_after_the_file_of_a_url(network, run):
    status, out, _ = run(f'--network={network.as_uri()}', '--metrics=jacobian', '--outdir=out')
    assert status == 0 and files('out') == ['jacobian-network-snapshot-000012.png', 'metric-jacobian.jsonl']
    assert json.loads(out[-1])['snapshot_pkl'] == network.as_uri()


def test_metrics_are_computed_once_each_in_the_order_given(network, run, fast):
    _, out, _ = run(f'--network={network}', '--metrics=picky, plain,picky', '--verbose=no')
    assert [json.loads(line)['metric'] for line in out if line[0] == '{'] == ['picky', 'plain']
    for nothing in ('none', 'None', ''):
        assert run(f'--network={network}', f'--metrics={nothing}', '--verbose=no') == (0, [], [])


# The dataset.

def test_the_dataset_is_that_of_the_training(network, run, fast, data):
    assert json.loads(run(f'--network={network}', '--metrics=picky')[1][-1])['results'] == {'images': 60, 'labels': 2}
    kwargs = dict(path=data, max_size=25, random_seed=3, xflip=True)
    part = save_network(network.with_name('part.pkl'), training_set_kwargs=kwargs)
    for options, count in [([], 50), (['--mirror=0'], 25), (['--mirror=1'], 50)]:
        assert json.loads(run(f'--network={part}', '--metrics=picky', *options)[1][-1])['results']['images'] == count
    assert json.loads(run(f'--network={part}', '--metrics=picky', f'--data={data}')[1][-1])['results']['images'] == 60


@pytest.mark.parametrize('kwargs', [{}, dict(path='gone.zip'), dict(path=3), dict(path=None)])
def test_a_dataset_that_is_gone_must_be_given(run, fast, kwargs, tmp_path, data):
    network = save_network(tmp_path / 'x.pkl', training_set_kwargs=kwargs)
    status, _, err = run(f'--network={network}', '--metrics=plain,picky', '--outdir=out')
    assert (status, err) == (2, ['Error: Could not look up dataset options; please specify --data'])
    assert not Path('out').exists()
    assert run(f'--network={network}', '--metrics=picky', f'--data={data}')[0] == 0
    assert run(f'--network={network}', '--metrics=plain')[0] == 0  # needs no data


def test_a_dataset_that_cannot_be_read_is_named(network, run, fast):
    Path('empty').mkdir()
    for name, message in [('none.zip', 'none.zip'), ('empty', 'No image files found')]:
        status, _, err = run(f'--network={network}', '--metrics=picky', f'--data={name}')
        assert status == 2 and len(err) == 1 and err[0].startswith('Error: --data: ') and message in err[0]


# Errors.

def test_unknown_metrics_are_refused_before_anything_is_read(run):
    for value in ('fid50k_ful', 'jacobian,', 'jacobian;domains', 'Jacobian'):
        status, out, err = run('--network=gone.pkl', f'--metrics={value}')
        assert (status, out, len(err)) == (2, [], 1) and err[0].startswith(
            'Error: --metrics can only contain the following values: fid50k_full, kid50k_full, pr50k3_full, ppl2_wend, is50k, ')


def test_a_metric_that_does_not_suit_the_network_says_so(run, tmp_path, data):
    network = save_network(tmp_path / 'x.pkl', c_dim=0)
    status, _, err = run(f'--network={network}', '--metrics=domains', f'--data={data}')
    assert status == 1 and err == ['Error: metrics of domains need a conditional network with at least 2 domains; '
                                   'train with --cond=1']


def test_wrong_options_are_refused(network, run, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    args = [f'--network={network}', '--metrics=jacobian']
    for wrong in ('--seed=-1', '--device=cuda', '--device=tpu', '--verbose=perhaps', '--none-such=1'):
        assert run(*args, wrong)[0] == 2, wrong
    status, _, err = run(args[1])
    assert (status, err) == (2, ['Error: --network says what to evaluate, or --images in its place; give '
                                 '--network=<snapshot or run directory>'])
    status, _, err = run('--network=gone.pkl', args[1])
    assert (status, err) == (2, ['Error: --network must point to a file or URL, or to a run directory: there is no gone.pkl'])
    for wrong, message in [('--gpus=0', '--gpus must be at least 1'), ('--batch=0', '--batch must be at least 1')]:
        assert run(*args, wrong) == (2, [], [f'Error: {message}'])


def test_a_folder_that_cannot_be_written_is_named(network, run, fast):
    Path('file').write_text('')
    for outdir in ('file', 'file/out'):
        status, _, err = run(f'--network={network}', '--metrics=plain', f'--outdir={outdir}')
        assert status == 1 and len(err) == 1 and err[0].startswith(f'Error: --outdir: cannot create {outdir} (')
    (network.parent / 'metric-plain.jsonl').mkdir()
    status, _, err = run(f'--network={network}', '--metrics=plain')
    assert status == 1 and len(err) == 1 and 'metric-plain.jsonl: cannot be written (' in err[0]


# As a program.

def test_a_real_process_prints_one_line(network, tmp_path):
    args = ['--network', network, '--metrics', 'jacobian', '--verbose=0', '--device=cpu', '--outdir', tmp_path / 'out']
    done = subprocess.run([sys.executable, ROOT / 'calc_metrics.py', *map(str, args)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '') and done.stdout.count('\n') == 1
    assert json.loads(done.stdout)['metric'] == 'jacobian' and (tmp_path / 'out' / 'metric-jacobian.jsonl').exists()


def test_names_of_metrics_are_known_without_torch_and_matplotlib():
    code = ('import sys, metrics; assert {"jacobian", "domains", "translation"} <= set(metrics.METRICS);'
            'assert not {"torch", "matplotlib"} & set(sys.modules);'
            'import metrics.domains.jacobian, metrics.domains.domains; assert "matplotlib" not in sys.modules')
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
