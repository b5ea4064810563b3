"""Networks of rectangles: values and gradients against the definition in float64, and squares as they were."""

import math

import pytest
import torch
import torch.nn.functional as F

from torch_utils import persistence
from training.networks import Discriminator, Generator
from training.start_grid import levels

SIZES = [(12, 16), (16, 12), (24, 40), 28]  # start grids 3x4, 4x3, 3x5, 7x7
ROOT2 = math.sqrt(2)
BLUR = torch.outer(*[torch.tensor([1., 3, 3, 1], dtype=torch.float64) / 8] * 2)


def blur(x, pads, stride=1):
    """Filter every channel of x with BLUR after padding [left, right, top, bottom]."""
    weight = BLUR.expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, pads), weight, groups=x.shape[1], stride=stride)


def spread_out(x):
    """x with zeros between its pixels, four times as bright."""
    n, c, h, w = x.shape
    y = x.new_zeros(n, c, h, 2, w, 2)
    y[:, :, :, 0, :, 0] = 4 * x
    return y.reshape(n, c, 2 * h, 2 * w)


def lrelu(x, gain=ROOT2):
    return F.leaky_relu(x, 0.2) * gain


def styled(p, name, x, w, up=False, demodulate=True):
    """Modulated convolution, sample by sample."""
    weight = p[f'{name}.weight']
    style = w @ p[f'{name}.affine.weight'].T / math.sqrt(w.shape[1]) + p[f'{name}.affine.bias']
    style = style if demodulate else style / math.sqrt(weight[0].numel())
    results = []
    for image, s in zip(x, style, strict=True):
        k = weight * s[None, :, None, None]
        k = k * (k.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).rsqrt() if demodulate else k
        if up:
            results.append(F.conv2d(blur(spread_out(image[None]), [3, 2, 3, 2]), k.flip([2, 3])))
        else:
            results.append(F.conv2d(image[None], k, padding=weight.shape[2] // 2))
    return torch.cat(results)


def layer(p, name, x, w, up=False):
    x = styled(p, name, x, w, up) + p[f'{name}.noise_const'] * p[f'{name}.noise_strength']
    return lrelu(x + p[f'{name}.bias'][:, None, None])


def synthesis(p, size, ws):
    """The synthesis network with skip connections, by its parameters and buffers p in float64."""
    image, i = 0, 0
    for level in levels(size):
        if level == 4:
            x = p['b4.const'].expand(len(ws), -1, -1, -1)
        else:
            x, image, i = layer(p, f'b{level}.conv0', x, ws[:, i], up=True), blur(spread_out(image), [2, 1, 2, 1]), i + 1
        x, i = layer(p, f'b{level}.conv1', x, ws[:, i]), i + 1
        image = image + styled(p, f'b{level}.torgb', x, ws[:, i], demodulate=False) + p[f'b{level}.torgb.bias'][:, None, None]
    return image


def discriminator(p, size, x):
    """The residual discriminator without labels, by its parameters p in float64; one group of minibatch stddev."""
    def conv(name, x, down=False, gain=ROOT2):
        weight = p[f'{name}.weight'] / math.sqrt(p[f'{name}.weight'][0].numel())
        pad = weight.shape[2] // 2
        x = F.conv2d(blur(x, [pad + 1] * 4), weight, stride=2) if down else F.conv2d(x, weight, padding=pad)
        return lrelu(x + p[f'{name}.bias'][:, None, None], gain) if f'{name}.bias' in p else x * math.sqrt(0.5)

    x = conv(f'b{levels(size)[-1]}.fromrgb', x)
    for level in levels(size)[:0:-1]:
        x = conv(f'b{level}.skip', x, down=True) + conv(f'b{level}.conv1', conv(f'b{level}.conv0', x), down=True, gain=1)
    spread = (x.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
    x = conv('b4.conv', torch.cat([x, spread.expand(len(x), 1, *x.shape[2:])], dim=1)).flatten(1)
    for name in ('fc', 'out'):
        x = x @ p[f'b4.{name}.weight'].T / math.sqrt(x.shape[1]) + p[f'b4.{name}.bias']
        x = lrelu(x) if name == 'fc' else x
    return x


def in_float64(net):
    """Parameters, which want gradients, and buffers of a network: {name: float64}."""
    parameters = {name: p.detach().double().requires_grad_() for name, p in net.named_parameters()}
    return parameters, parameters | {name: b.double() for name, b in net.named_buffers()}


def assert_alike(gradients, expected):
    for (name, exact), gradient in zip(expected.items(), gradients, strict=True):
        torch.testing.assert_close(gradient.double(), exact.grad, rtol=2e-4, atol=2e-4 * exact.grad.abs().max().item(), msg=name)


@pytest.mark.parametrize('size', SIZES)
def test_generator_and_its_gradients_agree_with_float64(size):
    torch.manual_seed(0)
    net = Generator(4, 0, 6, size, 3, synthesis_kwargs=dict(channel_base=64, channel_max=8)).synthesis
    for name, p in net.named_parameters():
        if name.endswith(('bias', 'noise_strength')):
            torch.nn.init.normal_(p, std=0.5)
    ws = torch.randn(2, net.num_ws, 6)
    images = net(ws, noise_mode='const')
    parameters, everything = in_float64(net)
    expected = synthesis(everything, size, ws.double())
    torch.testing.assert_close(images.double(), expected, rtol=1e-5, atol=1e-5)
    direction = torch.randn_like(images)
    (expected * direction).sum().backward()
    assert_alike(torch.autograd.grad((images * direction).sum(), list(net.parameters())), parameters)


@pytest.mark.parametrize('size', SIZES)
def test_discriminator_and_gradients_of_r1_agree_with_float64(size):
    torch.manual_seed(0)
    net = Discriminator(0, size, 3, channel_base=64, channel_max=8)
    for name, p in net.named_parameters():
        if name.endswith('bias'):
            torch.nn.init.normal_(p, std=0.5)
    parameters, everything = in_float64(net)
    shape = (size, size) if isinstance(size, int) else size
    x = torch.randn(4, 3, *shape, requires_grad=True)
    y = x.detach().double().requires_grad_()
    logits, expected = net(x, None), discriminator(everything, size, y)
    torch.testing.assert_close(logits.double(), expected, rtol=1e-5, atol=1e-5)
    penalty, exact = (F.softplus(out).mean() + torch.autograd.grad(out.sum(), img, create_graph=True)[0].square().sum()
                      for out, img in ((logits, x), (expected, y)))
    exact.backward()
    assert_alike(torch.autograd.grad(penalty, list(net.parameters())), parameters)


def test_a_pair_of_equal_numbers_is_a_square():
    torch.manual_seed(0)
    one = Generator(4, 0, 4, 16, 3, synthesis_kwargs=dict(channel_base=64))
    torch.manual_seed(0)
    two = Generator(4, 0, 4, (16, 16), 3, synthesis_kwargs=dict(channel_base=64))
    assert two.img_resolution == 16 and one.state_dict().keys() == two.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert list(one.state_dict()) and one.synthesis.b4.const.shape[1:] == (4, 4)


@pytest.mark.parametrize('size', [[12, 16], (12, 16)])
def test_records_rebuild_them(size):
    G, D = Generator(4, 0, 4, size, 3, synthesis_kwargs=dict(channel_base=64)), Discriminator(0, size, 3, channel_base=64)
    for net in (G, D):
        again = persistence.from_record(persistence.to_record(net), {type(net).__name__: type(net)})
        assert again.img_resolution == (12, 16)
        assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))
    with pytest.raises(ValueError, match=r'3, 12, 16.*3, 16, 12'):
        D(G(torch.zeros(2, 4), None).transpose(2, 3), None)


@pytest.mark.parametrize('size', [[1 << 30, 1 << 30], [12, '16'], [12, 16, 3], [7, 1 << 40], {'a': 1}])
def test_hostile_sizes_are_refused_without_their_memory(size):
    record = persistence.to_record(Generator(4, 0, 4, (12, 16), 3, synthesis_kwargs=dict(channel_base=64)))
    record['init_kwargs']['img_resolution'] = size
    with pytest.raises(persistence.RecordError):
        persistence.from_record(record, {'Generator': Generator})
