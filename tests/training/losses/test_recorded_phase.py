"""Recorded phases, on the CPU: a stand-in for CUDA graphs records the operators of a phase, and repeats those."""

import contextlib
import sys

import pytest
import torch
from helpers.recorded_runs import BASE, TERMS, changes, weights
from helpers.small_runs import config, run, stats, write_domains
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from torch_utils import cuda_graphs
from training.losses import Phase, RecordedPhase, make_phases, recorded_phase
from training.losses.recorded_phase import obstacle
from training.methods import make_terms
from training.networks import Discriminator, Generator

QUICK = ('stylegan2', 'cg-gan', 'jvp')  # terms whose tests are not marked as slow


class Recording(TorchDispatchMode):
    """Like cuda_graphs.Recording, but the work is done while it is recorded, so the first repetition is for nothing. As in a CUDA
    graph, numbers that Python computes are constants of the recording."""

    made = 0

    def __init__(self, memory):
        super().__init__()
        self._operations, self._repeated = [], False
        Recording.made += 1

    @contextlib.contextmanager
    def record(self):
        with self:
            yield

    @staticmethod
    def rehearsal():
        return contextlib.nullcontext()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self._operations.append((func, args, kwargs or {}, result))
        return result

    def repeat(self):
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, recorded in self._operations if self._repeated else ():
                for old, new in zip(tree_leaves(recorded), tree_leaves(func(*args, **kwargs)), strict=True):
                    if torch.is_tensor(old) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)
        self._repeated = True


@pytest.fixture
def recording(monkeypatch):
    """The CPU as if it could repeat recordings."""
    monkeypatch.setattr(cuda_graphs, 'works_on', lambda device: True)
    monkeypatch.setattr(cuda_graphs, 'shared_memory', lambda: None)
    monkeypatch.setattr(cuda_graphs, 'Recording', Recording)
    monkeypatch.setattr(sys.modules['torch.optim.adam'], '_get_capturable_supported_devices', lambda *args, **kwargs: ['cpu'])
    Recording.made = 0


@pytest.mark.parametrize('name', [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in TERMS])
def test_a_recorded_run_ends_with_the_bits_of_one_that_is_only_rehearsed(name, recording, tmp_path, monkeypatch):
    data = write_domains(tmp_path / 'domains.zip')
    assert run(config(data, tmp_path / 'recorded', **changes(TERMS[name])))
    assert Recording.made == len({(key[0], term.get('interval')) for key, term in TERMS[name].items()})
    monkeypatch.setattr(recorded_phase, 'REHEARSALS', 10 ** 9)
    assert run(config(data, tmp_path / 'rehearsed', **changes(TERMS[name])))
    a, b = weights(tmp_path / 'recorded'), weights(tmp_path / 'rehearsed')
    assert all(torch.equal(a[key], b[key]) for key in a)
    ours, theirs = ({k: v for line in stats(tmp_path / which) for k, v in line.items() if k.startswith('Loss/')}
                    for which in ('recorded', 'rehearsed'))
    assert ours == theirs and len(ours) > 5


def test_without_random_numbers_recorded_phases_are_like_plain_ones(recording):
    """Up to the rounding of Adam's corrections, which the GPU computes."""
    a, b = trained(Phase), trained(RecordedPhase)
    assert Recording.made == 3 and len(a) == len(b) > 20
    assert all(torch.allclose(a[key], b[key], rtol=1e-4, atol=1e-6) for key in a)


def trained(make):
    """Weights and gradients after six iterations with given latents and reals, and one more main phase of D."""
    torch.manual_seed(0)
    nets = networks(use_noise=False)
    terms = make_terms({**BASE, 'D/r1': dict(interval=2)})
    adam = dict(class_name='torch.optim.Adam', lr=0.002, betas=[0.0, 0.99])
    phases = make_phases(terms, nets, {'G': adam, 'D': adam}, {'G': None, 'D': 2}, make=make)
    z, x = torch.randn(7, 4, 4), torch.randn(7, 4, 3, 8, 8)
    for i in range(7):
        for phase in phases if i < 6 else [phase for phase in phases if phase.name == 'Dmain']:
            phase.run([dict(z=z[i], c=torch.zeros(4, 0), real_images=x[i], real_c=torch.zeros(4, 0))])
    return {f'{name}.{k}': t for name, net in nets.items() for k, t in
            [*net.state_dict().items(), *((f'{k}.grad', p.grad) for k, p in net.named_parameters())]}


def test_a_stopped_run_continues_exactly_and_without_recordings_too(recording, tmp_path):
    data = write_domains(tmp_path / 'domains.zip')
    whole, pieces, mixed = (config(data, tmp_path / name, network_snapshot_ticks=2, **changes(TERMS['stylegan2']))
                            for name in ('whole', 'pieces', 'mixed'))
    assert run(whole)
    assert [run(pieces, 6), run(pieces)] == [False, True]
    a, b = weights(tmp_path / 'whole'), weights(tmp_path / 'pieces')
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not run(mixed, 6)
    mixed.cuda_graphs = False
    assert run(mixed)


def networks(**kwargs):
    width = dict(channel_base=32, channel_max=4)
    return {'G': Generator(4, 0, 4, 8, 3, synthesis_kwargs={**width, **kwargs}), 'D': Discriminator(0, 8, 3, **width)}


def test_what_cannot_be_recorded_is_not(recording, monkeypatch):
    terms = list(make_terms(BASE))
    assert obstacle(networks(), terms, None, annealed=False) is None
    assert 'noaug' in obstacle(networks(), terms, object(), annealed=False)
    assert 'anneal' in obstacle(networks(), terms, None, annealed=True)
    terms[0].recordable = False
    assert 'G/logistic' in obstacle(networks(), terms, None, annealed=False)

    class Mine(Generator):
        pass

    assert 'networks' in obstacle({**networks(), 'G': Mine(4, 0, 4, 8, 3)}, terms[1:], None, annealed=False)
    monkeypatch.setattr(cuda_graphs, 'works_on', lambda device: device.type == 'cuda')
    assert 'cpu' in obstacle(networks(), terms, None, annealed=False)
