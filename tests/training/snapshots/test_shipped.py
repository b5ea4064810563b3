"""Names of the networks in models/."""

import pytest

from training.run.resume import find_resume, newest_snapshot
from training.snapshots import shipped


@pytest.fixture
def models(tmp_path, monkeypatch):
    """digits/plain with two snapshots, digits/exported, and a folder without a network."""
    monkeypatch.setattr(shipped, 'MODELS', tmp_path / 'models')
    for name in ('digits/plain/network-snapshot-000008.pkl', 'digits/plain/network-snapshot-000100.pkl',
                 'digits/exported/config.json', 'digits/notes/README.md'):
        path = tmp_path / 'models' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'x')
    return tmp_path / 'models'


def test_names_stand_for_the_newest_snapshot_or_the_exported_folder(models):
    assert shipped.names() == ['digits/exported', 'digits/plain']
    assert shipped.path_of('digits/plain') == str(models / 'digits/plain/network-snapshot-000100.pkl')
    assert shipped.path_of('digits/exported') == str(models / 'digits/exported')


@pytest.mark.parametrize('source', ['digits', 'digits/notes', 'digits/other', '../models/digits/plain', 'latest',
                                    'https://host/a.pkl', ''])
def test_anything_else_stays(models, source):
    assert shipped.path_of(source) == source


def test_a_file_or_folder_of_that_name_comes_first(models, tmp_path, monkeypatch):
    (tmp_path / 'digits/plain').mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert shipped.path_of('digits/plain') == 'digits/plain'


def test_networks_are_opened_and_resumed_by_name(models):
    expected = str(models / 'digits/plain/network-snapshot-000100.pkl')
    assert newest_snapshot('digits/plain') == expected
    resume = find_resume('digits/plain', None, 'runs', '')
    assert (resume.network_pkl, resume.training_state, resume.run_dir, resume.start_nimg) == (expected, None, None, None)
    assert find_resume('digits/plain', 0, 'runs', '').start_nimg == 0
