"""Weights and images that are the same everywhere, for comparisons with numbers from other implementations."""

import numpy as np
import torch


def seeded_state(shapes, seed=0):
    """Uniform weights by name, in He's scale for tensors of two and more dimensions, near 1 for gains and variances."""
    random = np.random.RandomState(seed)
    state = {}
    for name in sorted(shapes):
        shape = tuple(shapes[name])
        x = random.random_sample(int(np.prod(shape))).astype(np.float32).reshape(shape) * 2 - 1
        if len(shape) > 1:
            x *= np.float32(np.sqrt(6 / np.prod(shape[1:])))
        else:
            x = x / 10 + name.endswith(('weight', 'running_var', 'gamma'))
        state[name] = torch.from_numpy(x.astype(np.float32))
    return state


def seeded_images(count, height, width, seed=0):
    """uint8 [count, 3, height, width]."""
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, (count, 3, height, width), dtype=np.uint8))


def loaded(network, state):
    """A network with weights, as load_network makes it, without a file."""
    with torch.device('meta'):
        net = network()
    net.load_weights(state)
    return net.eval().requires_grad_(False)
