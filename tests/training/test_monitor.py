"""What a run tells: the status line, the bar on a terminal, strict JSON, warnings."""

import io
import json
import re
import sys

import pytest

from torch_utils import training_stats
from training.monitor import Monitor


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_status_line_has_the_published_fields_then_speed_and_time_left(tmp_path, capsys):
    monitor = Monitor(tmp_path, start_nimg=0, total_nimg=100_000)
    monitor.end_of_tick(3, 4000, augment_p=0.25, gpu_gib=1.5)
    monitor.close()
    line = capsys.readouterr().out
    number = r'[\d.]+ *'
    fields = ['tick 3    ', 'kimg 4.0     ', 'time 0s          ', f'sec/tick {number}', f'sec/kimg {number}',
              f'maintenance {number}', f'cpumem {number}', 'gpumem 1.50  ', r'augment 0\.250', f'img/s {number}', 'left .+']
    assert re.fullmatch(' '.join(fields) + '\n', line), line


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


def test_a_style_that_has_died_out_is_warned_of_once(tmp_path, capsys):
    monitor = Monitor(tmp_path, 0, 1000)
    warnings = []
    for living in (None, 3, 1, 0, 0, 2, 0):
        if living is not None:
            training_stats.report0('Progress/style_dims', living)
        monitor.write(500, {})
        warnings.append(capsys.readouterr().out.count('warning: no style coordinate is left alive'))
    monitor.close()
    assert warnings == [0, 0, 0, 1, 0, 0, 0]


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
