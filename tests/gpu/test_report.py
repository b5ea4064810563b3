"""The script that measures a card works on any device, keeps what it has, and makes tables of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
import tables  # noqa: E402 (a script beside this file)

ROW = dict(size='256', batch=32, sec_per_kimg=4.2, gib=11.0)


@pytest.mark.slow
def test_all_parts_run_in_their_small_form(tmp_path):
    done = subprocess.run([sys.executable, ROOT / 'tests/gpu/report.py', '--device=cpu', '--small', '--minutes=8',
                           f'--out={tmp_path}', f'--work={tmp_path / "work"}'], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(next(tmp_path.glob('*.json')).read_text())
    assert report['tests']['passed'] >= 2 and not report['tests']['failures']
    assert {'eager', 'graphs', 'graphs, TF32'} <= {row['choice'] for row in report['steps']['rows']}
    assert all('error' not in row for row in report['steps']['rows'])
    assert report['operators']['rows'] and report['profile']['rows'] and report['run']['kimg'] >= 1
    text = tables.section([report])
    assert 'graphs, TF32' in text and 'upfirdn2d' not in text and 'two-colour MNIST' in text


def test_a_table_has_a_column_per_size_and_says_what_failed():
    rows = [dict(ROW, choice='eager'), dict(ROW, choice='TF32', sec_per_kimg=3.0), dict(ROW, size='512', choice='eager'),
            dict(size='512', batch=32, choice='TF32', error='OutOfMemoryError: no')]
    text = tables.steps_table(rows)
    assert '| TF32 | 3.00 (11.0) | failed |' in text and '* 512, TF32: OutOfMemoryError: no' in text


def test_the_section_of_the_page_is_replaced_and_the_rest_stays():
    page = f'before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n'
    assert tables.with_section(page, 'new') == f'before\n{tables.BEGIN}\nnew\n{tables.END}\nafter\n'


def test_the_page_is_made_of_the_committed_reports():
    reports = [json.loads(path.read_text()) for path in sorted((ROOT / 'docs' / 'gpu').glob('*.json'))]
    page = (ROOT / 'docs' / 'performance.md').read_text()
    assert tables.with_section(page, tables.section(reports)) == page, 'run python tests/gpu/tables.py'
