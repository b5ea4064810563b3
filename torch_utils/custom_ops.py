"""The operators in C++ and CUDA: built when they are first needed, kept in the user's cache, loaded and tested.

    python -m torch_utils.custom_ops            build ahead of time, and report what is available
    python -m torch_utils.custom_ops --clean    remove builds of other versions
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import torch

from dnnlib import cli
from dnnlib.download import cache_dir
from dnnlib.util import UserError
from torch_utils.building import CannotBuild, cache, cuda, toolchain

NAME = 'style_gan_ops'  # of the library, and of its operators: torch.ops.style_gan_ops.*
SOURCES = Path(__file__).parent / 'ops' / 'csrc'
DURATION = {'cpu': 'half a minute', 'cuda': 'two minutes'}
DEVICES = {'cpu': ('cpu',), 'cuda': ('cpu', 'cuda')}  # that a library of a kind computes on

_outcomes: dict[str, CannotBuild | None] = {}  # by kind of library: a process tries once


class NotBuilt(CannotBuild):
    """They are not built yet, and were not to be built now."""


def root() -> Path:
    """Where the builds are."""
    return cache_dir('ops')


def load(kind: str, build: bool = True) -> tuple[str, ...]:
    """Have the operators of a kind, 'cpu' or 'cuda' (for both), in this process; build them if need be and `build` is set.

    Returns the types of devices that they compute on. Raises CannotBuild with the reason, always the same one in a process;
    NotBuilt if `build` is not set and they are not there.
    """
    if kind not in _outcomes:
        try:
            _load(kind, build)
            _outcomes[kind] = None
        except NotBuilt:
            raise
        except CannotBuild as err:
            _outcomes[kind] = err
    error = _outcomes[kind]
    if error is not None:
        raise error
    return DEVICES[kind]


def _load(kind: str, build: bool) -> None:
    loaded = [other for other, error in _outcomes.items() if error is None]
    if loaded:
        if kind in DEVICES[loaded[0]]:
            return
        raise CannotBuild(f'this process has loaded them for {loaded[0]}', 'choose one device')
    try:
        recipe = toolchain.make_recipe(NAME, SOURCES, kind)
        path = cache.intact(root(), recipe)
        if path is None:
            if not build:
                raise NotBuilt('the operators are not built', 'python -m torch_utils.custom_ops builds them')
            path = cache.obtain(root(), recipe, DURATION[kind])
    except CannotBuild as err:
        if build:
            raise
        raise NotBuilt(err.reason, err.remedy) from err
    try:
        torch.ops.load_library(str(path))
    except OSError as err:
        raise CannotBuild(f'{path} cannot be loaded ({err})', 'python -m torch_utils.custom_ops --clean removes it') from err
    for device in DEVICES[kind]:
        verify(torch.device(device))


def verify(device: torch.device) -> None:
    """Compare the loaded operators and their derivatives with those of PyTorch on a few numbers. Raises CannotBuild."""
    try:
        from torch_utils.ops import native_kernels, torch_kernels
        ours, theirs = (_numbers(kernels, where) for kernels, where in ((native_kernels, device), (torch_kernels, 'cpu')))
    except (RuntimeError, AttributeError) as err:
        text = str(err).strip().splitlines() or [type(err).__name__]
        raise CannotBuild(f'they do not run on {device.type} ({text[0][:160]})', 'please report this') from err
    for (name, got), (_, expected) in zip(ours, theirs, strict=True):
        if got.shape != expected.shape or not torch.allclose(got.cpu(), expected, rtol=1e-4, atol=1e-5):
            raise CannotBuild(f'{name} computes wrong numbers on {device.type}', 'please report this')


def _numbers(kernels, device) -> list[tuple[str, torch.Tensor]]:
    """(operator, result) for what the networks use. Fixed inputs: nobody's random numbers are disturbed."""
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
@click.option('--clean', help='Remove all builds but the one for this machine and this version, and don\'t build.', is_flag=True)
@click.option('--device', help='What to build for; auto takes CUDA where PyTorch has it.',
              type=click.Choice(['auto', *DEVICES]), default='auto', show_default=True)
def main(clean: bool, device: str) -> None:
    """Build the operators in C++ and CUDA ahead of time, and report what is available.

    train.py does so by itself when it is first run on a machine. Exit status 1 if they can't be had.
    """
    kind = device if device != 'auto' else 'cuda' if torch.cuda.is_available() else 'cpu'
    if clean:
        try:
            key = toolchain.make_recipe(NAME, SOURCES, kind).key
        except CannotBuild:
            key = None
        try:
            print(f'Removed {cache.clean(root(), key)} builds from {root()}')
        except OSError as err:
            raise UserError(f'{root()} cannot be written ({err.strerror})') from err
        return
    error, recipe, begun = None, None, time.monotonic()
    try:
        recipe = toolchain.make_recipe(NAME, SOURCES, kind)
        load(kind)
    except CannotBuild as err:
        error = err
    report(kind, recipe, error, time.monotonic() - begun)
    if error is not None:
        raise UserError(f'{error.reason}; {error.remedy}')


def report(kind: str, recipe: toolchain.Recipe | None, error: CannotBuild | None, seconds: float) -> None:
    """Print what there is to build with, and what is built."""

    def found(what) -> str:
        try:
            return what()
        except CannotBuild as err:
            return f'none: {err.reason}'

    print(f'PyTorch          {torch.__version__}, CUDA {torch.version.cuda or "no"}')
    print(f'compiler         {found(lambda: toolchain.compiler_version(toolchain.compiler()))}')
    print(f'ninja            {found(toolchain.ninja)}')
    if kind == 'cuda' or torch.version.cuda is not None:
        print(f'CUDA toolkit     {found(lambda: "{0.version}, {0.nvcc}".format(cuda.find()))}')
    print(f'architectures    {"unknown" if recipe is None else recipe.architectures}')
    print(f'cache directory  {root()}')
    for key, size, built in cache.builds(root()):
        this = '  <- this one' if recipe is not None and key == recipe.key else ''
        print(f'built            {key}  {size / 2 ** 20:.1f} MiB  {time.strftime("%Y-%m-%d %H:%M", time.localtime(built))}{this}')
    verified = f'loaded and verified on {", ".join(DEVICES[kind])}, in {seconds:.1f} s'
    print(f'operators        {verified if error is None else "none"}', flush=True)


if __name__ == '__main__':
    cli.run(main)
