"""A generator as two programs of torch.export, which need no code of this project:

    mapping     z [N, z_dim], c [N, c_dim], label [N, label_dim], truncation_psi [1]  ->  ws [N, num_ws, w_dim]
    synthesis   ws [N, num_ws, w_dim]                                                 ->  image [N, C, H, W]

There are two, because applications interpolate, mix and edit ws between them. All tensors are float32, and N is any batch size.
The mapping program has only the inputs that its network uses.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from torch_utils.ops import backend
from training.networks.synthesis import SynthesisNetwork

TRACED_BATCH = 2  # sizes 0 and 1 would become constants


class Mapping(nn.Module):
    """The mapping network of G with psi as a tensor."""

    def __init__(self, G: nn.Module):
        super().__init__()
        self.mapping = G.mapping

    def forward(self, z: torch.Tensor, c: torch.Tensor | None = None, label: torch.Tensor | None = None,
                truncation_psi: torch.Tensor | None = None) -> torch.Tensor:
        c = z.new_zeros([z.shape[0], 0]) if c is None else c
        ws = self.mapping(z, c) if label is None else self.mapping(z, c, label=label)
        return ws if truncation_psi is None else self.mapping.w_avg.lerp(ws, truncation_psi)


class Synthesis(nn.Module):
    """The synthesis network of G in float32. noise_mode: 'const' or 'none'."""

    def __init__(self, G: nn.Module, noise_mode: str):
        super().__init__()
        self.synthesis = G.synthesis
        self.kwargs = dict(noise_mode=noise_mode, force_fp32=True)
        if isinstance(G.synthesis, SynthesisNetwork):
            self.kwargs['fused_modconv'] = False  # the number of groups of a convolution cannot depend on the input

    def forward(self, ws: torch.Tensor) -> torch.Tensor:
        return self.synthesis(ws, **self.kwargs)


def mapping_inputs(G: nn.Module, batch: int, truncation_psi: float = 1) -> dict[str, torch.Tensor]:
    """Inputs of the mapping program of G by name, the same in each call: latents of one seed, and one-hot labels in turn."""
    def one_hot(width: int) -> torch.Tensor:
        return torch.eye(width)[torch.arange(batch) % width]

    inputs = dict(z=torch.randn(batch, G.z_dim, generator=torch.Generator().manual_seed(0)))
    if G.c_dim > 0:
        inputs['c'] = one_hot(G.c_dim)
    if G.mapping.use_label:
        inputs['label'] = one_hot(G.mapping.label_dim)
    if hasattr(G.mapping, 'w_avg'):
        inputs['truncation_psi'] = torch.tensor([float(truncation_psi)])
    return inputs


def trace(G: nn.Module, noise_mode: str) -> dict[str, ExportedProgram]:
    """The programs of a generator on the CPU, in eval mode, without gradients: {'mapping': ..., 'synthesis': ...}."""
    # torch.export warns of channels-last weights
    G = copy.deepcopy(G).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # missing in annotations of torch
    ws = torch.zeros(TRACED_BATCH, G.num_ws, G.w_dim)
    with backend.using('torch'):  # every format knows the operators of PyTorch, but not ours
        return dict(mapping=_program(Mapping(G), mapping_inputs(G, TRACED_BATCH)),
                    synthesis=_program(Synthesis(G, noise_mode), dict(ws=ws)))


def _program(module: nn.Module, inputs: dict[str, torch.Tensor]) -> ExportedProgram:
    batch = Dim('batch', min=1)
    shapes = {name: None if name == 'truncation_psi' else {0: batch} for name in inputs}
    program = torch.export.export(module.eval(), (), inputs, dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:  # names of this machine's files
        for key in ('stack_trace', 'nn_module_stack', 'source_fn_stack', 'torch_fn'):
            node.meta.pop(key, None)
    return program
