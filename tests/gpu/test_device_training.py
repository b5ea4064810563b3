"""Training on the device: each term as on the CPU, each method from the command line, exact resume, two ranks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.short_runs import write_dataset
from helpers.small_runs import config, run, write_domains

from torch_utils.misc import copy_params_and_buffers
from training.losses import PhaseBatch
from training.methods import built_in, term_class
from training.networks import Discriminator, Generator
from training.snapshots.file import load_network_snapshot

ROOT = Path(__file__).parents[2]
DEVICE = os.environ.get('DEVICE', 'cuda')
TINY = ['--cond=1', '--kimg=1', '--batch=40', '--cbase=512', '--cmax=32', '--z-dim=32', '--map-depth=2', '--tick=1', '--snap=1',
        '--workers=1', '--metrics=none', '--wandb=disabled']


def networks(where):
    """G with a flow, and D whose features are as many as z has numbers; the same on every device."""
    torch.manual_seed(0)
    width = dict(channel_base=256, channel_max=16)
    G = Generator(16, 2, 16, 16, 3, mapping_kwargs=dict(num_layers=1, cond_mode='flow', i_dim=8), synthesis_kwargs=width)
    D = Discriminator(2, 16, 3, **width)
    with torch.no_grad():
        for net in (G, D):
            for p in net.parameters():
                p.add_(torch.randn_like(p) * 0.1)
    return G.to(where), D.to(where)


def gradients(key, where):
    """Gradients of one term, with random numbers that are drawn on the CPU."""
    G, D = networks(where)
    # Penalties by noise need more of it than usual, or they are differences of rounding errors.
    term = term_class(key)(**dict(sigma=1.0) if key.endswith('_noise') else {}).to(where)
    torch.manual_seed(1)
    z, x = torch.randn(8, 16).to(where), torch.randn(8, 3, 16, 16).to(where)
    c = torch.eye(2).repeat(4, 1).to(where)
    batch = PhaseBatch(G, D, z, c, x.requires_grad_('real' in term.needs_grad), c, keep_unmixed=term.needs_unmixed,
                       generated_grad=term.net == 'D' and 'generated' in term.needs_grad)
    G.synthesis.forward = with_constant_noise(G.synthesis.forward)
    term(batch).mean().backward()
    return {name: p.grad.cpu() for name, p in {'G': G, 'D': D}[term.net].named_parameters() if p.grad is not None}


def with_constant_noise(forward):
    def constant(ws, **kwargs):
        return forward(ws, **{'noise_mode': 'const', **kwargs})
    return constant


@pytest.fixture
def draws_on_the_cpu(monkeypatch):
    """Generators of devices differ; the CPU's numbers are moved over."""
    for name in ('randn', 'rand', 'randint', 'randn_like', 'rand_like'):
        draw = getattr(torch, name)

        def moved(*args, draw=draw, device=None, **kwargs):
            like = args[0] if args and torch.is_tensor(args[0]) else None
            where = device or (like.device if like is not None else None)
            # Contiguous: numbers are drawn in the order of the memory.
            args = [a.cpu().contiguous() if torch.is_tensor(a) else a for a in args]
            return draw(*args, **kwargs).to(where or 'cpu')

        monkeypatch.setattr(torch, name, moved)


@pytest.mark.parametrize('key', [key for method in built_in() for key in method.terms])
def test_each_term_has_the_gradients_of_the_cpu(key, device, draws_on_the_cpu):
    expected, actual = gradients(key, torch.device('cpu')), gradients(key, device)
    assert expected.keys() == actual.keys() and expected
    largest = max(g.abs().max() for g in expected.values())
    assert largest > 1e-4, 'nothing but rounding'
    for name, grad in expected.items():
        assert (actual[name] - grad).abs().max() <= 5e-3 * grad.abs().max() + 1e-4 * largest, name


METHODS = {
    'stylegan2': ['--aug=noaug'],
    'without-graphs': ['--aug=noaug', '--cuda-graphs=0'],
    'ada': ['--aug=ada', '--target=0.1'],
    'i-stylegan': ['--method=i-stylegan', '--i-dim=8', '--aug=noaug'],
    'cg-gan': ['--method=cg-gan', '--i-dim=8', '--aug=noaug'],
    'cg-gan-jvp': ['--method=cg-gan', '--i-dim=8', '--aug=noaug', '--jacobian=jvp'],
    'clr-gan': ['--method=clr-gan', '--aug=noaug'],
    'r3gan': ['--method=r3gan', '--aug=noaug'],
    'together': ['--method=cg-gan,clr-gan', '--i-dim=8', '--lambda-orth=0.5', '--aug=ada', '--batch-gpu=20'],
}


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'data'
    write_dataset(folder)
    return folder


def train(images, outdir, *options):
    command = [sys.executable, ROOT / 'train.py', f'--data={images}', f'--outdir={outdir}', f'--device={DEVICE}', *TINY, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize('method', METHODS)
def test_a_short_run_of_each_method_stays_finite_and_saves(method, images, device, tmp_path):
    done = train(images, tmp_path, *METHODS[method])
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    snapshot, = tmp_path.glob('*/network-snapshot-000001.pkl')
    found = load_network_snapshot(str(snapshot))
    assert all(t.isfinite().all() for name in ('G', 'D', 'G_ema') for t in found[name].state_dict().values())
    assert 'nonfinite' not in done.stderr


def weights(run_dir):
    found = load_network_snapshot(str(run_dir / 'network-snapshot-000001.pkl'))
    return {f'{name}.{k}': t for name in ('G', 'D', 'G_ema') for k, t in found[name].state_dict().items()}


def test_a_run_that_stops_and_goes_on_ends_with_the_same_bits(device, tmp_path, monkeypatch):
    """With deterministic algorithms, which CUDA takes only when asked."""
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        data = write_domains(tmp_path / 'domains.zip')
        whole, pieces = (config(data, tmp_path / name, network_snapshot_ticks=2, device=device.type) for name in 'ab')
        assert run(whole)
        assert [run(pieces, 7), run(pieces)] == [False, True]
    finally:
        torch.use_deterministic_algorithms(False)
    a, b = weights(tmp_path / 'a'), weights(tmp_path / 'b')
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_two_ranks_share_the_work(images, device, tmp_path):
    if device.type == 'cuda' and torch.cuda.device_count() < 2:
        pytest.skip('NCCL takes one rank per card, and there is one card')
    done = train(images, tmp_path, '--aug=noaug', '--gpus=2')
    assert done.returncode == 0 and list(tmp_path.glob('*/network-snapshot-000001.pkl')), done.stdout[-1500:] + done.stderr


def test_a_snapshot_draws_the_same_images_on_the_cpu(device, images, tmp_path):
    """G_ema of a run on the device, on both."""
    assert train(images, tmp_path, '--aug=noaug', '--precision=fp32').returncode == 0
    snapshot, = tmp_path.glob('*/network-snapshot-000001.pkl')
    G = load_network_snapshot(str(snapshot)).G_ema.eval()
    copy = load_network_snapshot(str(snapshot)).G_ema.eval()
    copy_params_and_buffers(G, copy)
    z, c = torch.randn(4, G.z_dim), torch.eye(3)[[0, 1, 2, 0]]
    with torch.no_grad():
        ours, theirs = G(z, c, noise_mode='const'), copy.to(device)(z.to(device), c.to(device), noise_mode='const').cpu()
    assert (ours - theirs).abs().max() < 1e-4
