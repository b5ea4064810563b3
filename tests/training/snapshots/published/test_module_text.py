"""The source text in exported pickles: self-contained, and of Python 3.7 and torch 1.7.1."""

import ast
import builtins
import dis
import subprocess
import sys
import types

import pytest
import torch

from training import networks
from training.snapshots.published import module_text

# What it uses of torch, and of tensors and modules. All of these are in torch 1.7.1; a new one has to be looked up there.
IN_TORCH_1_7 = {
    'torch': 'addcmul arange as_tensor bmm bool cat channels_last contiguous_format empty expm1 float16 float32 full no_grad '
             'ones outer randn sigmoid softmax stack tanh where zeros',
    'nn': 'Module Parameter Sequential',
    'F': 'conv2d conv_transpose2d elu leaky_relu linear pad selu silu softplus',
    'methods': '__init__ abs amax apply argmax clamp contiguous device dtype expand expm1 flatten flip forward is_contiguous '
               'lerp lerp_ log mean ndim numel permute register_buffer register_parameter repeat reshape rsqrt shape split '
               'sqrt square sum t to transpose type unbind uniform_',
}


@pytest.fixture(scope='module')
def tree():
    """The text as Python 3.7 parses it, without its annotations, which are not evaluated."""
    parsed = ast.parse(module_text.source(), feature_version=(3, 7))
    for node in ast.walk(parsed):
        for field in ('annotation', 'returns'):
            if getattr(node, field, None) is not None:
                setattr(node, field, ast.Constant(None))
    return parsed


def test_it_needs_torch_alone(tree):
    imports = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert imports == ['from __future__ import annotations', 'from torch import nn', module_text.PERSISTENT,
                       'from typing import NamedTuple', 'import math', 'import torch', 'import torch.nn.functional as F']


def test_nothing_is_newer_than_python_3_7(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.BinOp, ast.AugAssign)):
            assert not isinstance(node.op, ast.BitOr), f'line {node.lineno}: | of dicts and types needs Python 3.9'
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'zip':
            assert not node.keywords, f'line {node.lineno}: zip(strict=) needs Python 3.10'
        if isinstance(node, ast.Attribute):
            assert node.attr not in ('removeprefix', 'removesuffix', 'cache', 'prod', 'bit_count'), f'line {node.lineno}'
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in ('list', 'dict', 'tuple', 'type', 'set'), f'line {node.lineno}: needs Python 3.9'


def test_nothing_is_newer_than_torch_1_7(tree):
    roots = dict(torch=torch, nn=torch.nn, F=torch.nn.functional)
    used = {name: set() for name in IN_TORCH_1_7}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id in roots:
                used[node.value.id].add(node.attr)
            elif hasattr(torch.Tensor, node.attr) or hasattr(torch.nn.Module, node.attr):
                used['methods'].add(node.attr)
    for name, known in IN_TORCH_1_7.items():
        assert used[name] <= set(known.split()), name


def executed():
    """The module that a reader makes of the text, in this process."""
    module = types.ModuleType('imported')
    persistence = types.ModuleType('torch_utils.persistence')
    persistence.persistent_class = lambda cls: cls
    before = sys.modules['torch_utils.persistence']
    sys.modules['torch_utils.persistence'] = persistence
    try:
        exec(module_text.source(), vars(module))
    finally:
        sys.modules['torch_utils.persistence'] = before
    return module


def codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def test_every_name_in_it_is_defined():
    known = {*vars(executed()), *vars(builtins)}
    for code in codes(compile(module_text.source(), 'text', 'exec')):
        for step in dis.get_instructions(code):
            assert step.opname != 'LOAD_GLOBAL' or step.argval in known, f'{code.co_name} needs {step.argval}'


def test_it_has_all_classes_and_draws_what_ours_draw():
    module = executed()
    assert all(hasattr(module, name) for name in networks.__all__)
    arguments = dict(z_dim=4, c_dim=0, w_dim=4, img_resolution=8, img_channels=1, synthesis_kwargs=dict(channel_base=64))
    made = []
    for Generator in (networks.Generator, module.Generator):
        torch.manual_seed(1)
        G = Generator(**arguments).eval()
        made.append(G(torch.ones(2, 4), None, noise_mode='const'))
    assert torch.equal(*made) and not isinstance(G, networks.Generator)


def test_it_is_always_the_same():
    code = 'from training.snapshots.published import module_text; print(module_text.source(), end="")'
    other = subprocess.run([sys.executable, '-c', code], cwd=module_text.PROJECT, capture_output=True, text=True, check=True,
                           env={'PYTHONHASHSEED': '7', 'PYTHONIOENCODING': 'utf-8'})
    assert other.stdout == module_text.source() and module_text.source().startswith(module_text.TITLE)
