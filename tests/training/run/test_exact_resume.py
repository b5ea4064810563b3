"""A run that is stopped and goes on ends with the same bytes as one that was never stopped."""

import sys

import pytest
import torch
from helpers.small_runs import config, digests, run, stats, write_domains

from training import training_loop as loop
from training.run.clock import Clock

LAST = 'network-snapshot-000001.pkl'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp('data') / 'domains.zip')


def with_flow(c):
    c.G_kwargs['mapping_kwargs'].update(cond_mode='flow', i_dim=3, flow_dim=2)
    c.loss_kwargs['terms'] |= {'G/sparse': dict(weight=0.1), 'G/img_sparse': dict(weight=0.1)}


def with_ada(c):
    c.update(augment_kwargs=dict(class_name='training.augment.AugmentPipe', xint=1, brightness=1), ada_target=-0.5,
             ada_interval=4, ada_kimg=1)


def with_clr(c):
    c.loss_kwargs['terms'] |= {'G/recon': dict(weight=0.5), 'D/latent': dict(weight=5.0)}
    c.reconstructs = True


def in_bf16(c):
    width = dict(num_fp16_res=4, conv_clamp=256)
    c.precision = 'bf16'
    c.D_kwargs.update(width)
    c.G_kwargs['synthesis_kwargs'].update(width)


def frozen(c):
    c.D_kwargs.update(block_kwargs=dict(freeze_layers=2))


METHODS = {
    'stylegan2': lambda c: c.update(data_loader_kwargs=dict(num_workers=2, prefetch_factor=2)),
    'flow': with_flow, 'ada': with_ada, 'clr': with_clr, 'bf16': in_bf16, 'freeze-d': frozen,
    'all': lambda c: (with_flow(c), with_ada(c), with_clr(c), c.update(batch_gpu=25)),
}


@pytest.mark.parametrize('method', [
    pytest.param(method, marks=[pytest.mark.slow] * (method in ('flow', 'ada', 'clr', 'freeze-d'))) for method in METHODS])
def test_stopping_twice_within_ticks_changes_no_bit(method, data, tmp_path, capsys):
    """After 7 steps of 50 images (ADA has collected 3 since its last update) and after 14; R1 is due in steps 0 and 16."""
    whole, pieces = (config(data, tmp_path / name, network_snapshot_ticks=2, image_snapshot_ticks=2) for name in 'ab')
    for c in (whole, pieces):
        METHODS[method](c)
    assert run(whole)
    torch.manual_seed(99)
    assert [run(pieces, 7), run(pieces, 7), run(pieces)] == [False, False, True]
    last = [{name: digest for name, digest in digests(tmp_path / run_dir).items() if '000001' in name} for run_dir in 'ab']
    assert last[0] == last[1] and {LAST, 'fakes000001.png'} <= last[0].keys()
    assert 'starting fresh' not in capsys.readouterr().out


def test_the_ticks_are_those_of_an_undisturbed_run_with_a_line_more_where_it_stopped(data, tmp_path):
    for name, stops in (('a', []), ('b', [8]), ('c', [6, 5]), ('d', [1, 1])):
        for steps in [*stops, None]:
            run(config(data, tmp_path / name), steps)
    whole, within, at_the_end, early = (
        {line['Progress/kimg']['mean']: line for line in stats(tmp_path / name)} for name in 'abcd')
    assert list(whole) == [0.05, 0.3, 0.55, 0.8, 1.0]
    assert list(within) == [0.05, 0.3, 0.4, 0.55, 0.8, 1.0]
    assert list(at_the_end) == list(whole), 'it stopped where ticks end anyway'
    assert list(early) == [0.05, 0.1, 0.3, 0.55, 0.8, 1.0], 'the first step is a tick by itself, once'
    for kimg in (0.05, 0.3, 0.8, 1.0):
        for name in ('Loss/G/loss', 'Loss/D/loss', 'Loss/signs/real', 'Progress/tick'):
            assert within[kimg][name] == whole[kimg][name], (kimg, name)
    halves = [within[kimg]['Loss/G/loss'] for kimg in (0.4, 0.55)]
    assert sum(half['num'] for half in halves) == whole[0.55]['Loss/G/loss']['num']


def test_a_snapshot_within_a_tick_serves_a_run_that_was_killed_later(data, tmp_path, monkeypatch):
    run(config(data, tmp_path / 'a', network_snapshot_ticks=2))
    steps = []
    monkeypatch.setattr(Clock, 'snapshot_is_due', lambda self, saved_at: len(steps) == 8)
    with pytest.raises(SystemExit):
        loop.training_loop(config(data, make(tmp_path / 'b'), network_snapshot_ticks=2),
                           stop_requested=lambda: steps.append(1) or (len(steps) == 9 and sys.exit()))
    assert len(stats(tmp_path / 'b')) == 2
    monkeypatch.undo()
    run(config(data, tmp_path / 'b', network_snapshot_ticks=2))
    assert digests(tmp_path / 'a')[LAST] == digests(tmp_path / 'b')[LAST]
    assert [line['Progress/kimg']['mean'] for line in stats(tmp_path / 'b')] == [0.05, 0.3, 0.55, 0.8, 1.0]


def test_a_run_whose_time_is_up_stops_with_all_saved(data, tmp_path, capsys):
    run(config(data, tmp_path / 'a'))
    assert run(config(data, tmp_path / 'b', max_minutes=1e-9)) is False
    assert len(stats(tmp_path / 'b')) == 1 and 'Stopping early' in capsys.readouterr().out
    assert run(config(data, tmp_path / 'b'))
    assert digests(tmp_path / 'a')[LAST] == digests(tmp_path / 'b')[LAST]


def test_a_run_goes_on_in_a_directory_that_was_renamed(data, tmp_path):
    run(config(data, tmp_path / 'a'))
    run(config(data, tmp_path / 'b'), 9)
    (tmp_path / 'b').rename(tmp_path / 'c')
    run(config(data, tmp_path / 'c'))
    assert digests(tmp_path / 'a')[LAST] == digests(tmp_path / 'c')[LAST]


def test_the_method_may_change_and_what_is_new_is_listed(data, tmp_path, capsys):
    run(config(data, tmp_path / 'a'))
    state = str(tmp_path / 'a' / 'training-state-000001.pt')
    c = config(data, make(tmp_path / 'b'), total_kimg=2, resume_pkl=str(tmp_path / 'a' / LAST), resume_state=state)
    with_ada(c)
    c.G_kwargs['mapping_kwargs'].update(num_layers=2)
    capsys.readouterr()
    loop.training_loop(c)
    out = capsys.readouterr().out
    assert 'tensors restored; new: mapping.fc1.weight, mapping.fc1.bias\n' in out
    assert 'starting fresh: optimiser of G.mapping.fc1.weight, optimiser of G.mapping.fc1.bias, statistics of ADA\n' in out
    assert stats(tmp_path / 'b')[0]['Progress/kimg']['mean'] == 1.25


def make(path):
    path.mkdir()
    return path


def test_each_line_of_stats_has_the_variety_of_its_own_pictures(data, tmp_path):
    """Not of those before, which a run that has just been resumed would not know."""
    found = []
    for name, parts in (('whole', [None]), ('parts', [6, None])):
        for steps in parts:
            run(config(data, tmp_path / name, image_snapshot_ticks=1), steps)
        found.append([line.get('Health/variety') for line in stats(tmp_path / name)][1:])
    assert found[0] == found[1] and len({values['mean'] for values in found[0]}) > 1
