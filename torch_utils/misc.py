"""Small helpers for torch programs."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from torch_utils.sampler import InfiniteSampler

__all__ = ['InfiniteSampler', 'copy_params_and_buffers', 'module_digest', 'print_module_summary']


def copy_params_and_buffers(src_module: nn.Module, dst_module: nn.Module, require_all: bool = False) -> list[str]:
    """Copy parameters and buffers by name. Returns the names that `src_module` lacks; those tensors keep their values.

    A parameter may be copied to a buffer and vice versa, because a frozen layer has buffers instead of parameters.
    Raises ValueError for a tensor of another shape or, with require_all, for a missing one. Nothing is copied in that case.
    """
    source, target = src_module.state_dict(), dst_module.state_dict()
    missing = [name for name in target if name not in source]
    if missing and require_all:
        raise ValueError(f'missing from the source: {", ".join(missing)}')
    shared = [name for name in target if name in source]
    for name in shared:
        if source[name].shape != target[name].shape:
            raise ValueError(f'{name} is {list(source[name].shape)} in the source, {list(target[name].shape)} here')
    with torch.no_grad():
        for name in shared:
            target[name].copy_(source[name])
    return missing


def module_digest(net: nn.Module) -> str:
    """SHA-256 of the names and the contents of all parameters and buffers, in hex."""
    result = hashlib.sha256()
    for name, x in net.state_dict().items():
        result.update(f'{name} {x.dtype} {list(x.shape)}\n'.encode())
        result.update(x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return result.hexdigest()


def print_module_summary(module: nn.Module, inputs: list[Any], max_nesting: int = 3, skip_redundant: bool = True) -> Any:
    """Print a table of the submodules that one forward pass visits: parameters, buffers, output shape and dtype.

    Runs in eval mode without gradients and restores the random generators, so it changes nothing.
    max_nesting: depth of submodules shown.
    skip_redundant: leave out submodules without parameters and buffers of their own. Returns the module's outputs.
    """
    rows: list[tuple[str, ...]] = []
    names = {child: name for name, child in module.named_modules()}

    def visited(child: nn.Module, _inputs: Any, outputs: Any) -> None:
        name = names[child]
        own = [sum(t.numel() for t in tensors(recurse=False)) for tensors in (child.parameters, child.buffers)]
        total = [sum(t.numel() for t in tensors()) for tensors in (child.parameters, child.buffers)]
        if name.count('.') >= max_nesting or (skip_redundant and child is not module and not any(own)):
            return
        first = next((o for o in (outputs if isinstance(outputs, tuple) else (outputs,)) if torch.is_tensor(o)), None)
        shape, dtype = ('-', '-') if first is None else (str(list(first.shape)), str(first.dtype).removeprefix('torch.'))
        numbers = total if child is module else own
        rows.append((name or type(module).__name__, *(str(n) if n else '-' for n in numbers), shape, dtype))

    handles = [child.register_forward_hook(visited) for child in names]
    training = {child: child.training for child in names}
    devices = {x.device for x in inputs if torch.is_tensor(x) and x.is_cuda}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            outputs = module.eval()(*inputs)
    finally:
        for child, flag in training.items():
            child.training = flag
        for handle in handles:
            handle.remove()

    header = ('Module', 'Parameters', 'Buffers', 'Output shape', 'Datatype')
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    print()
    for row in (header, tuple('---' for _ in header), *rows):
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    return outputs
