"""report.html: what is on it, that nothing in it can do harm, that it stays small."""

import hashlib
import json
import re

import pytest
from helpers.programs import run_program
from helpers.reported_runs import Elements, evaluation, write_lines, write_run

from torch_utils import torchrun
from training.run.report import page, pictures
from training.run.report.report import main, report
from training.run.sessions import append_session

HOSTILE = '</script></style><script>alert(1)</script><img src=x onerror=alert(1)>"\'&amp;-->'


class Images:
    """What a session says of the dataset."""

    image_shape, label_dim, has_onehot_labels, domains = (1, 8, 8), 0, False, None

    def __len__(self):
        return 9


def page_of(*run_dirs):
    return report([str(run_dir) for run_dir in run_dirs], run_dirs[0] / 'report.html')


def charts(text):
    """{title: chart} of the data that the page carries."""
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1]
    return {chart['title']: chart for chart in json.loads(data)['charts']}


def test_a_run_is_shown_with_all_it_has(tmp_path):
    run_dir = write_run(tmp_path / '00003-faces')
    (run_dir / 'log.txt').write_text('warning: G had gradients\nNum images: 9\nwarning: G had gradients\ntick 1\n')
    write_lines(run_dir / 'best.json', [dict(kimg=24.0, snapshot_pkl='network-snapshot-000024.pkl', key='kid', value=0.5)])
    text = page_of(run_dir)
    elements = Elements(text)
    for words in ('00003-faces', 'Complete', '24 of 24 kimg', 'Each column is one latent, each row a domain', '24 kimg ★ best',
                  'warning: G had gradients ×2', '2 × Some GPU', 'abc123, with changes that are not committed', 'torch 2.13.0',
                  f'python train.py --outdir=runs --gamma=2 --desc x --resume={run_dir}', '--network=', 'loss_kwargs.gamma'):
        assert words in elements.text, words
    assert [f['data-kimg'] for f in elements.of('figure', class_='frame')] == ['8', '16', '24', '0']  # 0: of training images
    assert elements.of('a')[0]['href'] == './fakes000008.png'
    assert elements.text.count('green') == 4 * 4  # a caption for every second of eight rows, in three pictures and the reals
    found = charts(text)
    assert {'kid', 'Scores of the discriminator', 'Terms of D, unweighted', 'Sparsity of importance and Jacobian', 'Augmentation',
            'Importance of each style coordinate', 'Memory, GiB'} < found.keys()
    assert found['kid']['parts'] == [dict(run=0, x=[8, 16, 24], series=[['kid', [0.125, 0.0625, 0.041667]]])]
    assert found['Importance of each style coordinate']['line'] == 0.1


def test_runs_are_compared(tmp_path):
    runs = [write_run(tmp_path / '00000-a'), write_run(tmp_path / '00001-b', ticks=3, loss_kwargs=dict(gamma=5))]
    text = page_of(*runs)
    elements = Elements(text)
    assert all(words in elements.text for words in ('2 runs', 'Settings that differ', 'loss_kwargs.gamma 2 5', '24 of 24 kimg'))
    assert 'training_set_kwargs.resolution 8 8 ' not in elements.text
    assert [(part['run'], len(part['x'])) for part in charts(text)['Losses']['parts']] == [(0, 6), (1, 3)]
    assert [a['href'] for a in elements.of('a')][2:4] == ['./fakes000024.png', './../00001-b/fakes000004.png']
    assert len(elements.of('figure', class_='frame')) == 6


@pytest.mark.parametrize('local, world, options', [
    (2, 2, '--nproc-per-node=2'), (8, 16, '--nproc-per-node=8 --nnodes=2 --rdzv-backend=c10d --rdzv-endpoint=HOST:29400')])
def test_a_run_of_torchrun_resumes_by_torchrun(local, world, options, tmp_path, monkeypatch):
    run_dir = write_run(tmp_path / 'run')
    for name, value in dict(RANK=0, WORLD_SIZE=world, LOCAL_WORLD_SIZE=local, MASTER_ADDR='localhost', MASTER_PORT=1).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr('sys.argv', ['/x/train.py', '--outdir=runs', '--resume=latest'])
    append_session(run_dir, 0, Images())
    assert f'torchrun {options} train.py --outdir=runs --resume={run_dir}' in Elements(page_of(run_dir)).text
    monkeypatch.setenv(torchrun.STARTED, '0')  # our own launcher sets the same variables
    append_session(run_dir, 0, Images())
    assert f'python train.py --outdir=runs --resume={run_dir}' in Elements(page_of(run_dir)).text


def test_options_are_those_that_the_run_noted(tmp_path):
    text = Elements(page_of(write_run(tmp_path / 'run', options={'gamma': 2.5, 'method': ['cg-gan']}))).text
    assert '--gamma 2.5 --method ["cg-gan"]' in text and 'options.gamma' not in text


