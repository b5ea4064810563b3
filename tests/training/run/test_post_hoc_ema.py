"""Averages of the weights beside a run: they change nothing in it, and killing it changes no bit of them."""

import hashlib

import pytest
import torch
from helpers.small_runs import config, digests, run, write_domains

from training import training_loop as loop
from training.run.clock import Clock
from training.snapshots.averages import load_averages

FILES = {'network-snapshot-000001.pkl', 'training-state-000001.pt', 'weight-averages-000001.pt'}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp('data') / 'domains.zip')


def short(data, run_dir, **changes):
    """10 steps."""
    return config(data, run_dir, batch_size=100, batch_gpu=100, **changes)


def all_digests(run_dir):
    return {name: hashlib.sha256((run_dir / name).read_bytes()).hexdigest() for name in FILES}


def test_a_killed_run_has_the_averages_of_an_undisturbed_one_and_the_weights_of_one_without(data, tmp_path, monkeypatch, capsys):
    run(short(data, tmp_path / 'without'))
    run(short(data, tmp_path / 'with', post_hoc_ema=True))
    assert digests(tmp_path / 'without') == digests(tmp_path / 'with')
    assert not list((tmp_path / 'without').glob('weight-averages-*'))
    assert 'averages' not in torch.load(tmp_path / 'without' / 'training-state-000001.pt')

    (tmp_path / 'killed').mkdir()
    steps = []
    monkeypatch.setattr(Clock, 'snapshot_is_due', lambda self, saved_at: len(steps) == 5)
    with pytest.raises(SystemExit):
        loop.training_loop(short(data, tmp_path / 'killed', post_hoc_ema=True),
                           stop_requested=lambda: steps.append(1) or (len(steps) == 7 and exit()))
    monkeypatch.undo()
    capsys.readouterr()
    run(short(data, tmp_path / 'killed', post_hoc_ema=True))
    assert all_digests(tmp_path / 'killed') == all_digests(tmp_path / 'with')
    assert 'starting fresh' not in capsys.readouterr().out


def test_averages_that_begin_later_count_from_there(data, tmp_path, capsys):
    run(short(data, tmp_path / 'a'), 3)
    run(short(data, tmp_path / 'a', post_hoc_ema=True))
    assert 'starting fresh: averages for --post-hoc-ema' in capsys.readouterr().out
    found = load_averages(tmp_path / 'a' / 'weight-averages-000001.pt')
    assert (found.cur_nimg, found.seen_nimg) == (1000, 700)
