"""Our operators in C++ and CUDA: compiled on first use, kept in the user's cache, loaded and verified.

    python -m torch_utils.custom_ops    compile ahead of time

There are three kinds. 'cpu' and 'cuda' are libraries built by a C++ compiler and nvcc. 'nvrtc' is for GPUs and needs neither:
see torch_utils.ops.nvrtc_ops.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import torch

from dnnlib import cli
from dnnlib.download import cache_dir
from dnnlib.util import UserError
from torch_utils import building
from torch_utils.building import CannotBuild as CannotBuild

NAME = 'style_gan_ops'  # name of the library and of its operators: torch.ops.style_gan_ops.*
SOURCES = Path(__file__).parent / 'ops' / 'csrc'
DURATION = {'cpu': 'half a minute', 'cuda': 'two minutes'}
DEVICES = {'cpu': ('cpu',), 'cuda': ('cpu', 'cuda'), 'nvrtc': ('cuda',)}  # devices that operators of a kind support

_outcomes: dict[str, CannotBuild | None] = {}  # by kind: a process tries each kind once
_registered: list[torch.library.Library] = []  # kept, because a registration ends with its last reference


def load(kind: str, build: bool = True) -> tuple[str, ...]:
    """Load the operators of a kind, and verify them by computing on their devices.

    A missing library is built first if `build` is set. Returns the types of devices that the operators support, or none if the
    library is missing and `build` is not set. Raises CannotBuild with the reason; all calls in a process raise the same one.
    """
    if kind not in _outcomes:
        try:
            if not (_load_nvrtc() if kind == 'nvrtc' else _load(kind, build)):
                return ()
            _outcomes[kind] = None
        except CannotBuild as err:
            _outcomes[kind] = err
    error = _outcomes[kind]
    if error is not None:
        raise error
    return DEVICES[kind]


def build(kind: str) -> None:
    """Build the library of a kind if it is missing. Computes nothing. Raises CannotBuild with the reason."""
    building.obtain(building.cached_path(cache_dir('ops'), SOURCES, kind), NAME, SOURCES, kind, DURATION[kind])


def kernels(kind: str) -> Any:
    """Operators of a kind with their derivatives, in the form that torch_utils.ops.backend uses. Call `load` first."""
    from torch_utils.ops import native_kernels, nvrtc_ops
    return native_kernels.Kernels(*((nvrtc_ops.NAME, 'nvrtc') if kind == 'nvrtc' else (NAME, 'native')))


def _load_nvrtc() -> bool:
    from torch_utils.ops import nvrtc_ops
    _registered.append(nvrtc_ops.Operators(nvrtc_ops.GpuLauncher()).register(nvrtc_ops.NAME, 'CUDA'))
    verify('nvrtc', torch.device('cuda'))
    return True


def _load(kind: str, build: bool) -> bool:
    """Load the operators. Returns whether they are loaded."""
    loaded = [other for other, error in _outcomes.items() if error is None and other != 'nvrtc']
    if loaded:
        if kind in DEVICES[loaded[0]]:
            return True
        raise CannotBuild(f'this process has loaded them for {loaded[0]}', 'choose one device')
    try:
        path = building.cached_path(cache_dir('ops'), SOURCES, kind)
    except CannotBuild:
        if build:
            raise
        return False
    if build:
        building.obtain(path, NAME, SOURCES, kind, DURATION[kind])
    elif not path.is_file():
        return False
    try:
        torch.ops.load_library(str(path))
    except OSError as err:
        raise CannotBuild(f'{path} cannot be loaded ({err})', 'delete it') from err
    for device in DEVICES[kind]:
        verify(kind, torch.device(device))
    return True


def verify(kind: str, device: torch.device) -> None:
    """Compare the loaded operators and their derivatives with PyTorch's on a few numbers. Raises CannotBuild if they differ."""
    try:
        from torch_utils.ops import torch_kernels
        ours, theirs = (_numbers(ops, where) for ops, where in ((kernels(kind), device), (torch_kernels, 'cpu')))
    except (RuntimeError, AttributeError) as err:
        text = str(err).strip().splitlines() or [type(err).__name__]
        raise CannotBuild(f'they do not run on {device.type} ({text[0][:160]})', 'please report this') from err
    for (name, got), (_, expected) in zip(ours, theirs, strict=True):
        if got.shape != expected.shape or not torch.allclose(got.cpu(), expected, rtol=1e-4, atol=1e-5):
            raise CannotBuild(f'{name} computes wrong numbers on {device.type}', 'please report this')


def _numbers(kernels: Any, device: torch.device | str) -> list[tuple[str, torch.Tensor]]:
    """Compute (operator, result) for every operator that the networks use. Inputs are fixed, so random generators are
    unchanged."""
    x = torch.arange(2 * 3 * 6 * 5, dtype=torch.float32).sin().reshape(2, 3, 6, 5)
    f = torch.tensor([1.0, 3.0, 3.0, 1.0])
    x, f, b, v = x.to(device), (f[:, None] * f[None, :] / 64).to(device), x[0, :, 0, 0].to(device), x.cos().to(device)
    numbers = []
    for taps, up, down, padding, gain in ((f, (2, 2), (1, 1), (2, 1, 2, 1), 4.0), (f, (1, 1), (2, 2), (1, 1, 1, 1), 1.0),
                                          (f[0], (1, 2), (2, 1), (3, -1, 2, 2), 2.0)):
        numbers.append(('upfirdn2d', kernels.upfirdn2d(x, taps, up, down, padding, False, gain)))
    for act in ('linear', 'lrelu', 'swish'):
        with torch.enable_grad():
            inputs = [x.clone().requires_grad_(), b.clone().requires_grad_()]
            y = kernels.bias_act(*inputs, 1, act, 0.2, 1.4, 1.1)
            first = torch.autograd.grad((y * v).sum(), inputs, create_graph=True)
            loss = first[0].square().sum() + (first[0] * x).sum() + (inputs[0] * v).sum()
            second = torch.autograd.grad(loss, inputs[0])
        numbers += [(f'bias_act ({act})', value.detach()) for value in (y, *first, *second)]
    return numbers


@click.command(cls=cli.Command)
@click.option('--device', help='What to build for; auto takes CUDA where PyTorch has it.',
              type=click.Choice(['auto', 'cpu', 'cuda']), default='auto', show_default=True)
@click.option('--ops', help='For CUDA. auto: compile with NVRTC, as --ops=auto of train.py does. native: with nvcc.',
              type=click.Choice(['auto', 'native']), default='auto', show_default=True)
def main(device: str, ops: str) -> None:
    """Compile the operators in C++ and CUDA ahead of time.

    train.py does so by itself when it first runs on a machine. Exit status 1 if they cannot be compiled.
    """
    kind = device if device != 'auto' else 'cuda' if torch.cuda.is_available() else 'cpu'
    kind = 'nvrtc' if (kind, ops) == ('cuda', 'auto') else kind
    begun = time.monotonic()
    try:
        devices = load(kind)
    except CannotBuild as err:
        raise UserError(f'{err.reason}; {err.remedy}') from err
    print(f'Operators in {cache_dir("ops")}: loaded and verified on {", ".join(devices)} in {time.monotonic() - begun:.1f} s')


if __name__ == '__main__':
    cli.run(main)