def test_texts_from_files_are_only_shown(tmp_path):
    run_dir = write_run(tmp_path / 'run', description=HOSTILE, metrics=[HOSTILE], **{HOSTILE: HOSTILE})
    (run_dir / 'log.txt').write_text(f'Error: {HOSTILE}\n')
    write_lines(run_dir / 'sessions.jsonl', [dict(
        command=['train.py', f'--desc={HOSTILE}', HOSTILE], kimg=HOSTILE, revision=HOSTILE, device=HOSTILE, labels=2,
        one_hot=True, domains=[HOSTILE, HOSTILE], packages={HOSTILE: HOSTILE})])
    write_lines(run_dir / 'best.json', [dict(kimg=1, snapshot_pkl=HOSTILE, key=HOSTILE, value=0.5)])
    write_lines(run_dir / 'metric-x.jsonl', [evaluation(HOSTILE, k, k) for k in (8, 16)])
    with (run_dir / 'stats.jsonl').open('a') as f:
        name = 'Loss/G/' + HOSTILE.replace('/', '')
        f.write(json.dumps({'Progress/kimg': dict(num=1, mean=99), name: dict(num=1, mean=1)}) + '\n')
    text = page_of(run_dir)
    elements = Elements(text)
    assert elements.text.count('alert(1)') > 10  # all of it is there, as text
    assert len(elements.of('script')) == 3 and len(elements.of('img')) == len(elements.of('img', class_='picture')) == 4
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith('on')]


def test_scripts_are_those_that_the_policy_names_and_nothing_is_fetched(tmp_path):
    text = page_of(write_run(tmp_path / 'run'))
    policy = Elements(text).of('meta', **{'http-equiv': 'Content-Security-Policy'})[0]['content']
    scripts = re.findall(r'<script>(.*?)</script>', text, re.DOTALL)
    assert len(scripts) == 2 and all(page._digest(script) in policy for script in scripts)
    assert "default-src 'none'" in policy and 'unsafe-eval' not in policy


def test_the_plots_are_drawn_by_uplot_as_it_was_published():
    """The digests are of dist/ in the npm package uplot 1.6.31."""
    digests = {name: hashlib.sha256(page._own_file(f'uplot/{name}').encode()).hexdigest()
               for name in ('uPlot.iife.min.js', 'uPlot.min.css')}
    assert digests == {'uPlot.iife.min.js': '2d27e8ad3d228164525ce213f9dc716f39b4e3aee0cc773fb3491c96cf4921a2',
                       'uPlot.min.css': 'df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04'}


def test_a_long_run_stays_small(tmp_path, monkeypatch):
    """5,000 ticks, 400 snapshots, and pictures that are as large as one may be."""
    monkeypatch.setattr(pictures, '_encode', lambda image, quality: bytes(pictures.MOST_BYTES))
    run_dir = write_run(tmp_path / 'run', ticks=5000, snapshots=400)
    for path in list(run_dir.glob('fakes*.png')):
        (run_dir / path.name.replace('fakes', 'recon')).write_bytes(path.read_bytes())
    text = page_of(run_dir)
    assert 2 * 16 <= len(Elements(text).of('figure', class_='frame')) <= 2 * (pictures.MOST_FRAMES + 1) + 1
    assert len(text) < 20 * 2 ** 20
    assert max(len(part['x']) for chart in charts(text).values() for part in chart['parts']) <= 600


def test_damaged_files_are_skipped(tmp_path):
    run_dir = write_run(tmp_path / 'run')
    expected = charts(page_of(run_dir))
    lines = (run_dir / 'stats.jsonl').read_text().splitlines()
    damaged = ['{"torn": ', '[' * 100_000, '3', '{}', '{"Progress/kimg": 3}', '{"Progress/kimg": {"num": 1, "mean": "x"}}',
               '{"Progress/kimg": {"num": 1, "mean": NaN}, "Loss/G/loss": 7}', '\x00\xff']
    (run_dir / 'stats.jsonl').write_text('\n'.join([*damaged, *lines, *damaged]) + '\n{"Progress/kimg": ')
    for name, content in (('sessions.jsonl', '{"command": 3}\n'), ('best.json', '[1]'), ('fakes000001.png', 'no picture'),
                          ('metric-a.jsonl', '{"results": [1], "snapshot_pkl": "network-snapshot-000001.pkl"}\n{}\n'),
                          ('importance.jsonl', '{"kimg": "x"}\n[]\n')):
        with (run_dir / name).open('a') as f:
            f.write(content)
    assert charts(page_of(run_dir)) == expected
    for path in run_dir.iterdir():
        path.write_bytes(b'\xff\x00{')
    assert 'no tick yet' in Elements(page_of(run_dir)).text


def test_the_command_writes_the_page(tmp_path, monkeypatch):
    runs = [write_run(tmp_path / name) for name in 'ab']
    status, out, err = run_program(main, runs[0])
    assert (status, err) == (0, '') and out.startswith(f'Wrote {runs[0] / "report.html"} (')
    assert (runs[0] / 'report.html').is_file()
    monkeypatch.chdir(tmp_path)
    assert run_program(main, *runs)[0] == 0 and (tmp_path / 'report.html').is_file()
    assert run_program(main, runs[0], f'--out={tmp_path / "new" / "x.html"}')[0] == 0 and (tmp_path / 'new' / 'x.html').is_file()


@pytest.mark.parametrize('name', ['missing', '.'])
def test_what_is_no_run_is_one_line(name, tmp_path):
    status, out, err = run_program(main, tmp_path / name)
    assert (status, out) == (1, '') and 'pass a run directory of train.py' in err and err.count('\n') == 1
    assert not (tmp_path / 'report.html').exists()
