"""upfirdn2d against recorded numbers, against its definition, and its gradients against finite differences."""

import pytest
import torch

from torch_utils.forward_ad import jvp
from torch_utils.ops import upfirdn2d as op

pytestmark = pytest.mark.usefixtures('ops')


def test_agrees_with_golden_numbers(golden, agrees):
    g = golden('op_upfirdn2d')
    for case in g.meta['cases']:
        kwargs = {k: v for k, v in case.items() if k not in ('key', 'op', 'taps')}
        y = getattr(op, case.get('op', 'upfirdn2d'))(g['x'], g[f'filter_{case["taps"]}'], **kwargs)
        agrees(y, g[case['key']])


def by_definition(x, f, up, down, pads, flip, gain):
    """The four steps of the definition, literally, for a 2-D filter."""
    n, c, h, w = x.shape
    v = x.new_zeros(n, c, h, up[1], w, up[0])
    v[:, :, :, 0, :, 0] = x
    v = torch.nn.functional.pad(v.reshape(n, c, h * up[1], w * up[0]), pads)
    k = (f if flip else f.flip([0, 1])).to(x.dtype) * gain
    y = torch.stack([torch.nn.functional.conv2d(v[:, i:i + 1], k[None, None])[:, 0] for i in range(c)], dim=1)
    return y[:, :, ::down[1], ::down[0]]


@pytest.mark.parametrize('up', [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize('down', [(1, 1), (2, 3)])
@pytest.mark.parametrize('pads', [(0, 0, 0, 0), (3, 1, -1, 2), (-2, -1, 4, 4)])
@pytest.mark.parametrize('flip', [False, True])
def test_equals_its_definition(up, down, pads, flip):
    x, f = torch.randn(2, 3, 9, 8, dtype=torch.float64), torch.randn(3, 4)
    y = op.upfirdn2d(x, f, up=up, down=down, padding=pads, flip_filter=flip, gain=1.5)
    torch.testing.assert_close(y, by_definition(x, f, up, down, pads, flip, 1.5))


@pytest.mark.parametrize('up', [(1, 1), (2, 2)])
def test_crops_by_more_than_the_image(up):
    x, f = torch.randn(1, 2, 2, 1, dtype=torch.float64), torch.randn(3, 2)
    y = op.upfirdn2d(x, f, up=up, padding=(7, -4, -5, 8))
    wide = torch.nn.functional.pad(by_definition(x, f, up, (1, 1), (7, 0, 0, 8), False, 1.0), (0, -4, -5, 0))
    torch.testing.assert_close(y, wide)


@pytest.mark.parametrize('call', [dict(up=2, padding=[2, 1, 2, 1], gain=4), dict(down=2, padding=1),
                                  dict(up=[2, 1], down=[1, 3], padding=[-1, 2, 3, 1], flip_filter=True)])
@pytest.mark.parametrize('taps', [[1, 3, 3, 1], [1, 2, 4, 8, 16, 8, 4, 3, 2]])
def test_first_and_second_gradients(ops, call, taps):
    x = torch.randn(1, 2, 7, 6, dtype=torch.float64, requires_grad=True)
    f = op.setup_filter(taps)
    call = {**call, 'padding': [p + 4 for p in op.parse_padding(call['padding'])]}
    assert torch.autograd.gradcheck(lambda x: op.upfirdn2d(x, f, **call), x, fast_mode=ops == 'emulated')
    assert torch.autograd.gradgradcheck(lambda x: op.upfirdn2d(x, f, **call).square(), x, fast_mode=ops == 'emulated')


@pytest.mark.parametrize('call', [dict(padding=1), dict(up=2, padding=[2, 1, 2, 1], gain=4), dict(down=2, padding=1),
                                  dict(up=[2, 1], down=[1, 3], padding=[-1, 2, 3, 1], flip_filter=True)])
@pytest.mark.parametrize('taps', [[1, 2, 4], [1, 2, 4, 8, 16, 8, 4, 3, 2]])
def test_forward_mode(call, taps):
    """The operator is linear: a tangent goes where an image would go, and the gradient of a tangent likewise."""
    x, v = (torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    f = op.setup_filter(taps)
    call = {**call, 'padding': [p + 2 for p in op.parse_padding(call['padding'])]}
    y, tangent = jvp(lambda x: op.upfirdn2d(x, f, **call), x, v)
    assert torch.equal(y, op.upfirdn2d(x, f, **call)) and torch.equal(tangent, op.upfirdn2d(v, f, **call))
    assert torch.autograd.gradcheck(lambda x, v: jvp(lambda x: op.upfirdn2d(x, f, **call).square(), x, v)[1], (x, v))


def test_filters():
    torch.testing.assert_close(op.setup_filter([1, 3, 3, 1]), torch.outer(*[torch.tensor([1., 3, 3, 1])] * 2) / 64)
    assert op.setup_filter(None).tolist() == [[1.0]] and op.setup_filter(5).tolist() == [[1.0]]
    assert op.setup_filter(range(1, 9)).shape == (8,)
    assert op.setup_filter(range(1, 8)).shape == (7, 7)
    torch.testing.assert_close(op.setup_filter([1, 3], gain=4, separable=True, flip_filter=True), torch.tensor([1.5, 0.5]))
    for wrong in ([], [[[1.0]]]):
        with pytest.raises(ValueError, match='axes'):
            op.setup_filter(wrong)
    with pytest.raises(ValueError, match='separable'):
        op.setup_filter([[1, 2], [3, 4]], separable=True)


def test_constant_image_stays_constant_inside():
    x = torch.ones(1, 1, 16, 16)
    f = op.setup_filter([1, 3, 3, 1])
    torch.testing.assert_close(op.upsample2d(x, f)[..., 4:-4, 4:-4], torch.ones(1, 1, 24, 24))
    torch.testing.assert_close(op.downsample2d(x, f)[..., 2:-2, 2:-2], torch.ones(1, 1, 4, 4))


def test_filter_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match='taps'):
        op.upfirdn2d(torch.zeros(1, 1, 2, 8), op.setup_filter([1, 3, 3, 1]))
