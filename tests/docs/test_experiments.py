"""docs/experiments: the tables of the pages are those of the committed results; how cells are trained, and compared."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from scipy import stats

EXPERIMENTS = Path(__file__).parents[2] / 'docs' / 'experiments'
PAGES = sorted(path.parent for path in EXPERIMENTS.glob('**/results'))
TITLES = {'start': 'start', 'continued': 'continued (control)', 'l1': 'L1', 'csdi': 'CSDI'}


@pytest.fixture
def shared(monkeypatch):
    """The two modules that all experiments share."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module('experiment'), importlib.import_module('comparison')


@pytest.fixture
def measures(shared):
    return {'variety': shared[1].Measure('variety', 4)}


@pytest.fixture
def work(shared, tmp_path):
    """Two cells, the second of which continues the first."""
    module, _ = shared
    cells = {'start': module.Cell('start', ['--method=i-stylegan'], 80),
             'continued': module.Cell('control', ['--method=cg-gan', '--data={digits}'], 120, 'start')}
    experiment = module.Experiment(tmp_path, {'digits': ['--source=mnist']}, ['--batch=4'], cells, 'continued', {}, [])
    return module.Work(experiment, tmp_path / 'runs', tmp_path / 'results', scale=0.1)


def seed(number, **cells):
    return dict(seed=number, cells={cell: {'variety': value, 'sec_per_kimg': 1.0} for cell, value in cells.items()})


def test_there_are_results():
    assert 'cg-gan-mnist' in {path.name for path in PAGES}


