"""What of a snapshot is taken over, from where a run counts, and what is said of it."""

import pytest
import torch

from dnnlib.errors import UserError
from dnnlib.util import EasyDict
from training.networks import Discriminator, Generator
from training.run.restore import restore_networks, restore_state
from training.run.schedule import Position
from training.snapshots.file import save_network_snapshot

WIDTH = dict(channel_base=32, channel_max=4)


def networks(num_layers=1, c_dim=0):
    common = dict(c_dim=c_dim, img_resolution=8, img_channels=1)
    def G():
        return Generator(z_dim=4, w_dim=4, mapping_kwargs=dict(num_layers=num_layers), synthesis_kwargs=WIDTH, **common)
    return EasyDict(G=G(), D=Discriminator(**common, **WIDTH), G_ema=G())


def config(pkl, nimg=None, **kwargs):
    return EasyDict(dict(resume_pkl=str(pkl), resume_state=None, resume_nimg=nimg, ada_target=None), **kwargs)


@pytest.fixture
def pkl(tmp_path):
    path = tmp_path / 'network-snapshot-000003.pkl'
    save_network_snapshot(path, networks(), {}, cur_nimg=3456)
    return path


def test_the_count_is_what_was_asked_for_or_what_the_file_says_or_its_name(pkl, monkeypatch):
    for nimg, start in ((None, 3456), (0, 0), (7000, 7000)):
        assert restore_networks(config(pkl, nimg), networks(), None) == Position(start, 0, start)
    import training.run.restore
    plain = training.run.restore.load_network_snapshot
    monkeypatch.setattr(training.run.restore, 'load_network_snapshot', lambda source, **_: EasyDict(plain(pkl), cur_nimg=None))
    for name, start in (('network-snapshot-019356.pkl', 19356000), ('https://example.com/x/network-snapshot-000100.pkl', 100000),
                        ('ffhq.pkl', 0)):
        assert restore_networks(config(name), networks(), None).cur_nimg == start


def test_nothing_to_resume_is_a_run_from_the_beginning():
    c = EasyDict(resume_pkl=None, resume_state=None, resume_nimg=None)
    assert restore_state(c, None, restore_networks(c, {}, None)) == Position()


def test_new_and_unused_tensors_are_listed(pkl, capsys):
    target = networks(num_layers=2)
    restore_networks(config(pkl), target, None)
    out = capsys.readouterr().out
    assert 'G: ' in out and 'tensors restored; new: mapping.fc1.weight, mapping.fc1.bias\n' in out
    save_network_snapshot(pkl, target, {}, 0)
    restore_networks(config(pkl), networks(), None)
    assert '; not used: mapping.fc1.weight, mapping.fc1.bias\n' in capsys.readouterr().out


def test_weights_of_other_shapes_are_refused(pkl):
    with pytest.raises(UserError, match=r'network-snapshot-000003.pkl: its G does not fit'):
        restore_networks(config(pkl), networks(c_dim=2), None)


@pytest.mark.parametrize('nimg, words', [(None, 'Optimisers start fresh: there is no training state'), (0, 'transfer learning')])
def test_it_is_said_that_optimisers_start_anew(pkl, capsys, nimg, words):
    progress = Position(3456, 0, 3456)
    assert restore_state(config(pkl, nimg), None, progress) == progress
    assert words in capsys.readouterr().out


@pytest.mark.parametrize('nimg, ada_target, p', [(None, 0.6, 0.25), (None, None, 0.1), (0, 0.6, 0.1)])
def test_augmentation_goes_on_where_it_adapts_and_the_dataset_is_the_same(pkl, nimg, ada_target, p):
    from training.augmentation.pipe import AugmentPipe
    pipe = AugmentPipe(xflip=1)
    pipe.p.fill_(0.25)
    save_network_snapshot(pkl, {**networks(), 'augment_pipe': pipe}, {}, 0)
    mine = AugmentPipe(xflip=1)
    mine.p.fill_(0.1)
    restore_networks(config(pkl, nimg, ada_target=ada_target), networks(), mine)
    assert torch.isclose(mine.p, torch.tensor(p))
