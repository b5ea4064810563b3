"""What a run tells: the status line, the bar on a terminal, strict JSON, warnings, pictures, metrics, curves that join up."""

import contextlib
import io
import json
import re
import sys
import time
from types import SimpleNamespace

import PIL.Image
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dnnlib.util import UserError
from torch_utils import training_stats
from training.run.monitor import Monitor


@contextlib.contextmanager
def full_disk(largest):
    """Limit the size of files to this many bytes. None: no limit."""
    resource = pytest.importorskip('resource')
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited[0] if largest is None else largest, unlimited[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_status_line_has_the_published_fields_then_speed_and_time_left(tmp_path, capsys):
    monitor = Monitor(tmp_path, start_nimg=0, total_nimg=100_000)
    monitor.end_of_tick(3, 4000, augment_p=0.25, gpu_gib=1.5)
    monitor.close()
    line = capsys.readouterr().out
    number = r'[\d.]+ *'
    fields = ['tick 3    ', 'kimg 4.0     ', r'time \d+s +', f'sec/tick {number}', f'sec/kimg {number}',
              f'maintenance {number}', f'cpumem {number}', 'gpumem 1.50  ', r'augment 0\.250', f'img/s {number}', 'left .+']
    assert re.fullmatch(' '.join(fields) + '\n', line), line


def test_arithmetic_per_second_and_its_share_of_the_peak(tmp_path, monkeypatch, capsys):
    """Of 4000 images in 10 s, 50 per step of 5 GFLOP: 40 GFLOP/s."""
    for peak, shown in ((None, ''), (80e9, r'mfu 50\.\d% +')):
        now = iter([100.0, 110.0])
        monkeypatch.setattr('training.run.monitor.time', SimpleNamespace(monotonic=lambda now=now: next(now, 110.0)))
        monitor = Monitor(tmp_path, 0, 100_000, dict(batch_size=50), peak_flops=peak)
        monitor.end_of_tick(3, 4000, augment_p=0.0, gpu_gib=0.0, flops=5e9)
        monitor.write(4000, {})
        monitor.close()
        line = capsys.readouterr().out
        assert re.search(rf'img/s 400\.0 +gflop/s 40\.0 +{shown}left ', line.replace('% ', '%  ')), line
    stats = json.loads((tmp_path / 'stats.jsonl').read_text().splitlines()[-1])
    assert stats['Timing/gflop_per_sec']['mean'] == pytest.approx(40) and stats['Timing/mfu_percent']['mean'] == pytest.approx(50)


@pytest.mark.parametrize('stream, shown', [(Terminal, True), (io.StringIO, False)])
def test_the_bar_is_for_terminals_only(stream, shown, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, '__stderr__', stream())
    monitor = Monitor(tmp_path, start_nimg=2000, total_nimg=10_000)
    monitor.progress(5000)
    monitor.print('a line')
    monitor.close()
    bar = sys.__stderr__.getvalue()
    assert ('50%' in bar and '5000/10000 img' in bar and 'left' in bar) if shown else bar == ''
    assert capsys.readouterr().out == 'a line\n'


def test_a_style_that_has_died_out_is_warned_of_whenever_it_does(tmp_path, capsys):
    monitor = Monitor(tmp_path, 0, 1000)
    warnings = []
    for living in (None, 3, 1, 0, 0, 2, 0):
        if living is not None:
            training_stats.report0('Progress/style_dims', living)
        monitor.write(500, {})
        warnings.append(capsys.readouterr().out.count('warning: style: no style coordinate is alive'))
    monitor.close()
    assert warnings == [0, 0, 0, 1, 0, 0, 1]


def test_what_is_not_finite_becomes_null_and_is_warned_of(tmp_path, capsys):
    monitor = Monitor(tmp_path, 0, 1000)
    training_stats.report('Loss/G/nonfinite_grads', 2)
    training_stats.report('Loss/test_monitor', float('nan'))
    monitor.write(500, {'Gmain': 12.5})
    monitor.close()
    stats = json.loads((tmp_path / 'stats.jsonl').read_text(), parse_constant=pytest.fail)
    assert stats['Loss/test_monitor'] == {'num': 1, 'mean': None, 'std': None}
    assert stats['Timing/Gmain'] == {'num': 1, 'mean': 12.5, 'std': 0.0}
    assert 'warning: G had gradients that were not finite' in capsys.readouterr().out


def test_pictures_are_scaled_down_for_the_loggers_only(tmp_path):
    PIL.Image.new('RGB', (4096, 2048), (10, 200, 30)).save(tmp_path / 'large.png')
    PIL.Image.new('L', (64, 32), 77).save(tmp_path / 'small.png')
    monitor = Monitor(tmp_path, 0, 1000)
    monitor.image('fakes', tmp_path / 'large.png', 3000)
    monitor.image('reals', tmp_path / 'small.png', 0)
    monitor.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    [large], [small] = events.Images('fakes'), events.Images('reals')
    assert (large.step, large.width, large.height) == (3, 2048, 1024) and (small.step, small.width, small.height) == (0, 64, 32)
    assert PIL.Image.open(tmp_path / 'large.png').size == (4096, 2048)


def test_a_metric_is_a_line_in_the_published_form_and_one_point(tmp_path, capsys):
    (tmp_path / 'metric-pr.jsonl').write_text('{"results": {"pr_recall": 0.5}}\n{"results": {"pr_re')
    monitor = Monitor(tmp_path, 0, 200_000)
    record = dict(results={'pr_recall': 0.25, 'pr_precision': float('nan')}, metric='pr', total_time=61.0,
                  total_time_str='1m 01s', num_gpus=1)
    monitor.metric(record, 'network-snapshot-000100.pkl', 100_000)
    for nimg in (104_000, 108_000):
        monitor.write(nimg, {})
    monitor.close()
    old, new = (tmp_path / 'metric-pr.jsonl').read_text().splitlines()
    assert old == '{"results": {"pr_recall": 0.5}}' and capsys.readouterr().out == new + '\n'
    line = json.loads(new, parse_constant=pytest.fail)
    assert list(line) == ['results', 'metric', 'total_time', 'total_time_str', 'num_gpus', 'snapshot_pkl', 'timestamp']
    assert line['results'] == {'pr_recall': 0.25, 'pr_precision': None} and line['snapshot_pkl'] == 'network-snapshot-000100.pkl'
    assert abs(line['timestamp'] - time.time()) < 60
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars('Metrics/pr_recall')] == [(100, 0.25)]
    assert 'Metrics/pr_precision' not in events.Tags()['scalars']


