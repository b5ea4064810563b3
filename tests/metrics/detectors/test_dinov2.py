"""DINOv2 with seeded weights in small, against numbers from transformers 5.23.0 in float64."""

import functools

import numpy as np
import pytest
import torch
from helpers.seeded_weights import loaded, seeded_images, seeded_state

from metrics.detectors.dinov2 import DinoV2, interpolate_positions
from metrics.detectors.weights import WrongWeights

SMALL = functools.partial(DinoV2, width=32, depth=2, heads=4, grid=5, size=70)
EXPECTED = [[1.162825, 0.354008, 1.267828, -1.167847, -2.357086, 0.831561, 0.047948, -1.076806],
            [-0.235997, -0.914768, -0.23046, -2.06104, -1.34405, 0.116288, -0.136309, -1.36687]]


@pytest.fixture(scope='module')
def state():
    with torch.device('meta'):
        return seeded_state({name: p.shape for name, p in SMALL().state_dict().items()})


def hugging_face(state):
    """The same under the names in the files of the transformers package."""
    names = {'cls_token': 'embeddings.cls_token', 'pos_embed': 'embeddings.position_embeddings',
             'patch_embed.proj': 'embeddings.patch_embeddings.projection', 'blocks.': 'encoder.layer.',
             'attn.proj': 'attention.output.dense', 'ls1.gamma': 'layer_scale1.lambda1', 'ls2.gamma': 'layer_scale2.lambda1'}
    renamed = {'embeddings.mask_token': torch.zeros(1, 32)}
    for name, tensor in state.items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        if name.startswith('norm.'):
            name = f'layer{name}'
        if 'attn.qkv' in name:
            for part, rows in zip(('query', 'key', 'value'), tensor.chunk(3), strict=True):
                renamed[name.replace('attn.qkv', f'attention.attention.{part}')] = rows
        else:
            renamed[name] = tensor
    return renamed


def test_features_are_those_of_another_implementation(state, agrees):
    agrees(loaded(SMALL, state).features(seeded_images(2, 70, 70))[:, ::4], EXPECTED, tol=1e-5)


def test_files_of_the_transformers_package_are_read(state, agrees):
    theirs = hugging_face(state)
    agrees(loaded(SMALL, theirs).features(seeded_images(2, 70, 70))[:, ::4], EXPECTED, tol=1e-5)
    for name in ('encoder.layer.1.attention.attention.key.bias', 'encoder.layer.0.attention.attention.query.weight',
                 'layernorm.bias'):
        with pytest.raises(WrongWeights, match='missing'):
            loaded(SMALL, {k: v for k, v in theirs.items() if k != name})


def test_the_authors_mask_token_is_left_out(state):
    loaded(SMALL, state | {'mask_token': torch.zeros(1, 32)})


def test_the_real_one_has_1024_features():
    with torch.device('meta'):
        net = DinoV2()
    assert net.num_features == 1024 and net.size == 224
    assert sum(p.numel() for p in net.parameters()) + 1024 == 304_368_640  # the authors' has a mask token
    assert net.pos_embed.shape == (1, 1370, 1024) and len(net.blocks) == 24


def cubic(x, a=-0.75):
    """The kernel of bicubic interpolation (Keys 1981), with PyTorch's a."""
    x = abs(x)
    return np.where(x <= 1, (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1, np.where(x < 2, a * (x ** 3 - 5 * x ** 2 + 8 * x - 4), 0))


@pytest.mark.parametrize('grid, target', [(5, 3), (37, 16), (4, 7)])
def test_positions_are_interpolated_as_in_the_authors_code(grid, target):
    position = seeded_state({'p': [1, grid ** 2, 3]})['p']
    matrix = np.zeros([target, grid])
    for i in range(target):
        x = (i + 0.5) * grid / (target + 0.1) - 0.5  # as if there were a tenth of a patch more
        for j in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
            matrix[i, np.clip(j, 0, grid - 1)] += cubic(x - j)
    maps = position[0].double().numpy().reshape(grid, grid, 3)
    expected = np.einsum('ih,jw,hwc->ijc', matrix, matrix, maps).reshape(1, -1, 3)
    np.testing.assert_allclose(interpolate_positions(position, grid, target).numpy(), expected, atol=1e-5)


def test_images_may_be_smaller_than_in_training(state):
    net = loaded(functools.partial(SMALL, size=42), state)
    assert net.pos_embed.shape == (1, 10, 32)
    assert torch.equal(net.pos_embed[:, 0], state['pos_embed'][:, 0])
    assert net.features(seeded_images(3, 50, 60)).shape == (3, 32)
