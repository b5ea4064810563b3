"""Whether bfloat16 is chosen on a CPU is measured, once."""

import json

import pytest

from dnnlib.download import cache_dir
from torch_utils import bf16


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setattr(bf16, 'has_instructions', lambda: True)


@pytest.fixture
def clock(monkeypatch):
    """Fake durations of convolutions, by dtype, in seconds. Counts the calls."""
    taken = {'float32': 3.0, 'bfloat16': 1.0, 'calls': 0}

    def seconds(x, w):
        taken['calls'] += 1
        return taken[str(x.dtype).removeprefix('torch.')]

    monkeypatch.setattr(bf16, '_seconds', seconds)
    return taken


@pytest.mark.parametrize('half, chosen', [(1.0, True), (2.4, True), (2.6, False), (5.0, False)])
def test_it_must_be_faster_by_a_fifth(half, chosen, clock, capsys):
    clock['bfloat16'] = half
    assert bf16.pays(256, native_ops=False) is chosen
    assert f'{3 / half:.2f} times as fast' in capsys.readouterr().out


def test_it_is_measured_once_for_each_width_and_told_then(clock, capsys):
    assert bf16.pays(256, False) and bf16.pays(256, False)
    calls = clock['calls']
    assert capsys.readouterr().out.count('times as fast') == 1
    clock['bfloat16'] = 9.0
    assert bf16.pays(256, False), 'the cache knows'
    assert clock['calls'] == calls
    assert not bf16.pays(512, False) and clock['calls'] == 2 * calls
    assert sorted(json.loads(cache_dir('bf16.json').read_text()).values()) == [pytest.approx(1 / 3), 3.0]


@pytest.mark.parametrize('content', ['', '[1]', '{"a": "b"}', '{"half": '])
def test_a_corrupt_cache_is_measured_again(content, clock):
    cache_dir().mkdir()
    cache_dir('bf16.json').write_text(content)
    assert bf16.pays(256, False) and clock['calls']
    assert 3.0 in json.loads(cache_dir('bf16.json').read_text()).values()


def test_narrow_networks_and_cpus_without_instructions_are_not_measured(clock, monkeypatch):
    assert not bf16.pays(128, native_ops=False) and not bf16.pays(32, native_ops=True)
    monkeypatch.setattr(bf16, 'has_instructions', lambda: False)
    assert not bf16.pays(512, True)
    assert clock['calls'] == 0


def test_a_real_measurement_gives_a_ratio_and_leaves_random_numbers_alone():
    import torch
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert 0.001 < bf16.speedup(16) < 100
    assert torch.equal(torch.get_rng_state(), before)
