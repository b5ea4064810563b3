"""--resume: which files it finds, and which it passes over, saying so."""

import io
import json
import os

import pytest
import torch

from dnnlib.errors import OptionError, UserError
from dnnlib.seal import seal
from training.run.resume import Resume, find_resume, state_of


def write_pair(run_dir, kimg, state=True, content=None):
    """A pair of files as --resume looks at them; returns the path of the network snapshot."""
    run_dir.mkdir(parents=True, exist_ok=True)
    pkl = run_dir / f'network-snapshot-{kimg:06d}.pkl'
    with open(pkl, 'w+b') as f:
        f.write((content or f'networks of {run_dir.name} at {kimg}').encode() * 100)
        digest = seal(f)
    if state:
        with open(run_dir / f'training-state-{kimg:06d}.pt', 'w+b') as f:
            torch.save({'kimg': kimg}, f)
            seal(f, belongs_to=digest, zipped=True)
    return pkl


def damage(path, how):
    data = path.read_bytes()
    if how == 'flipped':
        data = data[:50] + bytes([data[50] ^ 1]) + data[51:]
    path.write_bytes({'flipped': data, 'truncated': data[:-200], 'empty': b'', 'zeros': bytes(len(data))}[how])


def find(source, outdir='no-such-directory', desc='faces-auto1', kimg=None):
    """(what was found, what was said)."""
    said = []
    return find_resume(str(source), kimg, str(outdir), desc, said.append), said


def names(resume):
    return tuple(None if path is None else os.path.basename(path) for path in (resume.network_pkl, resume.training_state))


PAIR_4, PAIR_8 = ((f'network-snapshot-00000{k}.pkl', f'training-state-00000{k}.pt') for k in (4, 8))


@pytest.fixture
def run_dir(tmp_path):
    path = tmp_path / '00003-faces-auto1'
    for kimg in (0, 4, 8):
        write_pair(path, kimg, state=kimg > 0)
    return path


@pytest.mark.parametrize('form', [str, lambda path: f'{path}/', lambda path: path.parent / '.' / path.name])
def test_a_run_directory_goes_on_in_itself_from_its_newest_pair(run_dir, form):
    found, said = find(form(run_dir))
    assert names(found) == PAIR_8 and found.run_dir == str(run_dir) and found.start_nimg is None and said == []


@pytest.mark.parametrize('how', ['flipped', 'truncated', 'empty', 'zeros'])
@pytest.mark.parametrize('which', PAIR_8)
def test_a_damaged_newest_pair_is_named_and_passed_over(run_dir, which, how):
    damage(run_dir / which, how)
    found, said = find(run_dir)
    assert names(found) == PAIR_4
    assert len(said) == 1 and 'network-snapshot-000008.pkl: ' in said[0] and said[0].endswith('skipping it')


def test_two_damaged_pairs_leave_the_newest_whole_snapshot_alone(run_dir):
    damage(run_dir / PAIR_8[0], 'truncated')
    damage(run_dir / PAIR_4[1], 'truncated')
    found, said = find(run_dir)
    assert names(found) == (PAIR_4[0], None) and found.run_dir == str(run_dir) and len(said) == 1


def test_without_any_state_the_newest_snapshot_is_taken(run_dir):
    for state in run_dir.glob('*.pt'):
        state.unlink()
    found, said = find(run_dir)
    assert names(found) == (PAIR_8[0], None) and said == []


def test_a_state_of_another_run_is_not_taken(run_dir, tmp_path):
    other = tmp_path / '00004-other'
    write_pair(other, 8)
    (other / PAIR_8[1]).replace(run_dir / PAIR_8[1])
    assert names(find(run_dir)[0]) == PAIR_4
    found, said = find(run_dir / PAIR_8[0])
    assert names(found) == (PAIR_8[0], None) and len(said) == 1 and PAIR_8[1] in said[0]


def test_no_snapshot_is_whole(run_dir):
    for path in run_dir.glob('*.pkl'):
        damage(path, 'truncated')
    with pytest.raises(UserError, match=r'00003-faces-auto1.*another run'):
        find(run_dir)


def test_a_file_goes_on_in_a_new_directory_with_its_state(run_dir):
    found, said = find(run_dir / PAIR_4[0])
    assert names(found) == PAIR_4 and found.run_dir is None and said == []
    assert names(find(run_dir / 'network-snapshot-000000.pkl')[0]) == ('network-snapshot-000000.pkl', None)


@pytest.mark.parametrize('source', ['', 'network-snapshot-000008.pkl'])
def test_counting_from_elsewhere_needs_a_new_directory(run_dir, source):
    """In its own, what the run did from there on would have to go."""
    found, _ = find(run_dir / source, kimg=2)
    assert names(found) == PAIR_8 and (found.start_nimg, found.run_dir) == (2000, None)
    found, _ = find(run_dir / source, kimg=0)
    assert names(found) == (PAIR_8[0], None) and (found.start_nimg, found.run_dir) == (0, None), 'fresh optimisers'


@pytest.mark.parametrize('source', [None, 'noresume'])
def test_without_resume_there_is_nothing(source):
    assert find_resume(source, None, 'x', 'y') is None
    with pytest.raises(OptionError, match='--resume-kimg'):
        find_resume(source, 3, 'x', 'y')


