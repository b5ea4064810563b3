"""Optimizers that don't import PyTorch's compiler."""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch

T = TypeVar('T', bound=torch.optim.Optimizer)
WRAPPED = ('add_param_group', 'zero_grad', 'state_dict', 'load_state_dict')  # by torch._compile


def without_compiler(optimizer_class: type[T]) -> type[T]:
    """Return a subclass of an optimizer of torch.optim, with the same results, that does not import torch._dynamo.

    PyTorch wraps methods of its optimizers for those who compile them. The first call of a wrapper imports torch._dynamo, which
    takes several seconds, more than half of the start of a program. Here the methods are called without their wrappers. Other
    classes are returned as they are. The subclass does not support `differentiable=True`.
    """
    if not optimizer_class.__module__.startswith('torch.optim.'):
        return optimizer_class
    methods = {name: inspect.unwrap(getattr(optimizer_class, name)) for name in WRAPPED}
    step = torch.no_grad()(inspect.unwrap(optimizer_class.step))  # its wrapper, too, turns off gradients
    return type(optimizer_class.__name__, (optimizer_class,), {**methods, 'step': step})


Adam = without_compiler(torch.optim.Adam)
