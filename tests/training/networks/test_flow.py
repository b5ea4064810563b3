"""The domain flow: recorded numbers, the published names, and what makes it a flow: increasing, one coordinate at a time."""

import pytest
import torch

from training.networks.flow import DDSF

CASES = ['b1_h4', 'b2_h6', 'b4_h5']


def make_flow(depth, seed=0, samples=3, dims=4, hidden=6):
    """A flow with weights and parameters of a size that training could reach, in float64."""
    g = torch.Generator().manual_seed(seed)
    flow = DDSF(depth, hidden).double().requires_grad_(False)
    for weight in flow.parameters():
        weight.copy_(torch.randn(weight.shape, generator=g))
    return flow, torch.randn(samples, dims, flow.num_params, dtype=torch.float64, generator=g)


@pytest.mark.parametrize('key', CASES)
def test_agrees_with_golden_numbers(key, golden, agrees):
    g = golden('flow_ddsf')
    case = {case['key']: case for case in g.meta['cases']}[key]
    flow = DDSF(case['n_blocks'], case['hidden_dim'])
    prefix = f'{key}/state/'
    flow.load_state_dict({k.removeprefix(prefix): g[k] for k in g.arrays if k.startswith(prefix)}, strict=True)
    assert flow.num_params == case['num_params']
    agrees(flow(g[f'{key}/x'], g[f'{key}/params']), g[f'{key}/y'])


@pytest.mark.parametrize('depth, shapes, num_params', [
    (1, [(10, 1), (1, 10)], 31), (2, [(10, 1), (10, 10), (10, 10), (1, 10)], 71),
    (3, [(10, 1), (10, 10), (10, 10), (10, 10), (10, 10), (1, 10)], 111)])
def test_names_shapes_and_numbers_as_published(depth, shapes, num_params):
    flow = DDSF(depth, 10)
    names = [f'model.{k}.{name}' for k in range(depth) for name in ('u_', 'w_')]
    assert {name: tuple(value.shape) for name, value in flow.state_dict().items()} == dict(zip(names, shapes, strict=True))
    assert list(flow.state_dict()) == names and flow.num_params == num_params
    assert all(0 < value.abs().max() <= 0.001 for value in flow.state_dict().values())


@pytest.mark.parametrize('depth', [1, 2, 3, 4])
def test_strictly_increasing(depth):
    """Over inputs from -5, below which the exponential of selu drowns in rounding errors, to 10,000."""
    grid = torch.cat([torch.linspace(-5, 5, 201, dtype=torch.float64), torch.logspace(0.7, 4, 50, dtype=torch.float64)])
    for seed in range(40):
        flow, params = make_flow(depth, seed, samples=1)
        y = flow(grid[:, None].expand(-1, 4), params.expand(len(grid), -1, -1))
        assert (y.diff(dim=0) > 0).all()
        low = flow(torch.full([1, 4], -1e4, dtype=torch.float64), params)
        assert low.isfinite().all() and (low < y[0]).all()


@pytest.mark.parametrize('depth', [1, 2, 4])
def test_each_coordinate_of_each_sample_goes_by_itself(depth):
    flow, params = make_flow(depth)
    x = torch.randn(3, 4, dtype=torch.float64)
    y = flow(x, params)
    for n, s in ((0, 0), (1, 3), (2, 2)):
        one = torch.zeros(3, 4, dtype=torch.float64)
        one[n, s] = 0.7
        for changed in (flow(x + one, params), flow(x, params + one[:, :, None])):
            assert ((changed != y) == (one != 0)).all()
        torch.testing.assert_close(flow(x[:, [s]], params[:, [s]]), y[:, [s]])  # and none is special


def test_weights_of_the_single_input_are_without_effect():
    """A softmax over one number is 1: u_ of the first block and the last of its parameters are kept for the file format."""
    flow, params = make_flow(2)
    x = torch.randn(3, 4, dtype=torch.float64)
    y = flow(x, params)
    flow.model[0].u_.add_(3)
    params[:, :, flow.model[0].num_params - 1] += 3
    assert torch.equal(flow(x, params), y)
    params[:, :, flow.model[0].num_params] += 3
    assert not torch.equal(flow(x, params), y)
