"""--transfer=partial: which tensors are taken from networks of another shape, and what is said of the others."""

import re

import pytest
import torch

from dnnlib.errors import OptionError, UserError
from dnnlib.util import EasyDict
from training.networks import Discriminator, Generator
from training.run.partial import transfer_partially
from training.run.restore import restore_networks
from training.run.resume import Resume, find_resume
from training.run.schedule import Position
from training.snapshots.file import save_network_snapshot

WIDTH = dict(channel_base=64, channel_max=8)


def networks(size=32, channels=3, labels=0, seed=0, **mapping):
    """Small networks whose tensors are all random, biases and buffers included."""
    torch.manual_seed(seed)
    common = dict(c_dim=labels, img_resolution=size, img_channels=channels)
    G, G_ema = (Generator(z_dim=8, w_dim=8, mapping_kwargs=dict(num_layers=2, **mapping), synthesis_kwargs=WIDTH, **common)
                for _ in range(2))
    nets = EasyDict(G=G, D=Discriminator(**common, **WIDTH), G_ema=G_ema)
    for net in nets.values():
        for name, x in net.state_dict().items():
            if not name.endswith('resample_filter'):
                torch.nn.init.normal_(x)
    return nets


def states(nets):
    return {f'{net}.{key}': x.clone() for net in nets for key, x in nets[net].state_dict().items()}


def transferred(source, target):
    """The names of the tensors that are those of the source now; all others are as they were."""
    there, before = states(source), states(target)
    transfer_partially('x.pkl', source, target)
    taken = set()
    for name, x in states(target).items():
        if name in there and there[name].shape == x.shape:
            assert torch.equal(x, there[name]), name
            taken.add(name)
        else:
            assert torch.equal(x, before[name]), name
    return taken


@pytest.mark.parametrize('source, target, left', [
    (dict(size=32), dict(size=64), r'b64\.'),
    (dict(size=64), dict(size=32), r'D\.b32\.fromrgb'),
    (dict(channels=3), dict(channels=1), r'torgb\.(weight|bias)|fromrgb\.weight'),
    (dict(labels=2), dict(labels=3), r'mapping\.embed\.weight'),
    (dict(labels=0), dict(labels=2), r'mapping\.embed|G\w*\.mapping\.fc0\.weight|D\.mapping|D\.b4\.out'),
    (dict(size=32), dict(size=(16, 32)), r'const|D\.b4\.fc\.weight'),
    (dict(size=(16, 32)), dict(size=(32, 64)), r'b64\.'),
    (dict(size=32), dict(size=48), r'const|D\.b4\.fc\.weight')])
def test_what_fits_is_taken_and_nothing_else_changes(source, target, left):
    source, target = networks(**source), networks(**target, seed=1)
    assert states(target).keys() - transferred(source, target) == {name for name in states(target) if re.search(left, name)}


def test_blocks_are_matched_by_their_resolution():
    small, large = networks(32), networks(64, seed=1)
    transfer_partially('x.pkl', small, large)
    assert torch.equal(large.G.synthesis.b32.conv1.weight, small.G.synthesis.b32.conv1.weight)
    assert torch.equal(large.D.b16.conv0.weight, small.D.b16.conv0.weight)


def test_a_row_for_each_part_says_what_was_taken(capsys):
    transfer_partially('x.pkl', networks(32, channels=3), networks(64, channels=1))
    lines = [' '.join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == 'G, G_ema mapping 5 of 5'
    assert lines[2] == 'synthesis.b4 11 of 13 other shape: torgb.weight 3x8x1x1 -> 1x8x1x1, torgb.bias 3 -> 1'
    assert lines[6] == 'synthesis.b64 0 of 19 new' and lines[7] == 'D b4 7 of 7'
    assert lines[10] == 'b32 9 of 9 not used: fromrgb.weight, fromrgb.bias, fromrgb.resample_filter' and len(lines) == 12


def test_networks_with_nothing_in_common_are_refused_before_anything_is_copied():
    source, target = networks(), networks(seed=1)
    source.G_ema = torch.nn.Linear(3, 3)
    before = states(target)
    with pytest.raises(UserError, match=r'^x.pkl: its G_ema has no tensor that fits this run; resume from another network$'):
        transfer_partially('x.pkl', source, target)
    assert all(torch.equal(x, before[name]) for name, x in states(target).items())


def test_the_same_architecture_is_taken_as_a_plain_warm_start_takes_it(tmp_path):
    pkl = str(tmp_path / 'network-snapshot-000003.pkl')
    save_network_snapshot(pkl, networks(8, labels=2), {}, cur_nimg=3456)
    plain, ours = networks(8, labels=2, seed=1), networks(8, labels=2, seed=2)
    c = EasyDict(resume_pkl=pkl, resume_state=None, resume_nimg=0, ada_target=None)
    assert restore_networks(c, plain, None) == restore_networks(EasyDict(c, resume_partial=True), ours, None) == Position()
    expected = states(plain)
    assert all(torch.equal(x, expected[name]) for name, x in states(ours).items())


@pytest.mark.parametrize('other, problem', [(dict(labels=2), 'it takes no labels, but the run has labels of 2 classes'),
                                            (dict(channels=1), 'does not fit this run (synthesis.'),
                                            (dict(size=(8, 16)), 'it is for images of 8x8, but those of the run are 16x8')])
def test_a_strict_transfer_names_the_option(tmp_path, other, problem):
    pkl = str(tmp_path / 'n.pkl')
    save_network_snapshot(pkl, networks(8), {}, cur_nimg=0)
    with pytest.raises(UserError) as caught:
        restore_networks(EasyDict(resume_pkl=pkl, resume_nimg=0, ada_target=None), networks(**{'size': 8, **other}), None)
    assert problem in str(caught.value) and '\n' not in str(caught.value)
    assert str(caught.value).endswith(f', or take what fits: --transfer=partial --resume={pkl}')


def test_it_begins_a_new_run_without_the_state_of_the_old_one(tmp_path):
    pkl = tmp_path / 'network-snapshot-000003.pkl'
    save_network_snapshot(pkl, networks(8), {}, cur_nimg=3456)
    assert find_resume(str(pkl), None, 'x', 'y', partial=True) == Resume(str(pkl), None, 0)
    assert find_resume(str(pkl), 7, 'x', 'y', partial=True).start_nimg == 7000
    assert find_resume(str(tmp_path), None, 'x', 'y', partial=True).run_dir == str(tmp_path)  # as without it
    for source in (None, 'noresume', 'latest'):
        with pytest.raises(OptionError, match=r'--transfer=partial has no effect without a network to take from'):
            find_resume(source, None, 'x', 'y', partial=True)
