"""Phases as CUDA graphs: the bits of a run whose phases are only rehearsed."""

import pytest
import torch
from helpers.recorded_runs import TERMS, changes, weights
from helpers.small_runs import config, run, stats, write_domains

from torch_utils import cuda_graphs
from training.losses import recorded_phase


@pytest.fixture(autouse=True)
def deterministic(device, monkeypatch):
    if not cuda_graphs.works_on(device):
        pytest.skip(f'{device.type} has no recordings')
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize('name', TERMS)
def test_a_recorded_run_ends_with_the_bits_of_one_that_is_only_rehearsed(name, device, tmp_path, monkeypatch, capsys):
    data = write_domains(tmp_path / 'domains.zip')
    for folder in ('recorded', 'rehearsed'):
        assert run(config(data, tmp_path / folder, device=device.type, ops='auto', **changes(TERMS[name])))
        assert 'CUDA graphs:  yes' in capsys.readouterr().out
        monkeypatch.setattr(recorded_phase, 'REHEARSALS', 10 ** 9)
    a, b = weights(tmp_path / 'recorded'), weights(tmp_path / 'rehearsed')
    assert [key for key in a if not torch.equal(a[key], b[key])] == []
    ours, theirs = ({k: v for line in stats(tmp_path / which) for k, v in line.items() if k.startswith('Loss/')}
                    for which in ('recorded', 'rehearsed'))
    assert ours == theirs


def test_a_stopped_run_continues_exactly(device, tmp_path):
    data = write_domains(tmp_path / 'domains.zip')
    whole, pieces = (config(data, tmp_path / name, network_snapshot_ticks=2, device=device.type, ops='auto',
                            **changes(TERMS['stylegan2'])) for name in ('whole', 'pieces'))
    assert run(whole)
    assert [run(pieces, 6), run(pieces)] == [False, True]
    a, b = weights(tmp_path / 'whole'), weights(tmp_path / 'pieces')
    assert [key for key in a if not torch.equal(a[key], b[key])] == []
