"""Training in several processes: they compute what one computes, agree on everything, and go on exactly."""

import pytest
import torch
from helpers.per_sample import training_per_sample
from helpers.small_runs import config, digests, run, stats, write_domains
from torch.overrides import TorchFunctionMode

from dnnlib.util import UserError
from torch_utils import distributed
from torch_utils.launching import launch
from training.losses import Phase
from training.training_loop import training_loop


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp('data') / 'domains.zip')


def with_flow_and_ada(c):
    c.G_kwargs['mapping_kwargs'].update(cond_mode='flow', i_dim=3, flow_dim=2)
    c.loss_kwargs['terms'] |= {'G/sparse': dict(weight=0.1)}
    c.update(augment_kwargs=dict(class_name='training.augment.AugmentPipe', xint=1, scale=1, brightness=1, noise=1, cutout=1),
             augment_p=0.5, ada_target=-0.5, ada_interval=2, ada_kimg=1)
    return c


def with_everything(c):
    """Flow, ADA, and all terms."""
    c.loss_kwargs['terms'] |= {'G/img_sparse': dict(weight=0.1), 'G/recon': dict(weight=0.5), 'D/latent': dict(weight=5.0),
                               'G/orth': dict(weight=0.1, interval=4)}
    return with_flow_and_ada(c)


# --- They compute what one computes ---


class Enough(Exception):
    pass


