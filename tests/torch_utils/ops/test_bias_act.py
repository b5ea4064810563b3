"""bias_act: values, first and second derivatives, forward-mode derivatives."""

import pytest
import torch

from torch_utils.forward_ad import jvp
from torch_utils.ops.bias_act import activation_funcs, bias_act

pytestmark = pytest.mark.usefixtures('ops')


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


@pytest.mark.parametrize('clamp', [None, 0.8])
@pytest.mark.parametrize('act', activation_funcs)
def test_forward_mode(act, clamp):
    """Tangents of x, of b and of both against finite differences; and the gradient of what is made of a tangent."""
    x, b, v = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 4), (3,), (2, 3, 4)))

    def along(x, v):
        return jvp(lambda x: bias_act(x, b, act=act, clamp=clamp), x, v)[1].square()

    def of_bias(b):
        return bias_act(x.detach(), b, act=act, clamp=clamp)

    for fn, inputs in ((lambda x, b: bias_act(x, b, act=act, clamp=clamp), (x, b)), (of_bias, (b,)),
                       (lambda x: bias_act(x, act=act, clamp=clamp), (x,))):
        assert torch.autograd.gradcheck(fn, inputs, check_forward_ad=True, check_backward_ad=False)
    assert torch.autograd.gradcheck(along, (x, v))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('clamp', [None, 100.0])
@pytest.mark.parametrize('act', ['linear', 'relu', 'lrelu'])
def test_derivatives_have_the_precision_of_the_image(act, clamp, dtype):
    x = torch.tensor([-1.0, 1.0], dtype=dtype, requires_grad=True)
    expected = torch.tensor([{'linear': 1.3, 'relu': 0.0, 'lrelu': 1.3 * 0.2}[act], 1.3], dtype=torch.float64).to(dtype)
    gradient, = torch.autograd.grad(bias_act(x, dim=0, act=act, gain=1.3, clamp=clamp).sum(), x)
    y, tangent = jvp(lambda x: bias_act(x, dim=0, act=act, gain=1.3, clamp=clamp), x, torch.ones_like(x))
    assert y.dtype == tangent.dtype == gradient.dtype == dtype
    for got in (gradient, tangent):
        torch.testing.assert_close(got, expected, rtol=2 * torch.finfo(dtype).eps, atol=0)


def test_wrong_arguments():
    x = torch.zeros(2, 3)
    for kwargs, text in ((dict(act='gelu'), 'unknown'), (dict(b=torch.zeros(2)), 'axis 1'), (dict(clamp=-1), 'clamp')):
        with pytest.raises(ValueError, match=text):
            bias_act(x, **kwargs)
