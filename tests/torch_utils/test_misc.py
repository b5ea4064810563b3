"""Copying weights between networks, and a table of a network that changes nothing."""

import pytest
import torch
from torch import nn

from torch_utils.misc import copy_params_and_buffers, print_module_summary
from training.networks import Conv2dLayer, Generator


def values(module):
    return {name: t.clone() for name, t in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def batchnorm_net(width=4):
    net = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))
    for t in (*net.parameters(), net[1].running_mean):
        nn.init.normal_(t)
    return net


# copy_params_and_buffers.

def test_parameters_and_buffers_are_copied():
    source, target = batchnorm_net(), batchnorm_net()
    source[1].num_batches_tracked.fill_(7)
    before = values(source)
    assert copy_params_and_buffers(source, target) == []
    assert same(values(target), before) and same(values(source), before)
    with torch.no_grad():
        target[0].weight.zero_()
    assert same(values(source), before)
    assert all(p.requires_grad for p in target.parameters())


def test_what_the_source_lacks_is_named_and_kept():
    source, target = nn.Sequential(nn.Linear(3, 4)), batchnorm_net()
    before = values(target)
    assert copy_params_and_buffers(source, target) == [name for name in before if name.startswith('1.')]
    assert torch.equal(target[0].weight, source[0].weight)
    assert all(torch.equal(target.state_dict()[k], before[k]) for k in before if k.startswith('1.'))
    assert copy_params_and_buffers(batchnorm_net(), nn.Sequential(nn.Linear(3, 4)), require_all=True) == []


@pytest.mark.parametrize('source, require_all, text', [
    (nn.Sequential(nn.Linear(3, 4)), True, r'missing from the source: 1\.weight, 1\.bias'),
    (batchnorm_net(5), False, r'0\.weight is \[5, 3\] in the source, \[4, 3\] here|\[5\] in the source, \[4\] here'),
    (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(1)), False, r'1\.\w+ is \[1\] in the source, \[4\] here'),  # could broadcast
])
def test_nothing_is_copied_unless_everything_fits(source, require_all, text):
    target = batchnorm_net()
    before = values(target)
    with pytest.raises(ValueError, match=text):
        copy_params_and_buffers(source, target, require_all)
    assert same(values(target), before)


@pytest.mark.parametrize('frozen', [(True, False), (False, True), (True, True)])
def test_buffers_of_frozen_layers_count_as_parameters(frozen):
    source, target = (Conv2dLayer(2, 3, kernel_size=3, trainable=not f) for f in frozen)
    assert [len(list(m.parameters())) for m in (source, target)] == [0 if f else 2 for f in frozen]
    nn.init.normal_(source.bias)
    assert copy_params_and_buffers(source, target, require_all=True) == []
    assert same(values(target), values(source))
    assert len(list(target.parameters())) == (0 if frozen[1] else 2)


# print_module_summary.

def tiny():
    return Generator(8, 0, 8, 16, 3, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=dict(channel_base=64))


def test_the_summary_changes_nothing():
    G = tiny().train()
    G.mapping.fc0.eval()
    G.requires_grad_(True)
    G.mapping.fc1.requires_grad_(False)
    before, flags, gradients = values(G), [m.training for m in G.modules()], [p.requires_grad for p in G.parameters()]
    assert len(set(flags)) == len(set(gradients)) == 2
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    print_module_summary(G, [torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), None])
    assert torch.equal(torch.rand(3), expected)
    assert same(values(G), before) and before['mapping.w_avg'].abs().sum() == 0
    assert [m.training for m in G.modules()] == flags and [p.requires_grad for p in G.parameters()] == gradients
    assert not any(m._forward_hooks for m in G.modules())


def test_a_failing_network_is_left_as_it_was():
    G = tiny().train()
    with pytest.raises(ValueError, match='z must be'):
        print_module_summary(G, [torch.zeros(2, 7), None])
    assert all(m.training for m in G.modules()) and not any(m._forward_hooks for m in G.modules())


def test_outputs_are_returned_without_gradients():
    G = tiny()
    images = print_module_summary(G, [torch.zeros(2, 8), None])
    assert images.shape == (2, 3, 16, 16) and not images.requires_grad


def rows(capsys):
    lines = [line.split('  ') for line in capsys.readouterr().out.splitlines() if line]
    return [[cell.strip() for cell in line if cell.strip()] for line in lines]


def test_the_table_names_sizes_shapes_and_dtypes(capsys):
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 5, dtype=torch.float32), nn.ReLU()), nn.BatchNorm1d(5))
    print_module_summary(net, [torch.zeros(2, 3)])
    assert rows(capsys) == [
        ['Module', 'Parameters', 'Buffers', 'Output shape', 'Datatype'], ['---'] * 5,
        ['0', '16', '-', '[2, 4]', 'float32'], ['1.0', '25', '-', '[2, 5]', 'float32'], ['2', '10', '11', '[2, 5]', 'float32'],
        ['Sequential', '51', '11', '[2, 5]', 'float32']]
    print_module_summary(net, [torch.zeros(2, 3)], skip_redundant=False)
    assert [row[0] for row in rows(capsys)] == ['Module', '---', '0', '1.0', '1.1', '1', '2', 'Sequential']
    print_module_summary(net, [torch.zeros(2, 3)], max_nesting=1)
    assert [row[0] for row in rows(capsys)] == ['Module', '---', '0', '2', 'Sequential']