class InDouble(TorchFunctionMode):
    """Within it, what asks for float32 gets float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            return args[0].double()
        args = [torch.float64 if a is torch.float32 else a for a in args]
        return func(*args, **{k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()})


def record_gradients(c, folder, steps):
    """Train so many steps in float64; save the gradients of every phase, and the running means, as this worker has them."""
    taken, done = [], []
    clean = Phase._clean

    def clean_and_record(phase, grads):
        names = [name for name, p in phase.networks[phase.net].named_parameters() if p.grad is not None]
        found = dict(zip(names, (g.clone() for g in grads), strict=True))
        found |= {'pl_mean': term.pl_mean for term in phase.terms if term.name == 'path_length'}  # noqa: B035 (at most one)
        taken.append((phase.name, {**found, 'w_avg': phase.networks['G'].mapping.w_avg.clone()}))
        clean(phase, grads)

    def stop():
        done.append(1)
        if len(done) == steps:
            raise Enough

    Phase._clean = clean_and_record
    torch.set_default_dtype(torch.float64)
    try:
        with InDouble(), training_per_sample():
            training_loop(c, stop)
    except Enough:
        torch.save(taken, f'{folder}/{distributed.world_size()}-{c.batch_gpu}-{distributed.rank()}.pt')
    finally:
        torch.set_default_dtype(torch.float32)
        Phase._clean = clean


def gradients(data, folder, workers, batch_gpu, steps, **changes):
    c = with_everything(config(data, folder, batch_size=12, batch_gpu=batch_gpu, kimg_per_tick=100,
                               **changes))
    c.D_kwargs['epilogue_kwargs'] = dict(mbstd_group_size=2)
    launch(record_gradients, [c, str(folder), steps], workers, 'cpu')
    return [torch.load(folder / f'{workers}-{batch_gpu}-{rank}.pt') for rank in range(workers)]


def agree(ours, theirs, tol, but=()):
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    for (phase, a), (_, b) in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - but:
            error = (a[name] - b[name]).abs().max()
            assert a[name].dtype == torch.float64 and error <= tol * b[name].abs().max() + 1e-12, (phase, name, float(error))


@pytest.fixture(scope='module')
def alone(data, tmp_path_factory):
    return gradients(data, tmp_path_factory.mktemp('alone'), 1, 12, steps=6)[0]


@pytest.mark.parametrize('workers', [pytest.param(2, marks=pytest.mark.slow), 3])
def test_gradients_are_those_of_one_worker_with_the_whole_batch(workers, alone, data, tmp_path):
    phases = [name for name, _ in alone]
    assert phases[:6] == ['Gmain', 'Greg', 'Dmain', 'Dreg', 'Gmain', 'Dmain'] and phases.count('Greg') == 2
    assert all(values.abs().max() > 0 for _, grads in alone for name, values in grads.items() if 'noise_strength' in name)
    everyone = gradients(data, tmp_path, workers, 12 // workers, steps=6)
    for gradients_of_one in everyone:
        agree(gradients_of_one, alone, 1e-5)
        for (_, a), (_, b) in zip(gradients_of_one, everyone[0], strict=True):
            assert all(torch.equal(a[name], b[name]) for name in a), 'the same in all workers, to the last bit'


def test_rounds_are_like_workers_but_for_running_means(data, tmp_path):
    """Which follow each round, as published: so only without path length are six rounds one large one."""
    terms = {'G/logistic': {}, 'D/logistic_fake': {}, 'D/logistic_real': {}, 'D/r1': dict(weight=1.0, interval=16)}
    loss = dict(style_mixing_prob=0.9, terms=terms)
    whole, = gradients(data, tmp_path, 1, 12, steps=3, loss_kwargs=dict(loss, terms=dict(terms)))
    for workers, batch_gpu in ((1, 2), (2, 2)):
        parts = gradients(data, tmp_path, workers, batch_gpu, steps=3, loss_kwargs=dict(loss, terms=dict(terms)))
        agree(parts[0], whole, 1e-5, but=['w_avg'])


# --- They agree ---


def test_weights_are_the_same_in_all_workers_after_50_steps_with_ada_and_flow(data, tmp_path):
    c = with_flow_and_ada(config(data, tmp_path / 'run', batch_size=24, batch_gpu=8, total_kimg=1.2, kimg_per_tick=0.24))
    launch(run_and_keep_weights, [c, str(tmp_path)], 3, 'cpu')
    kept = [torch.load(tmp_path / f'{rank}.pt') for rank in range(3)]
    assert len(kept[0]) > 50 and any('w_avg' in name for name in kept[0]) and any('pl_mean' in name for name in kept[0])
    for name, value in kept[0].items():
        assert all(torch.equal(value, other[name]) for other in kept[1:]), name
    assert kept[0]['run.augment_pipe.p'] not in (0, 0.5)
    assert [line['Progress/kimg']['mean'] for line in stats(tmp_path / 'run')] == [0.024, 0.264, 0.504, 0.744, 0.984, 1.2]
    assert sum(line['Loss/G/logistic']['num'] for line in stats(tmp_path / 'run')) == 1200, 'every sample of every worker'
    assert (tmp_path / 'run' / 'network-snapshot-000001.pkl').exists()


def run_and_keep_weights(c, folder):
    from training.run.checkpoint import Checkpoints, tensors_in
    check = Checkpoints._check_ranks_agree

    def keep(self, state):
        check(self, state)
        modules = {name: module.state_dict() for name, module in self._modules.items()}
        torch.save(tensors_in({**modules, **state}, 'run'), f'{folder}/{distributed.rank()}.pt')

    Checkpoints._check_ranks_agree = keep
    run(c)


def run_with_a_fault(c):
    import training.training_loop as loop
    make, made = loop.make_networks, []
    loop.make_networks = lambda *args: made.append(make(*args)) or made[-1]
    steps = []

    def fault():
        steps.append(1)
        if len(steps) == 3 and distributed.rank() == 1:
            with torch.no_grad():
                made[0].D.b4.out.weight[0, 0] += 1e-6
        return len(steps) == 4

    loop.training_loop(c, fault)


def test_a_worker_that_has_other_weights_is_found_before_they_are_saved(data, tmp_path):
    (tmp_path / 'run').mkdir()
    with pytest.raises(UserError, match=r'run\.D\.\S+, on rank 1, differs from rank 0: .*--resume='):
        launch(run_with_a_fault, [config(data, tmp_path / 'run', batch_gpu=25)], 2, 'cpu')
    assert not list((tmp_path / 'run').glob('network-snapshot-*'))


# --- They go on exactly ---


def run_whole_and_in_pieces(whole, in_pieces, pieces):
    run(whole)
    for steps in pieces:
        distributed.barrier()  # all have seen what there is to go on from
        run(in_pieces, steps)


def test_two_workers_that_stop_and_go_on_change_no_bit(data, tmp_path):
    """After 7 steps: ADA has collected one since its last update."""
    runs = [with_flow_and_ada(config(data, tmp_path / name, batch_gpu=25, network_snapshot_ticks=2)) for name in 'ab']
    launch(run_whole_and_in_pieces, [*runs, (7, None)], 2, 'cpu')
    last = 'network-snapshot-000001.pkl'
    assert digests(tmp_path / 'a')[last] == digests(tmp_path / 'b')[last]
    assert [line['Progress/kimg']['mean'] for line in stats(tmp_path / 'b')] == [0.05, 0.3, 0.35, 0.55, 0.8, 1.0]