@pytest.mark.parametrize('source', ['ffhq256', 'https://example.com/network-snapshot-000100.pkl'])
def test_transfer_learning_starts_at_zero(source):
    found, _ = find(source)
    assert (found.training_state, found.start_nimg, found.run_dir) == (None, 0, None)
    assert find(source, kimg=5)[0].start_nimg == 5000
    with pytest.raises(OptionError, match='--resume-kimg'):
        find(source, kimg=-1)


# --- latest ---


def test_latest_is_the_newest_run_of_the_kind(tmp_path):
    for name in ('00001-faces-auto1', '00002-faces-auto1-kimg100', '00010-faces-auto1-kimg200', '00011-faces-auto10',
                 '00012-cats-auto1', '00013-faces-cond-auto1'):
        write_pair(tmp_path / name, 4)
    (tmp_path / '00014-faces-auto1').mkdir()  # stopped before its first snapshot
    (tmp_path / '00015-faces-auto1').write_text('a file')
    (tmp_path / 'notes').mkdir()
    found, said = find('latest', tmp_path, 'faces-auto1-kimg500')
    assert found.run_dir == str(tmp_path / '00010-faces-auto1-kimg200') and names(found) == PAIR_4 and said == []


@pytest.mark.parametrize('origin', ['-resumecustom', '-resumeffhq256', '-noresume'])
def test_latest_goes_on_with_what_began_from_other_networks(tmp_path, origin):
    """A queue's script starts with --resume=ffhq256, say, and goes on with --resume=latest."""
    write_pair(tmp_path / f'00000-faces-auto1-kimg9{origin}-freezed2', 4)
    assert names(find('latest', tmp_path, 'faces-auto1-kimg9-freezed2')[0]) == PAIR_4
    assert find('latest', tmp_path, 'faces-auto1-kimg9')[0] is None


@pytest.mark.parametrize('outdir', ['', 'no-such'])
def test_latest_of_nothing_starts_from_the_beginning_and_says_so(tmp_path, outdir):
    found, said = find('latest', tmp_path / outdir)
    assert found is None and len(said) == 1 and 'from the beginning' in said[0]


def test_a_directory_without_a_snapshot_is_an_error(tmp_path):
    (tmp_path / 'network-snapshot-best.pkl').write_text('')
    with pytest.raises(OptionError, match=r'--resume=.*no network-snapshot.*latest'):
        find(tmp_path)


# --- what else is remembered ---


def test_a_run_that_began_by_transfer_learning_stays_one(run_dir):
    assert find(run_dir)[0].transfer is False
    for content, transfer in (({'transfer': True}, True), ({'transfer': False}, False), ({}, False), ([1], False)):
        (run_dir / 'training_options.json').write_text(json.dumps(content))
        assert find(run_dir)[0].transfer is find(run_dir / PAIR_8[0])[0].transfer is transfer
    (run_dir / 'training_options.json').write_text('{')
    assert find(run_dir)[0] == Resume(*(str(run_dir / name) for name in PAIR_8), None, str(run_dir), False)


def test_while_a_pair_is_replaced_its_old_state_counts(run_dir):
    pkl, state = (run_dir / name for name in PAIR_8)
    previous = run_dir / 'training-state-000008.previous.pt'
    state.rename(previous)
    assert state_of(pkl) == previous
    write_pair(run_dir.parent / 'new', 8)
    (run_dir.parent / 'new' / state.name).rename(state)  # the new state is there, the new snapshot not yet
    assert state_of(pkl) == previous
    (run_dir.parent / 'new' / pkl.name).replace(pkl)
    assert state_of(pkl) == state


def test_an_older_snapshot_has_no_checksum_and_is_read_instead(run_dir):
    """Those of published code, or a file that lost its end."""
    pkl = run_dir / 'network-snapshot-000012.pkl'
    pkl.write_bytes(b'no snapshot')
    assert names(find(run_dir)[0]) == PAIR_8
    assert state_of(pkl) is None
    assert io.BytesIO(pkl.read_bytes()).getvalue() == b'no snapshot', 'nothing is changed'


@pytest.mark.parametrize('change', [lambda d: write_pair(d, 12), lambda d: (d / PAIR_4[1]).unlink(),
                                    lambda d: damage(d / PAIR_8[0], 'truncated')])
def test_it_is_seen_that_another_process_has_saved_in_the_directory(run_dir, change):
    found, _ = find(run_dir)
    assert found.is_current()
    change(run_dir)
    assert not found.is_current()


def test_a_corrupt_file_that_is_asked_for_is_refused(run_dir):
    damage(run_dir / PAIR_8[0], 'flipped')
    with pytest.raises(UserError, match=r'^[^\n]*network-snapshot-000008.pkl: corrupt[^\n]*$'):
        find(run_dir / PAIR_8[0])


def test_only_a_verified_file_has_a_stamp(run_dir):
    pkl = run_dir / PAIR_8[0]
    assert find(run_dir)[0].stamp == find(pkl)[0].stamp == [pkl.stat().st_size, pkl.stat().st_mtime_ns]
    pkl.write_bytes(b'of another program, without a checksum')
    assert find(pkl)[0].stamp is None
