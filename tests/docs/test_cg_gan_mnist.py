"""docs/experiments/cg-gan-mnist: the table of the page is that of the committed results; how differences are counted."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from scipy import stats

FOLDER = Path(__file__).parents[2] / 'docs' / 'experiments' / 'cg-gan-mnist'


@pytest.fixture(scope='module')
def experiment():
    spec = importlib.util.spec_from_file_location('cg_gan_mnist', FOLDER / 'run.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seed(number, **cells):
    """Results of one seed: the same value of every measure for each cell."""
    keys = ['style_l1', 'content_l1', 'style_hoyer', 'variety', 'content_classes', 'content_kappa', 'domain_accuracy']
    return dict(seed=number, cells={cell: dict.fromkeys([*keys, 'sec_per_kimg'], value) for cell, value in cells.items()})


def test_table_of_the_page_is_that_of_the_results(tmp_path):
    shutil.copytree(FOLDER / 'results', tmp_path / 'results')
    (tmp_path / 'results' / 'points.png').unlink()
    done = subprocess.run([sys.executable, str(FOLDER / 'run.py'), '--table', f'--results={tmp_path / "results"}'],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (FOLDER / 'README.md').read_text()
    assert (tmp_path / 'results' / 'points.png').exists()


def test_no_results_end_with_one_line(tmp_path):
    done = subprocess.run([sys.executable, str(FOLDER / 'run.py'), '--table', f'--results={tmp_path}'],
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == f'{tmp_path}: has no seed<N>.json yet; run this program without --table first'


def test_differences_are_of_the_same_seed(experiment, tmp_path):
    for facts in (seed(0, continued=1.0, csdi=1.5, **{'l1-100': 2.5}), seed(1, continued=3.0, csdi=3.25, **{'l1-100': 4.0}),
                  seed(2, continued=2.0, **{'l1-100': 2.0}), seed(3, csdi=9.0)):
        (tmp_path / f'seed{facts["seed"]}.json').write_text(json.dumps(facts))
    results = experiment.read_results(tmp_path)
    assert len(results) == 3  # the last one has no control
    assert experiment.pairs(results, 'csdi', 'variety') == [(1.5, 1.0), (3.25, 3.0)]
    values, changes = experiment.table(results).split('\n\n')
    assert '| continued (control) | 3 | 2.0000 ± 1.0000 |' in values
    assert '| CSDI, 1 | 2 | +0.3750 ± 0.1768 |' in changes  # no p of two seeds
    p = stats.ttest_rel([2.5, 4.0, 2.0], [1.0, 3.0, 2.0]).pvalue
    assert f'| L1, 100 | 3 | +0.8333 ± 0.7638 (p = {p:.2g}) |' in changes


def test_missing_values_are_left_out(experiment):
    results = [seed(0, continued=1.0, csdi=2.0), seed(1, continued=1.0, csdi=None)]
    assert experiment.pairs(results, 'csdi', 'content_kappa') == [(2.0, 1.0)]
    assert experiment.paired_p([1.0, 1.1]) is None and experiment.paired_p([0.0, 0.0, 0.0]) is None


def test_interrupted_cells_are_resumed_and_finished_ones_skipped(experiment, tmp_path, monkeypatch):
    e = experiment.Experiment(tmp_path, tmp_path, first=8, second=4)
    start, control = e.outdir(0, 'start') / '00000-run', e.outdir(0, 'continued') / '00000-run'
    start.mkdir(parents=True), control.mkdir(parents=True)

    def train(cell, leaves):
        """The options that train.py gets, where it leaves a snapshot."""
        calls = []
        monkeypatch.setattr(experiment, 'call', lambda script, *args: (calls.append(set(map(str, args))), leaves.touch()))
        e.train(0, cell)
        return calls

    first, half, whole = start / 'network-snapshot-000008.pkl', control / 'network-snapshot-000010.pkl', \
        control / 'network-snapshot-000012.pkl'
    assert {'--resume=latest', '--kimg=8', '--method=i-stylegan'} < train('start', first)[0]
    assert train('start', first) == []
    with pytest.raises(SystemExit, match='stopped before 12 kimg'):
        train('continued', half)
    half.unlink()
    assert {f'--resume={first}', '--kimg=12'} < train('continued', whole)[0]
    assert train('continued', whole) == []
    whole.unlink(), half.touch()
    assert {'--resume=latest', '--kimg=12'} < train('continued', whole)[0]


def test_sheet_has_all_cells(experiment, tmp_path):
    PIL.Image.fromarray(np.full((64, 512, 3), 200, dtype=np.uint8)).save(tmp_path / 'cell.png')
    experiment.draw_seed(dict.fromkeys(['start', *experiment.CELLS], tmp_path / 'cell.png'), tmp_path / 'sheet.png')
    with PIL.Image.open(tmp_path / 'sheet.png') as image:
        assert image.size == (512, 7 * 78)
