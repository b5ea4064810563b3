"""Averages of the weights beside a run: what is written, that stopping changes no bit, and what is made of them."""

import hashlib

import pytest
import torch
from helpers.small_runs import config, digests, run, write_domains

from dnnlib.errors import UserError
from training import training_loop as loop
from training.networks import power_average
from training.run.clock import Clock
from training.snapshots.averages import averages_up_to, load_averages, reconstruct
from training.snapshots.file import load_network_snapshot

LAST = 'network-snapshot-000001.pkl'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp('data') / 'domains.zip')


def all_digests(run_dir):
    """Of the networks, averages and training states at the end."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in run_dir.glob('*000001*')
            if path.suffix in ('.pkl', '.pt')}


def test_a_run_with_averages_is_the_same_run(data, tmp_path):
    run(config(data, tmp_path / 'a'))
    run(config(data, tmp_path / 'b', post_hoc_ema=True))
    assert digests(tmp_path / 'a') == digests(tmp_path / 'b')
    assert not list((tmp_path / 'a').glob('weight-averages-*')) and 'averages' not in torch.load(
        tmp_path / 'a' / 'training-state-000001.pt')


def test_stopped_and_killed_runs_have_the_same_averages(data, tmp_path, monkeypatch, capsys):
    whole, stopped, killed = (config(data, tmp_path / name, network_snapshot_ticks=2, post_hoc_ema=True) for name in 'abc')
    run(whole)
    assert [run(stopped, 7), run(stopped, 7), run(stopped)] == [False, False, True]
    (tmp_path / 'c').mkdir()
    steps = []
    monkeypatch.setattr(Clock, 'snapshot_is_due', lambda self, saved_at: len(steps) == 8)
    with pytest.raises(SystemExit):
        loop.training_loop(killed, stop_requested=lambda: steps.append(1) or (len(steps) == 12 and exit()))
    monkeypatch.undo()
    run(killed)
    expected = all_digests(tmp_path / 'a')
    assert expected.keys() == {LAST, 'training-state-000001.pt', 'weight-averages-000001.pt'}
    assert all_digests(tmp_path / 'b') == all_digests(tmp_path / 'c') == expected
    assert 'starting anew' not in capsys.readouterr().out


def test_averages_that_begin_later_count_from_there(data, tmp_path, capsys):
    run(config(data, tmp_path / 'a'), 7)
    run(config(data, tmp_path / 'a', post_hoc_ema=True))
    assert 'starting anew: averages for --post-hoc-ema' in capsys.readouterr().out
    found = load_averages(tmp_path / 'a' / 'weight-averages-000001.pt')
    assert (found.start_nimg, found.cur_nimg) == (350, 1000)


def test_a_length_is_reconstructed_from_the_files_of_a_run(data, tmp_path, monkeypatch):
    monkeypatch.setattr(power_average, 'SIGMAS', (0.05, 0.1, 0.08))
    run(config(data, tmp_path / 'a', total_kimg=8, kimg_per_tick=1, network_snapshot_ticks=1, batch_size=100, batch_gpu=100,
               post_hoc_ema=True))
    files = averages_up_to(tmp_path / 'a' / 'network-snapshot-000008.pkl')
    assert [each.cur_nimg for each in files] == [1100, 2100, 3100, 4100, 5100, 6100, 7100, 8000]
    truth = {sigma: flat(values) for sigma, values in files[-1].values.items()}
    without = [each._replace(values={s: v for s, v in each.values.items() if s != 0.08}) for each in files]
    made = reconstruct(without, 0.08)
    off = (flat(made.parameters) - truth[0.08]).norm()
    assert made.error < 0.02 and off < 0.05 * min((truth[s] - truth[0.08]).norm() for s in (0.05, 0.1))
    G = load_network_snapshot(str(tmp_path / 'a' / 'network-snapshot-000008.pkl')).G
    assert 0 < (truth[0.05] - flat(dict(G.named_parameters()))).norm() < (truth[0.1] - flat(dict(G.named_parameters()))).norm()


def flat(parameters):
    return torch.cat([parameters[name].double().flatten() for name in sorted(parameters)])


@pytest.mark.parametrize('damage', [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-200]),
                                    lambda path: path.write_bytes(b'x'), lambda path: torch.save({'format': 1}, path)])
def test_missing_and_damaged_files_are_named(data, tmp_path, damage):
    run(config(data, tmp_path / 'a', post_hoc_ema=True), 1)
    path = tmp_path / 'a' / 'weight-averages-000000.pt'
    damage(path)
    with pytest.raises(UserError) as caught:
        averages_up_to(tmp_path / 'a' / 'network-snapshot-000000.pkl')
    assert str(caught.value).startswith(f'{path}: ') and '\n' not in str(caught.value)
