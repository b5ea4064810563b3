"""What --network names."""

import os

import pytest

from dnnlib.util import OptionError
from metrics.subjects import distinct_names, find_subjects


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Two run directories, an exported generator, and a file."""
    monkeypatch.chdir(tmp_path)
    for run, kimgs in (('runs/00000-a', (0, 4, 1000, 12)), ('runs/00001-b', (4,))):
        os.makedirs(run)
        open(f'{run}/training_options.json', 'w').close()
        open(f'{run}/other.pkl', 'w').close()
        for kimg in kimgs:
            open(f'{run}/network-snapshot-{kimg:06d}.pkl', 'w').close()
    os.makedirs('exported')
    open('exported/config.json', 'w').close()
    open('net.pkl', 'w').close()
    return tmp_path


def test_a_run_directory_is_all_its_snapshots_by_kimg(here):
    found = find_subjects(['runs/00000-a'])
    assert [subject.kimg for subject in found] == [0, 4, 12, 1000]
    assert [subject.name for subject in found] == [f'network-snapshot-{kimg:06d}' for kimg in (0, 4, 12, 1000)]
    assert {subject.run_dir.name for subject in found} == {'00000-a'}


def test_a_pattern_is_sorted_by_run_and_kimg(here):
    for pattern in ('runs/*/network-snapshot-*.pkl', 'runs/*', 'runs/0000[01]-*'):
        assert [(s.run_dir.name, s.kimg) for s in find_subjects([pattern])] == [
            ('00000-a', 0), ('00000-a', 4), ('00000-a', 12), ('00000-a', 1000), ('00001-b', 4)]
    names = [subject.name for subject in find_subjects(['runs/*'])]
    assert len(set(names)) == 5 and names[-1] == '00001-b-network-snapshot-000004'


def test_files_urls_and_exported_generators_are_themselves(here):
    urls = ['https://example.org/a/network-snapshot-000012.pkl', (here / 'net.pkl').as_uri()]
    found = find_subjects(['net.pkl', 'exported', *urls, 'runs/00001-b/network-snapshot-000004.pkl'])
    assert [subject.network for subject in found] == ['net.pkl', 'exported', *urls, 'runs/00001-b/network-snapshot-000004.pkl']
    assert [subject.kimg for subject in found] == [None, None, 12, None, 4]
    assert [subject.run_dir is not None for subject in found] == [False] * 4 + [True]
    assert len(find_subjects(['runs/00001-b', 'runs/00001-b/network-snapshot-000004.pkl'])) == 1  # each once


def test_what_is_not_there_is_refused(here):
    for value, message in [('gone.pkl', '--network must point to a file or URL'), ('runs', 'there is no network-snapshot-'),
                           ('runs/*/gone*.pkl', 'no file has a name like this'), ('file:///gone.pkl', 'must point to a file')]:
        with pytest.raises(OptionError, match=message) as caught:
            find_subjects(['net.pkl', value])
        assert value in str(caught.value)


def test_names_in_records_are_relative_to_the_run_directory(here):
    subject, = find_subjects(['runs/00001-b'])
    assert subject.relative_to(subject.run_dir) == 'network-snapshot-000004.pkl'
    assert subject.relative_to(here / 'elsewhere') == '../runs/00001-b/network-snapshot-000004.pkl'
    url, = find_subjects(['https://example.org/a.pkl'])
    assert url.relative_to(here) == url.network


def test_names_of_networks_tell_them_apart():
    assert distinct_names(['https://example.org/runs/net-1.pkl?version=2.0']) == ['net-1']
    assert distinct_names(['a/net.v2.pkl', 'b/net.v1.pkl', 'https://example.org']) == ['net.v2', 'net.v1', 'network']
    assert distinct_names(['a/net.pkl', 'https://example.org/runs/b/net.pkl?version=2.0']) == ['a-net', 'b-net']
