"""The page while a run trains: kept up to date, and never the end of a run."""

from types import SimpleNamespace

import pytest
import torch
from helpers.reported_runs import Elements, value, write_lines, write_run

from dnnlib.util import UserError
from training.run.report import report
from training.run.report.report import LiveReport
from training.run.sessions import append_session

NO_STYLE = SimpleNamespace()


class Images(list):
    """What of a dataset is noted."""

    image_shape, label_dim, has_onehot_labels, domains = [3, 8, 8], 2, True, ['red', 'green']


def page_of(run_dir):
    return report.report([str(run_dir)], run_dir / 'report.html')


def text_of(run_dir):
    return Elements((run_dir / 'report.html').read_text()).text


def test_each_snapshot_renews_the_page(tmp_path):
    run_dir, said = write_run(tmp_path / 'run', ticks=2, total_kimg=100), []
    live = LiveReport(run_dir, said.append)
    live.begin(0, Images(range(9)), device='CPU', ranks=1)
    assert '8 of 100 kimg' in text_of(run_dir) and 'In training' in text_of(run_dir)
    with (run_dir / 'stats.jsonl').open('a') as f:
        f.write('{"Progress/kimg": {"num": 1, "mean": 12.0}, "timestamp": 1.8e9}\n')
    live.refresh(SimpleNamespace(importance=torch.nn.Parameter(torch.tensor([[0.25, torch.nan]]))), 12000)
    assert '12 of 100 kimg' in text_of(run_dir) and said == []
    assert (run_dir / 'importance.jsonl').read_text().endswith('{"kimg": 12.0, "importance": [0.25, null]}\n')
    assert not list(run_dir.glob('.*.tmp'))


def test_other_ranks_write_nothing(tmp_path):
    with pytest.raises(UserError), LiveReport(tmp_path, print, shows=False) as live:
        live.begin(0, Images())
        live.refresh(NO_STYLE, 0)
        raise UserError('x')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('trouble', ['directory', 'bug'])
def test_a_page_that_cannot_be_written_is_one_line(trouble, tmp_path, monkeypatch):
    run_dir, said = write_run(tmp_path / 'run'), []
    if trouble == 'directory':
        (run_dir / 'report.html').mkdir()
    else:
        monkeypatch.setattr(report, 'make_charts', lambda runs: 1 / 0)
    live = LiveReport(run_dir, said.append)
    live.begin(0, Images())
    live.refresh(NO_STYLE, 4000)
    assert len(said) == 1 and said[0].startswith('warning: report.html could not be written (') and '\n' not in said[0]
    assert not list(run_dir.glob('.*.tmp'))


@pytest.mark.parametrize('error, words', [(UserError('not finite: <D>'), 'Ended by: not finite: <D>'),
                                          (ZeroDivisionError('by 0'), 'Ended by: ZeroDivisionError: by 0')])
def test_the_error_that_ends_a_run_is_on_its_page(error, words, tmp_path):
    run_dir = write_run(tmp_path / 'run')
    with pytest.raises(type(error)), LiveReport(run_dir, print):
        raise error
    assert words in text_of(run_dir) and 'Failed' in text_of(run_dir)


def test_an_interruption_does_not_wait_for_the_page(tmp_path):
    with pytest.raises(KeyboardInterrupt), LiveReport(tmp_path, print):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_how_a_run_ended_is_read_from_its_log(tmp_path):
    run_dir = write_run(tmp_path / 'run', total_kimg=100)
    traceback = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    raise UserError("y")\n'
    log = run_dir / 'log.txt'
    log.write_text(f'Num images: 9\n{traceback}dnnlib.errors.UserError: loss lost\n')
    assert 'Ended by: loss lost' in Elements(page_of(run_dir)).text
    log.write_text(log.read_text() + 'Num images: 9\nStopping early, as asked: saving first ...\n')
    text = Elements(page_of(run_dir)).text
    assert 'Ended by' not in text and 'Stopped early' in text
    log.write_text(f'{traceback}torch.OutOfMemoryError: of 3 GiB\nAnother line of it\n')
    assert 'Ended by: torch.OutOfMemoryError: of 3 GiB' in Elements(page_of(run_dir)).text
    log.write_text(f'{traceback}ValueError: in a metric\nError: --metrics=x is left out from now on\n')
    text = Elements(page_of(run_dir)).text
    assert 'Ended by' not in text and 'Error: --metrics=x is left out' in text


def test_sessions_are_added_to_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr('sys.argv', ['/somewhere/train.py', '--kimg=1'])
    for nimg in (0, 4000):
        append_session(tmp_path, nimg, Images(range(9)), device='CPU', ranks=1)
    first, second = report.Facts(report.Run(tmp_path), report.Log(tmp_path), 'run').sessions
    assert (first['kimg'], second['kimg']) == (0, 4) and first['command'] == ['train.py', '--kimg=1']
    assert first['images'] == 9 and first['domains'] == ['red', 'green'] and 'torch' in first['packages']


def test_the_pace_is_that_of_the_last_ticks_whatever_pauses_lie_between(tmp_path):
    run_dir = write_run(tmp_path / 'run', total_kimg=100)
    times = [0, 60, 120, 10_000, 10_060, 10_120]
    write_lines(run_dir / 'stats.jsonl', [{'Progress/kimg': value(4.0 * i), 'timestamp': t} for i, t in enumerate(times)])
    assert report.Facts(report.Run(run_dir), report.Log(run_dir), 'run').key_figures()['Time left'] == '20m 00s'
