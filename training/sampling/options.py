"""Options that several subcommands of generate.py share, and the checks of their values."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import click
import torch

from dnnlib import cli
from dnnlib.util import OptionError
from metrics.context import TRAINED
from torch_utils import devices
from torch_utils.ops import backend
from training.networks.synthesis import NOISE_MODES
from training.run.resume import newest_snapshot
from training.snapshots.classes import choose

ALL = 'all'


class ClassOrAll(click.ParamType):
    """The number of a class, or ALL. Gives an int or ALL."""

    name = 'class'

    def convert(self, value: Any, param, ctx) -> int | str:
        return ALL if value == ALL else click.INT.convert(value, param, ctx)


LabelChoice = int | str | tuple[float, ...] | None  # what --class and --label give: a class, ALL, numbers


class Label(click.ParamType):
    """The numbers of a vector label: `1.0,0.5`. Gives a tuple of floats."""

    name = 'label'

    def convert(self, value: Any, param, ctx) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(','))
        except ValueError:
            self.fail(f'{value!r} is not a list of numbers such as 1.0,0.5', param, ctx)
        if not all(math.isfinite(number) for number in numbers):
            self.fail(f'{value!r} must be finite numbers', param, ctx)
        return numbers


class Network(cli.PathText):
    """A network: a path or URL, the newest intact snapshot of a run directory, or the name of one in models/."""

    name = 'network'

    def convert(self, value: Any, param, ctx) -> str:
        return newest_snapshot(super().convert(value, param, ctx))


NETWORK = Network()


def _choose(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    choose(value)
    ctx.call_on_close(lambda: choose(None))
    return value


classes = functools.partial(click.option, '--classes', callback=_choose, metavar='LIST',
                            help='Your own classes that --network may use: package.module.Class, path.py:Class, or path.py '
                            'for all classes in it; separated by commas (docs/own-networks.md).')
_network = functools.partial(click.option, '--network', type=NETWORK,
                             help='Network: a snapshot, path or URL; a run directory, for its newest snapshot; the folder of an '
                             'exported generator; or a name of models/, such as two-color-mnist/i-stylegan.', metavar='PKL')
outdir_or_none = functools.partial(click.option, '--outdir', type=cli.PATH,
                                   help='Directory for the images. Created if necessary.', metavar='DIR')
outdir = outdir_or_none(required=True)
_label = click.option('--label', type=Label(), help='Label vector, instead of --class, for networks that were trained with '
                      'labels of several numbers, such as 1.0,0.5.', metavar='NUMBER,...')
_class_idx = click.option('--class', 'class_idx', help='Class or domain, counted from 0; conditional networks only.', type=int,
                          metavar='INT')
_class_or_all = click.option('--class', 'class_idx', help='Class or domain, counted from 0, or `all`; conditional networks only.',
                             type=ClassOrAll(), metavar='INT|all')
noise_mode = click.option('--noise-mode', help="Noise inputs: const is the network's own, the same for all images.",
                          type=click.Choice(NOISE_MODES[1::-1] + NOISE_MODES[2:]), default='const', show_default=True)
device = click.option('--device', help='Where to compute.', type=click.Choice(devices.DEVICES), default='auto', show_default=True)
ops = click.option('--ops', help='Operators for resampling, filters and activations. native: our own, built by a C++ compiler '
                   "and nvcc if necessary. torch: PyTorch's. auto: our own; on CUDA, NVRTC compiles them in seconds; on a CPU "
                   'only if train.py or `python -m torch_utils.custom_ops` has built them.',
                   type=click.Choice(backend.CHOICES), default='auto', show_default=True, envvar='STYLEGAN_OPS', show_envvar=True)
encoder = click.option('--encoder', type=cli.PATH, help='The encoder that python -m training.encoder trained for this network.  '
                       '[default: the one beside the network, if it exists]', metavar='PATH')
domain_trunc = click.option('--trunc', help="Truncation psi towards the domain's own mean: 1 for none, 0 for the mean image.",
                            type=float, default=1, show_default=True, metavar='PSI')


def _with_label(option: Callable) -> Callable:
    """An option that gives `class_idx`, and --label, whose numbers are given as `class_idx` too."""
    def decorate(command: Callable) -> Callable:
        @functools.wraps(command)
        def called(*args: Any, class_idx: Any, label: tuple[float, ...] | None, **kwargs: Any) -> Any:
            if label is not None and class_idx is not None:
                raise OptionError('--label and --class both say which label; leave one of them out')
            return command(*args, class_idx=class_idx if label is None else label, **kwargs)
        return option(_label(called))
    return decorate


class_idx, class_or_all = _with_label(_class_idx), _with_label(_class_or_all)


def network_or_none(**kwargs: Any):
    """--network, and --classes, the user's classes that it may use."""
    return lambda command: _network(**kwargs)(classes(expose_value=False)(command))


def network(command):
    """The same, with a required network."""
    return network_or_none(required=True)(command)


def seeds(default: str | None, help: str, name: str = '--seeds', required: bool = False):
    """Random seeds, with their own default and text, and optionally another name."""
    absence = dict(required=True) if required else dict(default=default, show_default=default is not None)
    return click.option(name, help=help, type=cli.NumRange(), metavar='RANGE', **absence)


def start_on(device: str, ops: str, cudnn_benchmark: bool = False) -> torch.device:
    """The device of --device. From now on, the operators of --ops compute on it, without TF32, as in training.

    cudnn_benchmark: for many batches of one shape. Raises UserError if the device or the operators are not available.
    """
    where = devices.start(device, cudnn_benchmark)
    backend.select(ops, where, build=False)  # one image is not worth half a minute of compilation
    return where


def way(by: str, encoder: str | None) -> str:
    """The value of --by, with --encoder: by this encoder only. Raises OptionError if they contradict each other."""
    if encoder is not None and by == 'projection':
        raise OptionError(f'--encoder={encoder}: --by=projection uses no encoder; leave one of them out')
    return by if encoder is None else TRAINED


def check_seeds(seeds: list[int], name: str = '--seeds') -> None:
    """Raises OptionError for values that cannot seed NumPy's generator."""
    if not 0 <= min(seeds) <= max(seeds) < 2 ** 32:
        raise OptionError(f'{name} must be between 0 and 4294967295')


def check_finite(name: str, value: float) -> None:
    """Raises OptionError for infinity and NaN, which click accepts as floats."""
    if not math.isfinite(value):
        raise OptionError(f'{name} must be a finite number')