@pytest.mark.parametrize('folder', PAGES, ids=lambda path: path.relative_to(EXPERIMENTS).as_posix())
def test_table_of_the_page_is_that_of_the_results(folder, tmp_path):
    shutil.copytree(folder / 'results', tmp_path / 'results')
    (tmp_path / 'results' / 'points.png').unlink()
    page, name = (folder, []) if folder.parent == EXPERIMENTS else (folder.parent, [folder.name])
    done = subprocess.run([sys.executable, str(page / 'run.py'), *name, '--table', f'--results={tmp_path / "results"}'],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (page / 'README.md').read_text()
    assert (tmp_path / 'results' / 'points.png').exists()


@pytest.mark.parametrize('options, status, message', [
    ([], 1, '{results}: has no seed<N>.json with continued yet; run this program without --table first'),
    (['--cells=other'], 2, '--cells: unknown other; choose from start, continued, '),
    (['--seeds=0,one'], 2, '--seeds=0,one must be numbers with commas between them'),
])
def test_errors_are_one_line(options, status, message, tmp_path):
    program = EXPERIMENTS / 'cg-gan-mnist' / 'run.py'
    done = subprocess.run([sys.executable, str(program), '--table', f'--results={tmp_path}', *options],
                          capture_output=True, text=True)
    assert done.returncode == status
    assert message.format(results=tmp_path) in done.stderr.strip().splitlines()[-1]


def test_differences_are_of_the_same_seed(shared, measures, tmp_path):
    _, comparison = shared
    for facts in (seed(0, continued=1.0, csdi=1.5, l1=2.5), seed(1, continued=3.0, csdi=3.25, l1=4.0),
                  seed(2, continued=2.0, l1=2.0), seed(3, csdi=9.0)):
        (tmp_path / f'seed{facts["seed"]}.json').write_text(json.dumps(facts))
    results = comparison.read_results(tmp_path, 'continued')
    assert len(results) == 3  # the last one has no control
    assert comparison.differences(results, 'csdi', 'variety', 'continued') == [0.5, 0.25]
    values, changes = comparison.table(results, TITLES, measures, 'continued').split('\n\n')
    assert '| continued (control) | 3 | 2.0000 ± 1.0000 |' in values
    assert '| CSDI | 2 | +0.3750 ± 0.1768 |' in changes  # no p of two seeds
    change = np.array([1.5, 1.0, 0.0])
    d, p = change.mean() / change.std(ddof=1), stats.ttest_rel([2.5, 4.0, 2.0], [1.0, 3.0, 2.0]).pvalue
    assert f'| L1 | 3 | +0.8333 ± 0.7638 (d = {d:.1f}, p = {p:.2g}) |' in changes


def test_missing_values_are_left_out(shared):
    _, comparison = shared
    results = [seed(0, continued=1.0, csdi=2.0), seed(1, continued=1.0, csdi=None)]
    assert comparison.differences(results, 'csdi', 'variety', 'continued') == [1.0]
    assert comparison.of_cell(results, 'csdi', 'unknown') == []
    assert comparison.summary([], 2) == '–'
    assert comparison.paired_test([1.0, 1.1]) == comparison.paired_test([0.0, 0.0, 0.0]) == ''


def test_interrupted_cells_are_resumed_and_finished_ones_skipped(work):
    start, control = work.outdir(0, 'start') / '00000-run', work.outdir(0, 'continued') / '00000-run'
    start.mkdir(parents=True), control.mkdir(parents=True)
    first, half, whole = start / 'network-snapshot-000008.pkl', control / 'network-snapshot-000010.pkl', \
        control / 'network-snapshot-000012.pkl'
    assert {'--resume=latest', '--kimg=8', '--method=i-stylegan', '--batch=4', '--seed=0'} < set(work.command(0, 'start'))
    assert not work.job(0, 'start').succeeded()
    first.touch()
    assert work.job(0, 'start').succeeded()
    assert {f'--resume={first}', '--kimg=12', f'--data={work.paths["digits"]}'} < set(work.command(0, 'continued'))
    half.touch()
    assert {'--resume=latest', '--kimg=12'} < set(work.command(0, 'continued'))
    assert not work.job(0, 'continued').succeeded()
    whole.touch()
    assert work.job(0, 'continued').succeeded()


TRAINS = """
import sys
from pathlib import Path
run, kimg = Path(sys.argv[1]), sys.argv[2]
run.mkdir(parents=True)
(run / 'stats.jsonl').write_text('{"Timing/sec_per_kimg": 2.5}')
(run / f'network-snapshot-{kimg}.pkl').touch()
print('trained')
"""


@pytest.fixture
def calls(shared, work, monkeypatch):
    """What is called: dataset_tool.py, calc_metrics.py, and seed and cell of each training, which writes the files of a run.
    Those of seed 4 stop early."""
    found = []

    def call(script, *args):
        found.append(script)
        if script == 'calc_metrics.py':
            options = dict(arg.split('=', 1) for arg in map(str, args) if '=' in arg)
            path = Path(options['--network'])
            (path.parent / f'metric-{options["--metrics"]}.jsonl').write_text(
                json.dumps(dict(snapshot_pkl=path.name, results={'truth': 0.5})) + '\n')

    def command(seed, name):
        found.append(f'{seed} {name}')
        kimg = work.kimg(name) - (seed == 4)
        return [sys.executable, '-c', TRAINS, str(work.outdir(seed, name) / '00000-run'), f'{kimg:06d}']

    monkeypatch.setattr(shared[0], 'call', call)
    monkeypatch.setattr(work, 'command', command)
    work.experiment.evaluations.append(shared[0].Evaluation(['--metrics=truth'], ['continued']))
    return found


def test_cells_bring_what_they_continue_and_only_some_are_evaluated(work, calls):
    assert work.complete([3, 5], ['continued']) == {}
    assert calls == ['dataset_tool.py', *(text for seed in (3, 5) for text in (f'{seed} start', f'{seed} continued',
                                                                               'calc_metrics.py'))]
    assert json.loads((work.results / 'seed3.json').read_text())['cells'] == {
        'start': dict(kimg=8, sec_per_kimg=2.5), 'continued': dict(kimg=12, truth=0.5, sec_per_kimg=2.5)}


def test_several_jobs_train_all_seeds_and_then_measure_what_is_finished(work, calls):
    work.jobs = 2
    assert work.complete([3, 4, 5], ['start', 'continued']) == {'seed4/start': 'ended with status 0',
                                                                'seed4/continued': 'needs seed4/start'}
    assert sorted(calls[1:-2]) == ['3 continued', '3 start', '4 start', '5 continued', '5 start']
    assert calls[-2:] == ['calc_metrics.py'] * 2
    assert (work.runs / 'seed3' / 'start-8.txt').read_text() == 'trained\n'


def test_training_without_measuring(work, calls):
    assert work.complete([3], ['start'], measure=False) == {}
    assert calls == ['dataset_tool.py', '3 start']
    assert not work.results.exists()


@pytest.mark.parametrize('height, width', [(64, 512), (32, 256)])
def test_sheet_has_all_cells_and_is_wide_enough(shared, tmp_path, height, width):
    PIL.Image.fromarray(np.full((height, width, 3), 200, dtype=np.uint8)).save(tmp_path / 'cell.png')
    shared[1].draw_sheet(dict.fromkeys(TITLES, tmp_path / 'cell.png'), tmp_path / 'sheet.png')
    with PIL.Image.open(tmp_path / 'sheet.png') as image:
        assert image.size == (512, 4 * 78)


def test_curve_of_a_run(shared, tmp_path):
    lines = [dict(snapshot_pkl=f'network-snapshot-{kimg:06d}.pkl', results={'fd': fd})
             for kimg, fd in ((0, 9.0), (15, 2.5), (30, 4.0))]
    (tmp_path / 'metric-fd.jsonl').write_text('\n'.join(map(json.dumps, lines)) + '\n')
    (tmp_path / 'stats.jsonl').write_text(json.dumps({'Timing/sec_per_kimg': 1.0}))
    last = tmp_path / 'network-snapshot-000030.pkl'
    assert shared[0].values(last, 'fd') == {'fd': 4.0, 'fd_above_best': 1.5, 'curve': {'0': 9.0, '15': 2.5, '30': 4.0},
                                            'sec_per_kimg': 1.0}
    assert shared[0].values(last) == {'fd': 4.0, 'sec_per_kimg': 1.0}


def test_grid_and_curves_are_drawn(shared, tmp_path):
    for i in range(3):
        PIL.Image.new('L', (8, 8), 100 * i).save(tmp_path / f'seed{i}.png')
    shared[1].draw_grid(sorted(tmp_path.glob('seed*.png')), tmp_path / 'grid.png', columns=2)
    with PIL.Image.open(tmp_path / 'grid.png') as image:
        pixels = np.asarray(image.convert('L'))
    assert pixels.shape == (16, 16)
    assert [pixels[0, 0], pixels[0, 8], pixels[8, 0], pixels[8, 8]] == [0, 100, 200, 255]
    results = [dict(seed=0, cells={'l1': dict(curve={'15': 2.0, '30': 1.0}), 'start': {}}), dict(seed=1, cells={})]
    shared[1].draw_curves(results, TITLES, 'FD', tmp_path / 'curves.png')
    assert (tmp_path / 'curves.png').exists()
