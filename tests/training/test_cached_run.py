"""Runs with a cache of decoded images."""

import json

import pytest
from helpers.programs import run_program
from helpers.small_runs import config, digests, run, write_domains

import train
from training.data import image_cache
from training.data.image_cache import ImageCache
from training.run import sample_grid


@pytest.mark.parametrize('place', ['shm', 'disk'])
def test_a_run_is_the_same_with_it_and_gives_memory_back(tmp_path, monkeypatch, place):
    (tmp_path / 'shm').mkdir()
    monkeypatch.setattr(image_cache, 'SHARED_MEMORY', tmp_path / 'shm')
    monkeypatch.setattr(sample_grid, 'choose_grid', lambda *_, **__: ((3, 3), range(9)))  # fewer pictures
    data = write_domains(tmp_path / 'data.zip')
    used, remove = [], ImageCache.remove

    def counted(cache):
        used.append(sum(cache.get(i) is not None for i in range(9)))
        remove(cache)
    monkeypatch.setattr(ImageCache, 'remove', counted)
    run(config(data, tmp_path / 'plain'), steps=2)
    run(config(data, tmp_path / 'cached', image_cache=str(tmp_path / place / 'x')), steps=2)
    assert digests(tmp_path / 'plain') == digests(tmp_path / 'cached')
    assert (tmp_path / place / 'x').exists() == (place == 'disk')
    assert used == ([9] if place == 'shm' else [])


def test_the_option_chooses_a_place_or_says_that_there_is_none(tmp_path, monkeypatch):
    (tmp_path / 'shm').mkdir()
    monkeypatch.setattr(image_cache, 'SHARED_MEMORY', tmp_path / 'shm')
    monkeypatch.setattr(image_cache, '_room_in_memory', lambda: 10 ** 9)
    args = ['--outdir', tmp_path / 'out', '--data', write_domains(tmp_path / 'data.zip'), '--dry-run', '--cbase=32', '--cmax=4']
    for option, place in (([], None), (['--cache_images=auto'], 'shm')):
        status, text, _ = run_program(train.main, *args, *option)
        chosen = json.loads(text.partition('Training options:\n')[2].partition('\nOutput directory')[0])['image_cache']
        assert status == 0 and (chosen is None if place is None else chosen.startswith(f'{tmp_path}/{place}/images-'))
    monkeypatch.setattr(image_cache, '_room_in_memory', lambda: 0)
    status, _, err = run_program(train.main, *args, '--cache-images=memory')
    assert status == 2 and err.startswith('Error: --cache-images=memory: the decoded images take')
