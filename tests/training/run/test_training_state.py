"""Optimisers by the names of parameters, buffers of loss terms, and what ADA has collected."""

import io
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dnnlib.errors import UserError
from torch_utils import training_stats
from training.augmentation.ada import SIGNS, AdaController
from training.run.schedule import Position
from training.run.state import TrainingState


class Term(nn.Module):
    net, name = 'G', 'path_length'

    def __init__(self, value=0.0):
        super().__init__()
        self.register_buffer('pl_mean', torch.tensor(value))


class Net(nn.Module):
    def __init__(self, *names, unused=()):
        super().__init__()
        for name in names:
            self.add_module(name, nn.Linear(2, 3 if name == 'wide' else 2))
        self.unused = unused

    def loss(self):
        return sum(p.square().sum() for name, p in self.named_parameters() if name not in self.unused)


def parts(net, term=0.0):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    phase = SimpleNamespace(net='G', optimizer=optimizer, terms=[Term(term)])
    return phase, optimizer


def stepped(net, steps=3, **kwargs):
    phase, optimizer = parts(net, **kwargs)
    for _ in range(steps):
        optimizer.zero_grad()
        net.loss().backward()
        optimizer.step()
    return phase


def save(path, net, phase, ada=None):
    with open(path, 'wb') as f:
        torch.save(TrainingState({'G': net}, [phase, phase], ada).take(Position(1050, 3, 900)), f)
    return str(path)


def restore(path, net, ada=None):
    phase, optimizer = parts(net)
    progress, missing = TrainingState({'G': net}, [phase, phase], ada).restore(path)
    return progress, missing, optimizer, phase


def test_everything_comes_back(tmp_path):
    net = Net('a', 'b', unused=('b.bias',))
    phase = stepped(net, term=7.0)
    path = save(tmp_path / 'x.pt', net, phase)
    other = Net('a', 'b')
    other.load_state_dict(net.state_dict())
    progress, missing, optimizer, restored = restore(path, other)
    assert progress == Position(1050, 3, 900) and missing == []
    assert restored.terms[0].pl_mean == 7
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        state, expected = optimizer.state[q], phase.optimizer.state[p]
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[k], expected[k]) for k in expected)
    assert torch.load(path, weights_only=True)['format'] == 1


def test_new_parts_start_anew_and_are_named_whatever_the_order(tmp_path):
    net = Net('a', 'b')
    phase = stepped(net)
    path = save(tmp_path / 'x.pt', net, phase)
    other = Net('new', 'b', 'a')
    _, missing, optimizer, _ = restore(path, other)
    assert missing == ['optimiser of G.new.weight', 'optimiser of G.new.bias']
    assert not optimizer.state[other.new.weight]
    for name in ('a.weight', 'b.bias'):
        assert torch.equal(optimizer.state[other.get_parameter(name)]['exp_avg'],
                           phase.optimizer.state[net.get_parameter(name)]['exp_avg'])
    other.loss().backward()
    optimizer.step()
    assert optimizer.state[other.a.weight]['step'] == 4 and optimizer.state[other.new.weight]['step'] == 1


def test_a_state_of_another_shape_starts_anew(tmp_path):
    net = Net('a', 'wide')
    path = save(tmp_path / 'x.pt', net, stepped(net))
    other = Net('a')
    other.add_module('wide', nn.Linear(2, 5))
    assert restore(path, other)[1] == ['optimiser of G.wide.weight', 'optimiser of G.wide.bias']


def test_terms_and_ada_that_are_new_are_named(tmp_path):
    net = Net('a')
    phase = stepped(net)
    phase.terms = []
    path = save(tmp_path / 'x.pt', net, phase)
    ada = AdaController(SimpleNamespace(p=torch.zeros([])), 0.6, 4, 10, 1)
    assert restore(path, Net('a'), ada)[1] == ['loss term G/path_length', 'statistics of ADA']


def test_what_ada_has_collected_comes_back(tmp_path):
    pipes = [SimpleNamespace(p=torch.tensor(0.5)) for _ in range(2)]
    before, after = (AdaController(pipe, 0.0, 4, 10, 1) for pipe in pipes)
    training_stats.report(SIGNS, torch.ones(5))
    net = Net('a')
    path = save(tmp_path / 'x.pt', net, stepped(net), before)
    training_stats.report(SIGNS, -torch.ones(100))  # which a run that was killed saw after the snapshot
    restore(path, Net('a'), after)
    after.update()
    assert pipes[1].p == pytest.approx(0.54)


@pytest.mark.parametrize('content', ['nothing', 'text', 'truncated', 'other format', 'other keys', 'code'])
def test_what_cannot_be_read_is_one_line(tmp_path, content):
    net = Net('a')
    path = tmp_path / 'training-state-000001.pt'
    save(path, net, stepped(net))
    data = path.read_bytes()
    saved = torch.load(path, weights_only=True)
    if content == 'nothing':
        path.unlink()
    elif content in ('text', 'truncated'):
        path.write_bytes(b'text' if content == 'text' else data[:-100])
    else:
        changed = {'other format': saved | {'format': 99}, 'other keys': {'format': 1}, 'code': saved | {'f': io.BytesIO}}
        torch.save(changed[content], path)
    with pytest.raises(UserError, match=r'^[^\n]*training-state-000001.pt: not a readable[^\n]*$'):
        restore(str(path), Net('a'))


@pytest.mark.parametrize('change', [
    {'progress': {'cur_nimg': 1}}, {'progress': {'cur_nimg': '1', 'tick': 0, 'tick_start_nimg': 0}}, {'optimizers': [1]},
    {'optimizers': {'G': {'a.weight': {'step': 'three'}}}}, {'terms': {'G/path_length': {'pl_mean': 3}}}, {'ada': {}},
    {'ada': {'pending': {'x': ['y']}}}, {'averages': 5}, {'averages': {'seen_nimg': -1, 'values': {}}},
    {'averages': {'seen_nimg': 5, 'values': {'0.05': {'a.weight': 3}}}}])
def test_content_of_another_kind_is_one_line(tmp_path, change):
    net = Net('a')
    path = tmp_path / 'training-state-000001.pt'
    save(path, net, stepped(net))
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(UserError, match=r'^[^\n]*training-state-000001.pt: not a readable[^\n]*$'):
        restore(str(path), Net('a'))


@pytest.mark.parametrize('where', ['torch.load', 'torch.optim.Adam.load_state_dict'])
@pytest.mark.parametrize('error', [MemoryError('none left'), torch.cuda.OutOfMemoryError('none left'), NameError('a bug')])
def test_trouble_that_is_not_of_the_file_keeps_its_name(tmp_path, monkeypatch, where, error):
    net = Net('a')
    path = save(tmp_path / 'x.pt', net, stepped(net))

    def fail(*_, **__):
        raise error
    monkeypatch.setattr(where, fail)
    with pytest.raises(type(error), match=str(error)):
        restore(path, Net('a'))
