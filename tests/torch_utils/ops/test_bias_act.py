"""bias_act: values, first and second derivatives."""

import pytest
import torch

from torch_utils.ops.bias_act import activation_funcs, bias_act


def test_agrees_with_golden_numbers(golden, agrees):
    g = golden('op_bias_act')
    for case in g.meta['cases']:
        key = case.pop('key')
        x, b = g['x'].requires_grad_(), g['b'].requires_grad_()
        y = bias_act(x, b, **case)
        gx, gb = torch.autograd.grad(y.square().sum(), [x, b], create_graph=True)
        ggx = torch.autograd.grad(gx.square().sum(), x)[0]
        for name, value in dict(y=y, gx=gx, gb=gb, ggx=ggx).items():
            agrees(value, g[f'{key}/{name}'])


@pytest.mark.parametrize('act', activation_funcs)
def test_gradients(act):
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, b: bias_act(x, b, dim=2, act=act, clamp=1.5), (x, b))
    assert torch.autograd.gradgradcheck(lambda x, b: bias_act(x, b, dim=-1, act=act), (x, b))


def test_wrong_arguments():
    x = torch.zeros(2, 3)
    for kwargs, text in ((dict(act='gelu'), 'unknown'), (dict(b=torch.zeros(2)), 'axis 1'), (dict(clamp=-1), 'clamp')):
        with pytest.raises(ValueError, match=text):
            bias_act(x, **kwargs)
