"""Reading files of weights as data, never as programs, and fitting them into networks."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from dnnlib.errors import UserError
from metrics.detectors.weight_files import Found, Source, kind_of

Net = TypeVar('Net', bound=nn.Module)
BATCH_NORM = ('weight', 'bias', 'running_mean', 'running_var')


class WrongWeights(Exception):
    """Weights of another network. The text gives the reason in a few words."""


def load_network(network: type[Net], found: Found) -> Net:
    """Make a network with the weights in a file, in eval mode, without gradients. Raises UserError.

    network: class with a method load_weights(state), see `Detector`.
    """
    state = read_weights(found.path, found.source)
    with torch.device('meta'):  # no memory and no random numbers for weights that are replaced immediately
        net = network()
    try:
        net.load_weights(state)
    except WrongWeights as err:
        raise UserError(f'{found.path}: not the weights of {network.__name__}: {err}') from err
    return net.eval().requires_grad_(False)


def read_weights(path: Path, source: Source) -> dict[str, torch.Tensor]:
    """The tensors by name in a safetensors file, or in a PyTorch file with only tensors. Runs no code of the file.

    Floats become float32. Raises UserError.
    """
    kind = kind_of(path, source)
    if kind == 'torchscript':
        raise UserError(f'{path}: a TorchScript program where weights belong; use {source.filename}')
    try:
        if kind == 'safetensors':
            from safetensors.torch import load_file
            state = load_file(path)
        else:
            state = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as err:
        raise UserError(f'{path}: damaged, or holds other things than tensors, which could run code and are not loaded') from err
    except OSError as err:
        raise UserError(f'{path}: {(err.strerror or str(err)).lower()}') from err
    except Exception as err:  # readers of binary files raise any error
        raise UserError(f'{path}: damaged, or no file of weights') from err
    if not (isinstance(state, Mapping) and all(isinstance(k, str) and torch.is_tensor(v) for k, v in state.items())):
        raise UserError(f'{path}: not a dict of tensors by name, as a file of weights is')
    return {name: (x.float() if x.is_floating_point() else x).detach() for name, x in state.items()}


def exactly(state: Mapping[str, torch.Tensor], shapes: Mapping[str, Sequence[int]],
            ignored: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    """The tensors named in `shapes`. Raises WrongWeights unless exactly these exist, with these shapes.

    ignored: prefixes of names that may also exist. So may the counters of batch normalisation.
    """
    if missing := [name for name in shapes if name not in state]:
        raise WrongWeights(f'{len(missing)} of {len(shapes)} tensors are missing ({missing[0]})')
    known = (*shapes, *(name for name in state if name.startswith(ignored) or name.endswith('.num_batches_tracked')))
    if others := state.keys() - set(known):
        raise WrongWeights(f'{len(others)} tensors do not belong to it ({min(others)})')
    for name, shape in shapes.items():
        if list(state[name].shape) != list(shape) or not state[name].is_floating_point():
            raise WrongWeights(f'{name} is {_describe(state[name])} instead of floats of {list(shape)}')
    return {name: state[name] for name in shapes}


def _describe(tensor: torch.Tensor) -> str:
    return f'{str(tensor.dtype).removeprefix("torch.")} of {list(tensor.shape)}'


def load_exactly(net: nn.Module, state: Mapping[str, torch.Tensor], ignored: tuple[str, ...] = ()) -> None:
    """Load weights into a network whose names and shapes are those of the file; see `exactly`."""
    net.load_state_dict(exactly(state, {name: p.shape for name, p in net.state_dict().items()}, ignored), assign=True)


def load_folded(net: nn.Module, state: Mapping[str, torch.Tensor], names: Callable[[str], tuple[str, str]], eps: float) -> None:
    """Load weights into a network without batch normalisation. Each normalisation becomes part of the convolution before it.

    Computed in float64, so this costs no accuracy. The network is faster without normalisation.

    net: convolutions with bias, and linear layers. names: the name of a convolution in net -> the names of the convolution
    (without bias) and of its batch normalisation in the file. eps: of all batch normalisations. Raises WrongWeights.
    """
    convs = {name: (*names(name), m.weight.shape) for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    shapes = {f'{name}.{kind}': p.shape for name, m in net.named_modules() if isinstance(m, nn.Linear)
              for kind, p in m.named_parameters()}
    loaded = exactly(state, shapes | {name: shape for conv, norm, (width, *rest) in convs.values() for name, shape in (
        (f'{conv}.weight', (width, *rest)), *((f'{norm}.{kind}', (width,)) for kind in BATCH_NORM))})
    folded = {name: loaded[name] for name in shapes}
    for name, (conv, norm, _) in convs.items():
        weight, bias, mean, var = (loaded[f'{norm}.{kind}'].double() for kind in BATCH_NORM)
        gain = weight / (var + eps).sqrt()
        folded[f'{name}.weight'] = (loaded[f'{conv}.weight'] * gain.reshape(-1, 1, 1, 1)).float()
        folded[f'{name}.bias'] = (bias - mean * gain).float()
    net.load_state_dict(folded, assign=True)
