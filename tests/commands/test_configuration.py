"""train.py with options in files, and from networks of another shape, as a user meets it."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from helpers.programs import run_program

import train
from training.presets import CFG_NAMES
from training.snapshots.file import load_network_snapshot

TINY = ('device: cpu\ncbase: 64\ncmax: 8\nbatch: 250\nworkers: 1\nsnap: 2\nkimg: 1\nmap-depth: 2\nz-dim: 8\nmetrics: none\n'
        'ops: torch\naug: noaug\nwandb: disabled\noutdir: runs\ndata: d\ndesc: "on"\n')


@pytest.fixture(autouse=True)
def here(in_tmp_path):
    write_images('d', 8, 3, labels=2)
    Path('tiny.yaml').write_text(TINY)


def write_images(folder, size, channels, labels):
    rng, names = np.random.RandomState(0), [f'{i}.png' for i in range(12)]
    Path(folder).mkdir()
    for name in names:
        PIL.Image.fromarray(rng.randint(0, 256, (size, size, channels), np.uint8).squeeze()).save(f'{folder}/{name}')
    content = {'labels': [[name, i % labels] for i, name in enumerate(names)]}
    Path(folder, 'dataset.json').write_text(json.dumps(content))


def run(*args, status=0):
    """What train.py printed, on stdout, or stderr if it is to fail."""
    found, out, err = run_program(train.main, *args)
    assert found == status, err
    return err if status else out


def configuration(*args):
    """What a dry run prints of its configuration."""
    out = run(*args, '--dry-run')
    return json.loads(out[out.index('{'):out.rindex('\n}') + 2])


@pytest.mark.parametrize('name', ['saved.yaml', 'saved.json'])
def test_saved_options_give_the_same_dry_run(name):
    for i, (cfg, method) in enumerate(zip(CFG_NAMES, ('cg-gan', 'clr-gan', 'r3gan', 'csdi', 'i-stylegan', 'stylegan2'),
                                          strict=True)):
        args = ('--config=tiny.yaml', f'--cfg={cfg}', f'--method={method}', '--i-dim=4' if i in (0, 3, 4) else '--seed=3',
                '--batch=64')
        expected = configuration(*args, f'--save-config={name}')
        assert configuration(f'--config={name}') == expected
    assert not Path('runs').exists()


def test_nothing_is_saved_of_options_that_are_refused():
    Path('bad.yaml').write_text(TINY + 'gamma: -1\n')
    assert run('--config=bad.yaml', '--save-config=saved.yaml', status=2) == (
        'Error: --gamma must be non-negative (gamma in bad.yaml)\n')
    assert not Path('saved.yaml').exists()
    assert run('--config=tiny.yaml', '--save-config=saved.txt', '-n', status=2) == (
        'Error: --save-config=saved.txt: the name must end in .yaml, .yml, .json\n')
    Path('file').write_text('')
    assert run('--config=tiny.yaml', '--save-config=file/saved.yaml', '-n', status=2).startswith(
        'Error: --save-config=file/saved.yaml: cannot be written (')


def test_a_run_the_same_again_and_one_from_its_networks():
    run('--config=tiny.yaml', '--cond=1')
    first, = Path('runs').iterdir()
    assert first.name == '00000-d-cond-auto1-kimg1-batch250-noaug-on'
    recorded = json.loads((first / 'training_options.json').read_text())
    assert recorded['options']['desc'] == 'on' and recorded['options']['kimg'] == 1

    # --like: a new directory, with the same options.
    again = configuration(f'--like={first}')
    assert again.pop('run_dir') == f'runs/00001-{first.name[6:]}'
    assert again == {key: recorded[key] for key in again}
    assert configuration(f'--like={first.name}', '--outdir=runs', '--seed=5')['random_seed'] == 5

    # Resumed in its own directory, it still says what would make it anew.
    run(f'--like={first}', f'--resume={first}', '--kimg=2')
    options = json.loads((first / 'training_options.json').read_text())['options']
    assert options['kimg'] == 2 and 'resume' not in options and len(list(Path('runs').iterdir())) == 1

    # Grey images of twice the size, in three classes.
    write_images('e', 16, 1, labels=3)
    pkl = first / 'network-snapshot-000002.pkl'
    assert f'or take what fits: --transfer=partial --resume={pkl}\n' in run(
        f'--like={first}', '--data=e', f'--resume={pkl}', '--dry-run', status=1)
    args = (f'--like={first}', '--data=e', '--kimg=1', f'--resume={pkl}', '--transfer=partial')
    table = run(*args, '--dry-run')
    assert '  G, G_ema  mapping' in table and 'embed.weight 512x2 -> 512x3' in table
    out = run(*args)
    assert 'Partial transfer' in out and 'Optimisers and counters start fresh: transfer learning' in out
    second = next(Path('runs').glob('00001-*'))
    assert second.name == '00001-e-cond-auto1-kimg1-batch250-noaug-resumecustom-on'
    networks = load_network_snapshot(str(second / 'network-snapshot-000001.pkl'))
    assert networks.cur_nimg == 1000 and networks.G.img_resolution == 16 and networks.G.img_channels == 1
    stats = json.loads((second / 'stats.jsonl').read_text().splitlines()[-1])
    assert np.isfinite(stats['Loss/G/loss']['mean']) and np.isfinite(stats['Loss/D/loss']['mean'])
