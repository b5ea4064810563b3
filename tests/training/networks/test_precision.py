"""Which parts of the networks work in half precision, and what that does to their results."""

import pytest
import torch

from torch_utils import bf16, devices
from training.losses import make_phases
from training.methods import make_terms
from training.networks import Discriminator, Generator, layers

WIDTH = dict(channel_base=64, channel_max=16, num_fp16_res=2, conv_clamp=256)
CPU = torch.device('cpu')


def networks(dtype=torch.bfloat16):
    torch.manual_seed(0)
    nets = dict(G=Generator(8, 0, 8, 32, 3, synthesis_kwargs=WIDTH), D=Discriminator(0, 32, 3, **WIDTH))
    for net in nets.values():
        layers.set_half_dtype(net, dtype)
        net.requires_grad_(False)
    return nets


def dtypes_of(net, *inputs, **kwargs):
    """{resolution: dtype in which the block's first convolution works}."""
    seen = {}
    for module in net.modules():
        if isinstance(module, layers.Block):
            module.conv1.register_forward_pre_hook(lambda _, x, r=module.resolution: seen.update({r: x[0].dtype}))
    net(*inputs, **kwargs)
    return seen


def test_the_highest_resolutions_work_in_bfloat16_and_give_float32():
    nets = networks()
    half, full = torch.bfloat16, torch.float32
    z, images = torch.randn(2, 8), torch.randn(2, 3, 32, 32)
    assert dtypes_of(nets['G'], z, None) == {4: full, 8: full, 16: half, 32: half}
    assert dtypes_of(nets['D'], images, None) == {8: full, 16: half, 32: half}
    assert nets['G'](z, None).dtype == nets['D'](images, None).dtype == full
    assert set(dtypes_of(networks()['G'], z, None, force_fp32=True).values()) == {full}
    assert all(p.dtype == full for net in nets.values() for p in net.parameters())


def test_float16_is_for_cuda():
    nets = networks(torch.float16)
    assert set(dtypes_of(nets['G'], torch.randn(2, 8), None).values()) == {torch.float32}


def test_images_and_logits_are_those_of_float32_up_to_rounding():
    nets = networks()
    z = torch.randn(16, 8)
    for half, full in [(nets['G'](z, None, noise_mode='const', force_fp32=f) for f in (False, True)),
                       (nets['D'](torch.randn(16, 3, 32, 32, generator=torch.manual_seed(1)), None, force_fp32=f)
                        for f in (False, True))]:
        assert not torch.equal(half, full)
        assert (half - full).square().mean().sqrt() < 0.02 * full.square().mean().sqrt()


@pytest.mark.parametrize('exact', [True, False])
def test_what_is_differentiated_twice_stays_in_float32(exact):
    """Greg and Dreg with exact_second_order; Gmain and Dmain not."""
    nets = networks()
    adam = dict(class_name='torch.optim.Adam', lr=0.001, betas=[0.0, 0.99])
    terms = make_terms({'G/logistic': {}, 'G/path_length': dict(interval=4), 'D/logistic_fake': {}, 'D/logistic_real': {},
                        'D/r1': dict(interval=16)})
    x = torch.randn(4, 3, 32, 32)
    inputs = dict(z=torch.randn(4, 8), c=torch.zeros(4, 0), real_images=x, real_c=torch.zeros(4, 0))
    for phase in make_phases(terms, nets, {'G': adam, 'D': adam}, {'G': 4, 'D': 16}, exact_second_order=exact):
        seen = []
        layer = nets['G'].synthesis.b32.conv1 if phase.net == 'G' else nets['D'].b32.conv1
        hook = layer.register_forward_pre_hook(lambda _, x, seen=seen: seen.append(x[0].dtype))
        phase.run([inputs])
        assert set(seen) == {torch.float32 if exact and 'reg' in phase.name else torch.bfloat16}, phase.name
        hook.remove()


JACOBIANS = {f'G/img_sparse {kind}': {'G/img_sparse': dict(interval=4, jacobian=kind)} for kind in ('fd', 'fd-normalized', 'jvp')}


@pytest.mark.parametrize('terms', [*JACOBIANS.values(), {'G/orth': dict(interval=4)}], ids=[*JACOBIANS, 'G/orth'])
@pytest.mark.parametrize('half', [torch.float16, torch.bfloat16])
def test_terms_that_subtract_or_differentiate_twice_do_so_in_float32(terms, half, monkeypatch):
    """In any half precision: the gradients are those of networks without it."""
    monkeypatch.setattr(layers, 'computes', lambda dtype, device: dtype != torch.float32)
    adam, x = dict(class_name='torch.optim.Adam', lr=0.001, betas=[0.0, 0.99]), torch.randn(4, 3, 32, 32)
    flow = dict(cond_mode='flow', i_dim=4, flow_dim=3)
    gradients = []
    for num_fp16_res in (2, 0):
        torch.manual_seed(0)
        G = Generator(8, 2, 8, 32, 3, mapping_kwargs=flow, synthesis_kwargs=dict(WIDTH, num_fp16_res=num_fp16_res))
        layers.set_half_dtype(G.requires_grad_(False), half)
        phase, = make_phases(make_terms(terms), dict(G=G, D=networks()['D']), {'G': adam, 'D': adam}, {'G': 4, 'D': 16})
        torch.manual_seed(1)
        labels = torch.eye(2).repeat(2, 1)
        phase.run([dict(z=torch.randn(4, 8), c=labels, real_images=x, real_c=labels)])
        gradients.append([p.grad for p in G.parameters()])
        dtypes = set(dtypes_of(G, torch.randn(2, 8), labels[:2]).values())
        assert dtypes == ({half, torch.float32} if num_fp16_res else {torch.float32})
    assert any(g.abs().max() > 0 for g in gradients[0])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_the_choice_of_precision(monkeypatch):
    cuda, mps = torch.device('cuda'), torch.device('mps')
    monkeypatch.setattr(bf16, 'has_instructions', lambda: True)
    monkeypatch.setattr(bf16, 'speedup', lambda width: 1.9)
    assert devices.half_dtype(cuda, 'auto', 512) == devices.half_dtype(cuda, 'fp16', 512) == torch.float16
    assert devices.half_dtype(CPU, 'auto', 256) == devices.half_dtype(CPU, 'bf16', 8) == torch.bfloat16
    assert devices.half_dtype(CPU, 'auto', 128) == torch.float16, 'which the CPU does not compute: float32'
    assert devices.half_dtype(CPU, 'auto', 64, native_ops=True) == torch.bfloat16
    assert devices.half_dtype(CPU, 'auto', 32, native_ops=True) == torch.float16
    assert not devices.computes(torch.float16, CPU) and not devices.computes(torch.bfloat16, mps)
    monkeypatch.setattr(bf16, 'speedup', lambda width: 0.6)
    assert devices.half_dtype(CPU, 'auto', 512) == torch.float16, 'slower on this CPU, whatever its flags say'
    monkeypatch.undo()
    monkeypatch.setattr(bf16, 'has_instructions', lambda: False)
    assert devices.half_dtype(CPU, 'auto', 512) == torch.float16
    for device, precision in ((CPU, 'fp16'), (mps, 'fp16'), (mps, 'bf16')):
        with pytest.raises(devices.OptionError, match=f'--precision={precision} .*use --precision='):
            devices.half_dtype(device, precision, 512)
