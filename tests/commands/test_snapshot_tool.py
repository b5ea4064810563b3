"""python -m training.snapshot: info and export, as programs; every other command takes what is exported."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import drawing
from helpers.programs import run_program
from helpers.shapes import write_dataset

import calc_metrics
from training.sampling.drawing import render, seed_latent
from training.snapshots.file import load_network_snapshot, save_network_snapshot
from training.snapshots.published import module_text
from training.snapshots.tool import export, info, main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
    """A run directory with a conditional i-StyleGAN at 12.345 kimg and all that a run leaves beside it."""
    folder = tmp_path_factory.mktemp('runs') / '00000-x'
    folder.mkdir()
    data = write_dataset(folder.parent / 'shapes.zip', count=6)
    kwargs = dict(class_name='training.dataset.ImageFolderDataset', path=data, use_labels=True, resolution=16)
    network = drawing.save_network(folder / 'network.pkl', 2, cond_mode='flow', i_dim=3, importance=[1.0, 0.5, 0.05])
    networks = load_network_snapshot(str(network))
    network.unlink()
    save_network_snapshot(folder / 'network-snapshot-000012.pkl', networks, kwargs, 12_345)
    terms = {'G/logistic': {}, 'D/r1': {'weight': 5, 'interval': 16}, 'G/img_sparse': {'weight': 0.1},
             'D/latent': {'weight': 5.0}, 'G/path_length': {'weight': 0.0}}
    (folder / 'training_options.json').write_text(json.dumps({'training_set_kwargs': kwargs, 'loss_kwargs': {'terms': terms}}))
    lines = [{'results': {'fid': 1.0}, 'snapshot_pkl': 'network-snapshot-000012.pkl'},
             {'results': {'fid': 2.5, 'odd': None}, 'snapshot_pkl': 'network-snapshot-000012.pkl'},
             {'results': {'fid': 9.0}, 'snapshot_pkl': 'network-snapshot-000024.pkl'}, []]
    (folder / 'metric-fid.jsonl').write_text('\n'.join(map(json.dumps, lines)) + '\n{"resu')
    ticks = [(8.0, 0.1), (12.345, 0.25), (16.0, 0.3)]
    (folder / 'stats.jsonl').write_text('\n'.join(
        json.dumps({'Progress/kimg': {'num': 1, 'mean': kimg, 'std': 0}, 'Progress/augment': {'mean': p}}) for kimg, p in ticks))
    return folder


@pytest.fixture
def network(run_dir):
    return run_dir / 'network-snapshot-000012.pkl'


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(*args): python -m training.snapshot as a program, in this process. Gives (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return lambda *args: run_program(main, *args)


def refused(result, status, *texts):
    assert (result[0], result[1]) == (status, '')
    assert all(text in result[2].splitlines()[-1] for text in texts), result[2]


def facts(run, network):
    status, out, err = run('info', '--json', f'--network={network}')
    assert (status, err) == (0, '') and out.count('\n') == 1
    return json.loads(out)


# info.

def test_info_knows_what_the_run_directory_knows(run, network):
    found = facts(run, network)
    expected = dict(
        method='cg-gan,clr-gan', kimg=12.345, resolution=16, channels=3, labels=2, label_names=['red', 'green'], z_dim=8, w_dim=8,
        num_ws=6, style_dims=3, style_dims_alive=2, loss_terms={'G/logistic': 1, 'D/r1': 5, 'G/img_sparse': 0.1, 'D/latent': 5},
        augment_p=0.25, metrics={'fid': {'fid': 2.5, 'odd': None}}, bytes=network.stat().st_size)
    assert {key: found[key] for key in expected} == expected
    nets = load_network_snapshot(str(network))
    assert found['parameters_G'] == sum(p.numel() for p in nets.G_ema.parameters())
    assert found['parameters_D'] == sum(p.numel() for p in nets.D.parameters())


def test_info_prints_a_table_and_is_the_default(run, network):
    status, out, err = run('info', f'--network={network}')
    assert (status, err) == (0, '') and run(f'--network={network}') == (0, out, '')
    lines = dict(line.split('  ', 1) for line in out.splitlines())
    lines = {key: value.strip() for key, value in lines.items()}
    assert lines['method'] == 'cg-gan,clr-gan' and lines['labels'] == '2: red, green' and lines['images'] == '16x16, RGB'
    assert lines['trained for'] == '12.345 kimg' and lines['style'] == '2 of 3 coordinates of z alive'
    assert lines['metric fid'] == 'fid 2.5, odd -' and lines['augmentation'] == 'p = 0.250'
    assert lines['loss terms'] == 'G/logistic 1, D/r1 5, G/img_sparse 0.1, D/latent 5'


@pytest.mark.parametrize('c_dim, mapping, method', [(0, {}, 'stylegan2'), (2, dict(cond_mode='flow', i_dim=2), 'i-stylegan')])
def test_info_of_a_lone_file_says_what_it_does_not_know(run, tmp_path, c_dim, mapping, method):
    path = drawing.save_network(tmp_path / 'x.pkl', c_dim, **mapping)
    found = facts(run, path)
    assert found['method'] == f'{method} (by its layers; the loss terms are not known)'
    assert (found['loss_terms'], found['metrics'], found['augment_p'], found['label_names']) == ({}, {}, None, None)
    assert '\nloss terms' not in run(f'--network={path}')[1]


@pytest.mark.parametrize('text', ['', '[]', '{"loss_kwargs": 5, "training_set_kwargs": []}',
                                  '{"loss_kwargs": {"terms": {"a": 1}}}', '{"training_set_kwargs": {"path": "x.pkl"}}'])
def test_info_takes_a_run_directory_that_was_meddled_with(run, tmp_path, text):
    path = drawing.save_network(tmp_path / 'x.pkl', 0)
    for name in ('training_options.json', 'stats.jsonl', 'metric-x.jsonl'):
        (tmp_path / name).write_text(text)
    assert facts(run, path)['resolution'] == 16 and run(f'--network={path}')[0] == 0


def test_frozen_layers_count_as_parameters(run, tmp_path):
    G = drawing.load(drawing.save_network(tmp_path / 'x.pkl', 0))
    from training.networks import Discriminator
    kwargs = dict(c_dim=0, img_resolution=16, img_channels=3, channel_base=64)
    D, frozen = Discriminator(**kwargs), Discriminator(**kwargs, block_kwargs=dict(freeze_layers=3))
    save_network_snapshot(tmp_path / 'y.pkl', dict(G=G, G_ema=G, D=frozen), {}, 0)
    assert facts(run, tmp_path / 'y.pkl')['parameters_D'] == sum(p.numel() for p in D.parameters())


def test_what_cannot_be_read_is_named(run, tmp_path):
    (tmp_path / 'x.pkl').write_bytes(b'hello')
    refused(run('info', '--network=x.pkl'), 1, 'Error: x.pkl: not a readable network snapshot')
    refused(run('info', '--network=gone.pkl'), 1, 'gone.pkl: no such file')


# export to a hub.

@pytest.fixture(scope='module')
def exported(run_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp('hub') / 'some faces'
    export.export_folder(str(run_dir / 'network-snapshot-000012.pkl'), str(folder), None, 'cc-by-4.0', torch.device('cpu'))
    return folder


def test_the_folder_is_complete(exported, network):
    assert sorted(path.name for path in exported.iterdir()) == ['README.md', 'config.json', 'model.safetensors', 'samples.png']
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]
    config = json.loads((exported / 'config.json').read_text())
    assert (config['method'], config['kimg'], config['label_names']) == ('cg-gan,clr-gan', 12.345, ['red', 'green'])
    assert config['training_set_kwargs']['path'] == 'shapes.zip'
    assert not any(str(network.parent.parent).encode() in path.read_bytes() for path in exported.iterdir())


def test_the_card_tells_what_it_is_and_how_to_use_it(exported):
    _, front, body = (exported / 'README.md').read_text().split('---\n', 2)
    assert front.splitlines()[0] == 'license: "cc-by-4.0"' and 'safetensors' in front
    assert '\n# some faces\n' in body and '![Samples](samples.png)' in body and '| Method | cg-gan,clr-gan |' in body
    assert '| Labels | 2 labels: 0 red, 1 green |' in body and '| Metric fid | fid 2.5 |' in body
    assert "--network='some faces' --seeds=0-15 --trunc=0.7 --class=0" in body


def test_the_python_of_the_card_runs(exported, monkeypatch):
    code = (exported / 'README.md').read_text().split('```python\n')[1].split('```')[0]
    monkeypatch.chdir(exported.parent)
    names = {}
    exec(code, names)
    assert names['images'].shape == (1, 3, 16, 16)


def test_the_samples_show_each_label_in_a_row(exported, network):
    with PIL.Image.open(exported / 'samples.png') as image:
        pixels = np.array(image)
    assert pixels.shape == (2 * 16, 8 * 16, 3)
    G, where = drawing.load(network), torch.device('cpu')
    for label, row in enumerate(np.split(pixels, 2)):
        ws = G.mapping(seed_latent(G, 7, where), torch.eye(2)[[label]])
        assert np.array_equal(row[:, -16:], render(G, ws, 'const', [''])[0])


def test_large_images_make_fewer_samples(monkeypatch, network):
    monkeypatch.setattr(export, 'LARGEST', 48)
    (pixels := PIL.Image.open(export.io.BytesIO(export.samples(drawing.load(network), torch.device('cpu'))))).load()
    assert pixels.size == (3 * 16, 2 * 16)


def test_info_reads_it(run, exported, network):
    found, original = facts(run, exported), facts(run, network)
    assert found.pop('parameters_D') is None and found['origin'] == 'exported generator of this project'
    assert found['dataset']['path'] == 'shapes.zip'
    for key in ('method', 'kimg', 'label_names', 'parameters_G', 'loss_terms', 'metrics', 'style_dims_alive'):
        assert found[key] == original[key]
    assert run(f'--network={exported}')[0] == 0


@pytest.mark.parametrize('value', [5, [], ['x'], {'a': 5}, {'a': {'weight': 'x'}}, 'text', None])
def test_info_takes_facts_that_were_meddled_with(run, exported, tmp_path, value):
    (tmp_path / 'model.safetensors').write_bytes((exported / 'model.safetensors').read_bytes())
    config = json.loads((exported / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps({**config, 'loss_terms': value, 'label_names': value, 'metrics': value,
                                                      'training_set_kwargs': value}))
    assert run(f'--network={tmp_path}')[0] == 0


def test_the_other_commands_take_it(exported, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (['images', '--seeds=0-1', '--class=1'], ['domains', '--seeds=0-1']):
        made = [drawing.draw(*command[:1], source, *command[1:], outdir=f'out{i}{command[0]}')
                for i, source in enumerate((network, exported, exported / 'model.safetensors'))]
        assert all(made[0].keys() == m.keys() and all(np.array_equal(made[0][k], m[k]) for k in m) for m in made)
    drawing.assert_refused(1, 'which is the discriminator, is missing', 'translate', exported, '--images=x.zip', '--by=encoder')
    status, out, err = run_program(calc_metrics.main, '--metrics=none', f'--network={exported}', '--device=cpu')
    assert (status, err) == (0, '') and 'Loading network' in out


def test_names_of_labels_can_come_from_elsewhere(run, network, tmp_path):
    lone = tmp_path / 'lone.pkl'
    lone.write_bytes(network.read_bytes())
    assert run('export', f'--network={lone}', '--outdir=a', '--device=cpu')[0] == 0
    assert json.loads((tmp_path / 'a/config.json').read_text())['label_names'] is None
    data = network.parent.parent / 'shapes.zip'
    assert run('export', f'--network={lone}', '--outdir=b', f'--data={data}', '--device=cpu') == (0, 'Wrote b\n', '')
    assert json.loads((tmp_path / 'b/config.json').read_text())['label_names'] == ['red', 'green']
    other = drawing.save_network('other.pkl', 3)
    refused(run('export', f'--network={other}', '--outdir=c', f'--data={data}'), 2, 'names 2 labels, but the network has 3')
    assert not (tmp_path / 'c').exists()


def test_an_export_can_be_exported(run, exported, tmp_path):
    assert run('export', f'--network={exported}', '--outdir=again', '--device=cpu')[0] == 0
    for name in ('model.safetensors', 'config.json', 'samples.png'):
        assert (tmp_path / 'again' / name).read_bytes() == (exported / name).read_bytes()


def test_a_folder_that_is_in_use_is_left_alone(run, network, tmp_path):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/x').touch()
    refused(run('export', f'--network={network}', '--outdir=full'), 2, '--outdir: full is not empty')
    refused(run('export', f'--network={network}', '--outdir=full/x'), 1, '--outdir: cannot create full/x (Not a directory)')
    refused(run('export', f'--network={network}', '--outdir=x.zip'), 2, '--outdir: x.zip is no name for a folder')
    refused(run('export', '--network=gone.pkl', '--outdir=new'), 1, 'gone.pkl')
    assert [path.name for path in tmp_path.iterdir()] == ['full']


def test_a_failure_leaves_no_folder(run, network, tmp_path, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, 'samples', fail)
    with pytest.raises(KeyboardInterrupt):
        export.export_folder(str(network), str(tmp_path / 'new'), None, None, torch.device('cpu'))
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_unknown_age_is_exported(run, network, tmp_path, monkeypatch):
    snapshot = load_network_snapshot(str(network))
    snapshot.cur_nimg = None  # as of published pickles
    for module in ('snapshots.tool.export', 'snapshots.facts'):
        monkeypatch.setattr(f'training.{module}.load_network_snapshot', lambda *args, **kwargs: snapshot)
    assert facts(run, network)['kimg'] is None and 'trained for' not in run(f'--network={network}')[1]
    assert run('export', f'--network={network}', '--outdir=new', '--device=cpu')[0] == 0
    monkeypatch.undo()
    assert '| Trained for | not known |' in (tmp_path / 'new/README.md').read_text()
    assert load_network_snapshot(str(tmp_path / 'new'), only=('G_ema',)).cur_nimg is None


# export for the published code.

def test_a_pickle_for_the_published_code_is_written(run, tmp_path):
    network = drawing.save_network('x.pkl', 0, training_set_kwargs=dict(path='/home/me/data.zip', resolution=16))
    status, out, _ = run('export', '--to=stylegan2-ada', f'--network={network}', '--outdir=out')
    path = tmp_path / 'out' / 'stylegan2-ada-000000.pkl'
    assert (status, out) == (0, 'Wrote out/stylegan2-ada-000000.pkl\n') and list((tmp_path / 'out').iterdir()) == [path]
    assert module_text.source().encode() in path.read_bytes() and b'/home/me' not in path.read_bytes()


def test_i_stylegan_is_exported_to_a_pickle_too(run, network, tmp_path):
    assert run('export', '--to=stylegan2-ada', f'--network={network}', '--outdir=out')[0] == 0
    (path,) = (tmp_path / 'out').iterdir()
    made, original = load_network_snapshot(str(path)), load_network_snapshot(str(network))
    z, c = torch.randn(2, made.G.z_dim), torch.eye(2)
    assert torch.equal(*(each.G_ema(z, c, noise_mode='const') for each in (made, original)))
    assert made.origin == 'exported pickle of this project' and made.G_ema.mapping.cond_mode == 'flow'


def test_what_the_published_programs_cannot_open_is_refused(run, network, exported, tmp_path):
    refused(run('export', '--to=stylegan2-ada', f'--network={exported}', '--outdir=out'), 1, 'without G and D')
    refused(run('export', '--to=stylegan2-ada', f'--network={network}', '--outdir=out', '--license=mit'), 2,
            '--license has no effect')
    assert list(tmp_path.iterdir()) == []


# As a program.

def test_a_small_snapshot_is_rounded_has_one_generator_and_names_no_paths(run, network, run_dir, tmp_path):
    status, out, err = run('export', '--to=small', f'--network={network}', '--outdir=small/net')
    path = tmp_path / 'small/net/network-snapshot-000012.pkl'
    assert (status, out) == (0, 'Wrote small/net/network-snapshot-000012.pkl\n'), err
    assert path.stat().st_size < 0.4 * network.stat().st_size and str(run_dir.parent).encode() not in path.read_bytes()
    before, after = load_network_snapshot(str(network)), load_network_snapshot(str(path))
    assert after.cur_nimg == 12_345 and after.training_set_kwargs['path'] == 'shapes.zip'
    for name, origin in (('G', 'G_ema'), ('D', 'D'), ('G_ema', 'G_ema')):
        for key, value in before[origin].state_dict().items():
            assert torch.equal(after[name].state_dict()[key], value.half().to(value.dtype)), key
    status, _, err = run('export', '--to=small', f'--network={network}', '--outdir=small/net')
    assert status == 2 and 'is there already' in err
    status, _, err = run('export', '--to=small', '--license=mit', f'--network={network}', '--outdir=other')
    assert status == 2 and '--license has no effect with --to=small' in err


def test_the_module_is_the_program(network):
    done = subprocess.run([sys.executable, '-m', 'training.snapshot', f'--network={network}'], cwd=ROOT, capture_output=True,
                          text=True)
    assert (done.returncode, done.stderr) == (0, '') and 'cg-gan,clr-gan' in done.stdout


@pytest.mark.parametrize('command', [main, info.command, export.command])
def test_everything_explains_itself_with_examples(command):
    status, out, _ = run_program(command, '--help')
    assert status == 0 and 'python -m training.snapshot' in out