def test_a_run_that_goes_on_in_its_directory_continues_all_curves(tmp_path):
    for start, nimgs in ((0, [4000, 8000, 12_000]), (8000, [9000, 13_000])):
        monitor = Monitor(tmp_path, start, 100_000)
        for tick, nimg in enumerate(nimgs):
            monitor.end_of_tick(tick, nimg, augment_p=0.0, gpu_gib=0.0)
            monitor.write(nimg, {})
        monitor.close()
        time.sleep(1.1)  # TensorBoard orders files by the second in their names
    lines = [json.loads(line) for line in (tmp_path / 'stats.jsonl').read_text().splitlines()]
    assert [line['Progress/kimg']['mean'] for line in lines] == [4, 8, 9, 13]
    scalars = EventAccumulator(str(tmp_path)).Reload().Scalars('Progress/kimg')
    assert [(e.step, e.value) for e in scalars] == [(4, 4), (8, 8), (9, 9), (13, 13)]


def test_later_processes_write_and_print_nothing(tmp_path, capsys):
    monitor = Monitor(tmp_path, 0, 1000, {'wandb': dict(mode='auto', project='p')}, rank=1)
    monitor.progress(500)
    monitor.end_of_tick(0, 500, augment_p=0.0, gpu_gib=0.0)
    monitor.image('fakes', tmp_path / 'not written here.png', 500)
    monitor.metric(dict(results={}, metric='x'), 'network-snapshot-000000.pkl', 500)
    monitor.write(500, {})
    monitor.close()
    assert not list(tmp_path.iterdir()) and capsys.readouterr() == ('', '')


@pytest.mark.parametrize('spoil, limit', [
    (lambda run_dir: (run_dir / 'stats.jsonl').mkdir(), None),
    (lambda run_dir: (run_dir / 'stats.jsonl').write_text('{"Progress/kimg": {"num": 1, "mean": 0.0}}\n{"torn'), 10),
    (lambda run_dir: (run_dir / 'metric-pr.jsonl').write_text('{"results": {}}\n{"resu'), 10),
    (lambda run_dir: (run_dir / 'health.jsonl').write_text('{"kimg": 9}\n{"kimg": 0}\n'), 10)],
    ids=['folder', 'stats', 'metric', 'health'])
def test_files_that_cannot_be_written_at_the_start_end_it_in_one_line(spoil, limit, tmp_path):
    spoil(tmp_path)
    with full_disk(limit), pytest.raises(UserError, match=rf'^{tmp_path}: cannot be written \([a-z ]+\); make room'):
        Monitor(tmp_path, 0, 1000).close()


def test_a_disk_that_fills_up_later_does_not_end_it(tmp_path, capsys):
    monitor = Monitor(tmp_path, 0, 1000)
    training_stats.report0('Progress/style_dims', 0)
    with full_disk(0):
        monitor.write(500, {})
    monitor.close()
    out = capsys.readouterr().out
    assert 'warning: style: ' in out
    for name in ('stats.jsonl', 'health.jsonl'):
        assert f'Error: {tmp_path / name} could not be written (' in out
