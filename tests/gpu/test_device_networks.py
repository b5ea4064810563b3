"""Networks on the device: the golden numbers, half precisions against float32, derivatives against the CPU in float64."""

import copy
import os

import pytest
import torch

from torch_utils import devices
from torch_utils.forward_ad import jvp
from training.networks import Discriminator, Generator
from training.networks.layers import set_half_dtype

CHOICES = ['torch', 'auto']


@pytest.fixture(params=CHOICES)
def ops(request, device):
    """Who computes resampling, filters and activations: PyTorch, and whatever --ops=auto takes."""
    from torch_utils.ops import backend
    with backend.using(request.param, device):
        yield request.param


def on(device, *tensors):
    return [None if t is None else t.to(device) for t in tensors]


@pytest.mark.parametrize('name', ['g_skip_uncond', 'g_skip_cond', 'g_resnet', 'g_orig'])
def test_generators_agree_with_golden_numbers(name, golden, agrees, device, ops):
    g = golden(name)
    G = Generator(**g.meta['kwargs']).eval()
    G.load_state_dict(g.state_dict, strict=True)
    z, c = on(device, g['z'], g['c'] if g.meta['kwargs']['c_dim'] else None)
    G.to(device)
    ws = G.mapping(z, c)
    agrees(ws.cpu(), g['ws'])
    img = G.synthesis(ws, noise_mode='const')
    agrees(img.cpu(), g['img_const'])
    dws, = torch.autograd.grad((img * g['pl_noise'].to(device)).sum(), ws, create_graph=True)
    lengths = dws.square().sum(2).mean(1).sqrt()
    agrees(lengths.cpu(), g['pl_lengths'])
    (2 * (lengths - 0.1).square().mean()).backward()
    check_norms(G, g, 'plgrad/')


@pytest.mark.parametrize('name', ['d_resnet_uncond', 'd_resnet_cond', 'd_skip', 'd_orig'])
def test_discriminators_agree_with_golden_numbers(name, golden, agrees, device, ops):
    g = golden(name)
    D = Discriminator(**g.meta['kwargs']).eval()
    D.load_state_dict(g.state_dict, strict=True)
    D.to(device)
    img, c = on(device, g['img'], g['c'] if g.meta['kwargs']['c_dim'] else None)
    logits = D(img.requires_grad_(), c)
    agrees(logits.cpu(), g['logits'])
    grad, = torch.autograd.grad(logits.sum(), img, create_graph=True)
    penalty = grad.square().sum(dim=(1, 2, 3))
    agrees(penalty.cpu(), g['r1'])
    (5 * penalty.mean()).backward()
    check_norms(D, g, 'r1grad/')


def check_norms(net, g, prefix):
    """The norm of each parameter's gradient is the recorded one."""
    params = dict(net.named_parameters())
    recorded = [k for k in g.arrays if k.startswith(prefix)]
    largest = max(g[k].item() for k in recorded)
    for key in recorded:
        grad = params[key.removeprefix(prefix)].grad
        norm = 0.0 if grad is None else grad.norm().item()
        assert norm == pytest.approx(g[key].item(), rel=1e-3, abs=1e-4 * largest), key


@pytest.fixture(scope='module')
def pair():
    """G and D of 32x32 images, all blocks of them in half precision when asked, with weights that were moved off zero."""
    torch.manual_seed(0)
    half = dict(channel_base=2048, channel_max=64, num_fp16_res=4, conv_clamp=256)
    G = Generator(32, 2, 32, 32, 3, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=half)
    D = Discriminator(2, 32, 3, **half)
    with torch.no_grad():
        for net in (G, D):
            for p in net.parameters():
                p.add_(torch.randn_like(p) * 0.05)
    return G.eval(), D.eval()


# Largest difference in units of the standard deviation: a few roundings of each layer add up.
HALVES = {torch.float16: 0.03, torch.bfloat16: 0.25}


@pytest.mark.parametrize('dtype', HALVES, ids=str)
def test_half_precision_is_close_to_float32(dtype, pair, device, ops):
    if not devices.computes(dtype, device):
        pytest.skip(f'{device.type} does not compute networks in {dtype}')
    z, c = on(device, torch.randn(8, 32), torch.eye(2).repeat(4, 1))
    G, D = (copy.deepcopy(net).to(device) for net in pair)
    for net in (G, D):
        set_half_dtype(net, dtype)
    with torch.no_grad():
        exact, half = (G(z, c, noise_mode='const', force_fp32=force) for force in (True, False))
        assert half.dtype == torch.float32 and not torch.equal(exact, half), 'half precision was not used'
        assert (half - exact).abs().max() / exact.std() < HALVES[dtype]
        exact_logits, half_logits = (D(exact, c, force_fp32=force) for force in (True, False))
        assert (half_logits - exact_logits).abs().max() / exact_logits.std().clamp(min=1e-3) < 2 * HALVES[dtype]


def test_tf32_is_off_unless_asked_for(device):
    """A product that TF32 gets wrong in the fourth digit."""
    torch.manual_seed(0)
    a, b = torch.randn(2, 512, 512, device=device)
    expected = a.double() @ b.double()
    assert (a @ b - expected).abs().max() / expected.abs().max() < 1e-5
    x, w = torch.randn(4, 64, 16, 16, device=device), torch.randn(64, 64, 3, 3, device=device)
    expected = torch.nn.functional.conv2d(x.double(), w.double())
    assert (torch.nn.functional.conv2d(x, w) - expected).abs().max() / expected.abs().max() < 1e-5


def test_forward_mode_agrees_with_finite_differences(pair, device, ops):
    """What the Jacobian term computes by --jacobian=jvp."""
    G = copy.deepcopy(pair[0]).to(device)
    torch.manual_seed(2)
    ws, v = torch.randn(2, 2, G.num_ws, 32, device=device)

    def images(ws):
        return G.synthesis(ws, noise_mode='const', force_fp32=True)

    with torch.no_grad():
        eps = 1e-3
        numeric = (images(ws + eps * v) - images(ws - eps * v)) / (2 * eps)
    _, tangent = jvp(images, ws, v)
    assert numeric.abs().max() > 0
    assert (tangent - numeric).norm() / numeric.norm() < 2e-2  # kinks of the activations


@pytest.mark.skipif(os.environ.get('DEVICE', 'cuda') == 'cpu', reason='the CPU is what is compared with')
def test_first_and_second_derivatives_agree_with_the_cpu(pair, device, ops):
    """Gradients of the R1 penalty through G and D, at once."""
    torch.manual_seed(1)
    z, c = torch.randn(4, 32), torch.eye(2).repeat(2, 1)

    def gradients(where):
        G, D = (copy.deepcopy(net).to(where) for net in pair)
        images = G(z.to(where), c.to(where), noise_mode='const', force_fp32=True)
        logits = D(images, c.to(where), force_fp32=True)
        dx, = torch.autograd.grad(logits.sum(), images, create_graph=True)
        dx.square().sum().backward()
        # The last biases have no influence: PyTorch's operators give them zeros, and ours nothing.
        return {f'{kind}.{k}': torch.zeros_like(p, device='cpu') if p.grad is None else p.grad.cpu()
                for kind, net in (('G', G), ('D', D)) for k, p in net.named_parameters()}

    expected, actual = gradients(torch.device('cpu')), gradients(device)
    largest = max(g.abs().max() for g in expected.values())
    assert largest > 0
    for key, grad in expected.items():
        assert (actual[key] - grad).abs().max() <= 1e-3 * grad.abs().max() + 1e-5 * largest, key
