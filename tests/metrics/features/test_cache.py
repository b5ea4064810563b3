"""Features of real images that are kept: found again, found damaged, bounded, and complete whatever happens to who writes."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from dnnlib import UserError
from metrics.features import cache as feature_cache
from metrics.features.cache import FeatureCache
from metrics.features.statistics import FeatureStats

KEY = dict(images='abc', items='all', detector='inception-123', mean_cov=True, every=True)


def some_stats(n=300, width=8, seed=0):
    stats = FeatureStats(capture_all=True, capture_mean_cov=True, max_items=n)
    stats.append(np.random.RandomState(seed).randn(n, width).astype(np.float32))
    return stats


def same(a, b):
    return (np.array_equal(a.features(), b.features())
            and all(np.array_equal(x, y) for x, y in zip(a.mean_cov(), b.mean_cov(), strict=True)))


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / 'gan-metrics', limit=1 << 30)


@pytest.mark.parametrize('block', [1 << 22, 100])
def test_what_is_saved_is_found(cache, monkeypatch, block):
    monkeypatch.setattr(feature_cache, 'BLOCK', block)  # with the small one arrays are mapped
    stats = some_stats()
    assert cache.load(KEY) is None
    cache.save(KEY, stats, 'my data/set-inception')
    assert same(cache.load(KEY), stats) and isinstance(cache.load(KEY).features(), np.memmap) == (block == 100)
    assert [p.name.rpartition('-')[0] for p in cache.directory.iterdir()] == ['my_data_set-inception']


def test_all_that_it_depends_on_is_in_the_key(cache):
    cache.save(KEY, some_stats(), 'x')
    for name, value in [('images', 'abd'), ('items', 'some'), ('detector', 'inception-124'), ('mean_cov', False), ('every', 0)]:
        assert cache.load({**KEY, name: value}) is None
    assert cache.load(dict(reversed(KEY.items()))) is not None, 'not the order'


def test_a_new_version_finds_nothing_of_the_old(cache, monkeypatch):
    cache.save(KEY, some_stats(), 'x')
    monkeypatch.setattr(feature_cache, 'VERSION', feature_cache.VERSION + 1)
    assert cache.load(KEY) is None


def damages():
    yield from [('empty', lambda data: b''), ('half', lambda data: data[:len(data) // 2]), ('most', lambda data: data[:-1]),
                ('other', lambda data: b'x' * len(data)), ('hole', lambda data: data[:500] + data[600:])]
    yield from [(f'bit at {share}', lambda data, share=share: flip(data, int(len(data) * share))) for share in (.2, .5, .8)]


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1:]


@pytest.mark.parametrize('block', [1 << 22, 100])
@pytest.mark.parametrize('damage', [d for _, d in damages()], ids=[name for name, _ in damages()])
def test_damaged_entries_are_noticed_and_removed(cache, monkeypatch, damage, block):
    monkeypatch.setattr(feature_cache, 'BLOCK', block)
    cache.save(KEY, some_stats(), 'x')
    path, = cache.directory.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert cache.load(KEY) is None and not path.exists()
    cache.save(KEY, some_stats(), 'x')
    assert cache.load(KEY) is not None


def test_no_pickle_is_read(cache):
    cache.save(KEY, some_stats(), 'x')
    path, = cache.directory.iterdir()
    np.savez(path, num_items=np.array([print], dtype=object), max_items=np.int64(1), features=np.zeros([1, 1], np.float32))
    assert cache.load(KEY) is None


def test_what_was_not_used_for_longest_goes_first(cache):
    for i in range(4):
        cache.save({**KEY, 'images': str(i)}, some_stats(), f'x{i}')
        path, = cache.directory.glob(f'x{i}-*')
        os.utime(path, (1000 + i, 1000 + i))
    size = path.stat().st_size
    assert cache.load({**KEY, 'images': '0'}) is not None  # used just now
    small = FeatureCache(cache.directory, limit=int(3.5 * size))
    small.save({**KEY, 'images': '4'}, some_stats(), 'x4')
    assert sorted(p.name[:2] for p in cache.directory.iterdir()) == ['x0', 'x3', 'x4']


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path):
    for limit in (0, 1000):
        cache = FeatureCache(tmp_path / 'none', limit)
        cache.save(KEY, some_stats(), 'x')
        assert cache.load(KEY) is None and not cache.directory.exists()


def test_limit_and_place_are_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    assert FeatureCache().directory == tmp_path / 'gan-metrics' and FeatureCache().limit == 8 << 30
    monkeypatch.setenv('DNNLIB_METRICS_CACHE_GIB', '0.5')
    assert FeatureCache().limit == 1 << 29
    for wrong in ('much', '-1', 'nan', 'inf'):
        monkeypatch.setenv('DNNLIB_METRICS_CACHE_GIB', wrong)
        with pytest.raises(UserError, match=f'DNNLIB_METRICS_CACHE_GIB={wrong}: '):
            FeatureCache()


def test_a_place_that_cannot_be_written_keeps_nothing(tmp_path):
    (tmp_path / 'file').write_text('')
    cache = FeatureCache(tmp_path / 'file' / 'gan-metrics')
    cache.save(KEY, some_stats(), 'x')
    assert cache.load(KEY) is None


def _write(directory, first):
    cache = FeatureCache(directory, limit=1 << 30)
    for number in range(first, first + 100):  # far longer than it is to live
        cache.save({**KEY, 'images': str(number % 3)}, some_stats(40_000, 16, seed=number % 3), 'x')


def test_killing_who_writes_leaves_no_broken_entry(tmp_path):
    cache = FeatureCache(tmp_path, limit=1 << 30)
    stats = [some_stats(40_000, 16, seed=i) for i in range(3)]
    interrupted = 0
    for attempt in range(8):
        process = multiprocessing.get_context('fork').Process(target=_write, args=(tmp_path, attempt))
        process.start()
        while process.is_alive() and not any(p.suffix == '.tmp' for p in tmp_path.iterdir()):
            time.sleep(0.001)
        time.sleep(0.002 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        interrupted += any(p.suffix == '.tmp' for p in tmp_path.iterdir())
        before = list(tmp_path.glob('*.npz'))
        for i in range(3):
            found = cache.load({**KEY, 'images': str(i)})
            assert found is None or same(found, stats[i])
        assert list(tmp_path.glob('*.npz')) == before, 'none was damaged'
        for leftover in tmp_path.glob('.*.tmp'):
            os.utime(leftover, (0, 0))
        cache.save(KEY, some_stats(), 'y')
        assert not list(tmp_path.glob('.*.tmp')), 'what it left is removed after a day'
    assert interrupted
