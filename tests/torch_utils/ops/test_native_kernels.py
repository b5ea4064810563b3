"""The native operators against PyTorch's, where the tests of the operators don't look: formats, dtypes, orders, compilers."""

import itertools

import pytest
import torch
from torch.autograd import forward_ad

from torch_utils.forward_ad import jvp
from torch_utils.ops import backend, bias_act, nvrtc_ops, torch_kernels, upfirdn2d
from torch_utils.ops.bias_act import activation_funcs

pytestmark = pytest.mark.usefixtures('native')


def test_the_library_is_what_computes():
    x, f = torch.randn(1, 2, 4, 4), upfirdn2d.setup_filter([1, 3, 3, 1])
    with backend.using('native'), torch.profiler.profile() as profile:
        bias_act.bias_act(upfirdn2d.upsample2d(x, f), act='lrelu')
    assert {'style_gan_ops::upfirdn2d', 'style_gan_ops::bias_act'} <= {event.key for event in profile.key_averages()}


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('layout', ['contiguous', 'channels_last', 'sliced', 'expanded'])
def test_images_of_every_layout_and_dtype(both, layout, dtype):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 12)
    x = {'contiguous': x, 'channels_last': x.to(memory_format=torch.channels_last), 'sliced': x[:, :2, 1:, ::2],
         'expanded': x[:, :1].expand(2, 3, 8, 12)}[layout].to(dtype)
    b, f = torch.randn(x.shape[1]).to(dtype), upfirdn2d.setup_filter([1, 3, 3, 1])
    tolerance = dict(rtol=4 * torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps)
    calls = [lambda: upfirdn2d.upsample2d(x, f), lambda: upfirdn2d.downsample2d(x, f), lambda: upfirdn2d.filter2d(x, f)]
    for act, clamp in itertools.product(activation_funcs, (None, 0.7)):
        calls.append(lambda act=act, clamp=clamp: bias_act.bias_act(x, b, act=act, clamp=clamp))
    for call in calls:
        theirs, ours = both(call)
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, **tolerance)
        if layout == 'channels_last':
            assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('clamp', [None, 0.7])
@pytest.mark.parametrize('act', activation_funcs)
def test_derivatives_agree_with_those_of_pytorch(both, act, clamp):
    """First and second ones of x and b, tangents, and gradients of a tangent, with a strided gradient coming in."""
    torch.manual_seed(0)
    x, v = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    b = torch.randn(3, dtype=torch.float64)

    def derivatives():
        inputs = [x.clone().requires_grad_(), b.clone().requires_grad_()]
        y = bias_act.bias_act(*inputs, act=act, clamp=clamp)
        weight = v.to(memory_format=torch.channels_last).requires_grad_()
        first = torch.autograd.grad((y * weight).sum(), inputs, create_graph=True)
        scalar = (first[0] * v).sum() + first[1].square().sum() + (inputs[0] * inputs[0]).sum() + inputs[1].sum()
        second = torch.autograd.grad(scalar, [*inputs, weight])
        y, tangent = jvp(lambda x: bias_act.bias_act(x, inputs[1], act=act, clamp=clamp), inputs[0], v)
        of_tangent = torch.autograd.grad(tangent.square().sum() + sum(i.sum() for i in inputs), inputs)
        return [y, *first, *second, tangent, *of_tangent]

    for theirs, ours in zip(*both(derivatives), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('act', ['lrelu', 'sigmoid', 'tanh'])  # PyTorch itself cannot do it for swish
def test_forward_mode_over_reverse_mode(both, act):
    """The Hessian in a direction, either way round."""
    x, v = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    b = torch.randn(3, dtype=torch.float64)

    def along():
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x.clone().requires_grad_(), v)
            y = bias_act.bias_act(dual, b, act=act).square().sum()
            return forward_ad.unpack_dual(torch.autograd.grad(y, dual)[0]).tangent

    theirs, ours = both(along)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('shape, dim', [((5,), 0), ((3, 4), 1), ((2, 3, 4), 2), ((0, 3, 2, 2), 1), ((2, 3, 1, 1), 1)])
def test_tensors_that_are_no_images(both, shape, dim):
    x, b = torch.randn(shape), torch.randn(shape[dim])

    def gradients():
        inputs = [x.clone().requires_grad_(), b.clone().requires_grad_()]
        y = bias_act.bias_act(*inputs, dim=dim, act='lrelu')
        return [y, *torch.autograd.grad(y.square().sum(), inputs)]

    for theirs, ours in zip(*both(gradients), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_bias_of_another_dtype(both):
    theirs, ours = both(lambda: bias_act.bias_act(torch.ones(2, 3), torch.ones(3, dtype=torch.float64)))
    assert torch.equal(ours, theirs) and ours.dtype == theirs.dtype


def test_a_line_keeps_nothing_for_its_derivative():
    with backend.using('native'):
        y = bias_act.bias_act(torch.randn(2, 3, requires_grad=True), torch.randn(3))
    assert not [t for t in y.grad_fn.saved_tensors if t is not None]


@pytest.mark.parametrize('library', ['style_gan_ops', 'style_gan_emulated'])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_the_library_keeps_the_rules_of_operators(gpu, layout, library):
    """Schemas tell the truth, and the shapes and strides that torch.compile is told are those of the results."""
    ops = getattr(torch.ops, library)
    x = torch.randn(2, 3, 5, 6).to(memory_format=layout)
    b, none = torch.randn(3), torch.empty(0)
    for f, up, down, padding in ((torch.ones(4, 4), (2, 1), (1, 2), (3, -1, 2, 2)),
                                 (torch.ones(8), (1, 1), (2, 2), (4, 4, 4, 4))):
        torch.library.opcheck(ops.upfirdn2d, (x, f, up, down, padding, False, 1.0))
    for act, clamp in (('linear', -1.0), ('linear', 0.7), ('lrelu', -1.0), ('swish', 0.7)):
        how = (1, list(activation_funcs).index(act), 0.2, 1.3, clamp)
        known = (x, b, none) if act == 'swish' else (none, b, x)
        torch.library.opcheck(ops.bias_act, (x, b, *how))
        torch.library.opcheck(ops.bias_act_backward, (x.cos(), *known, *how))
        torch.library.opcheck(ops.bias_act_backward2, (x.sin(), x.cos(), *known, *how))


def test_torch_export_takes_the_operators():
    class Layer(torch.nn.Module):
        def forward(self, x):
            y = torch.ops.style_gan_ops.upfirdn2d(x, torch.ones(2, 2), [2, 2], [1, 1], [1, 0, 1, 0], False, 1.0)
            return torch.ops.style_gan_ops.bias_act(y, None, 1, 2, 0.2, 1.4, -1.0)

    x = torch.randn(1, 2, 4, 4)
    exported = torch.export.export(Layer(), (x,))
    torch.testing.assert_close(exported.module()(x), Layer()(x))


def test_both_libraries_have_the_same_operators():
    for schema in nvrtc_ops.SCHEMAS:
        name, native_schema = schema.split('(')[0], getattr(torch.ops.style_gan_ops, schema.split('(')[0]).default._schema
        assert str(torch._C.parse_schema(f'style_gan_ops::{schema}')) == str(native_schema), name


def test_pytorch_computes_what_the_library_does_not():
    with backend.using('native'):
        assert backend.kernels(torch.zeros(1, dtype=torch.float16)) is torch_kernels
        assert backend.kernels(torch.zeros(1, device='meta')) is torch_kernels
        assert backend.kernels(torch.zeros(1)) is not torch_kernels
