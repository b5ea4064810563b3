"""The Inception of FID, with seeded weights, against numbers from torch-fidelity 0.4.0 in float64."""

import pytest
import torch
from helpers.seeded_weights import loaded, seeded_images, seeded_state

from dnnlib.errors import UserError
from metrics.detectors import load_detector, registry
from metrics.detectors.inception import Inception

CPU = torch.device('cpu')


def shapes_in_file():
    """Of a convolution `x`: x.conv.weight, and x.bn.*."""
    with torch.device('meta'):
        net = Inception()
    shapes = {}
    for name, module in net.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            shapes[f'{name}.conv.weight'] = module.weight.shape
            shapes |= {f'{name}.bn.{kind}': [module.out_channels] for kind in ('weight', 'bias', 'running_mean', 'running_var')}
    return shapes | {'fc.weight': [1008, 2048], 'fc.bias': [1008]}


@pytest.fixture(scope='module')
def state():
    return seeded_state(shapes_in_file())


@pytest.fixture(scope='module')
def detector(state):
    counters = {name.replace('running_var', 'num_batches_tracked'): torch.tensor(0) for name in state if 'running_var' in name}
    return loaded(Inception, state | counters)


def test_features_and_probabilities_are_those_of_another_implementation(detector, agrees):
    images = seeded_images(2, 20, 28)
    # Of all branches of the last block: with its maximum replaced by a mean, the last column is off by 0.01; with padding
    # counted in the means, the others are, by 0.04.
    features = detector.features(images)
    agrees(features[:, 100::243], [[0.080257, 0.001882, 0.003661, 0, 0.037973, 0.062978, 0.13344, 0, 0.00205],
                                   [0.078675, 0.00102, 0.004361, 0, 0.031092, 0.06954, 0.115055, 0, 0.010214]], tol=2e-5)
    assert features.shape == (2, 2048)
    probabilities = detector.probabilities(images)
    agrees(1000 * probabilities[:, ::144], [[0.353752, 0.817714, 0.351005, 1.272288, 1.333854, 0.27209, 0.335401],
                                            [0.356459, 0.830885, 0.352321, 1.272833, 1.399473, 0.277553, 0.338375]], tol=2e-5)
    assert probabilities.shape == (2, 1008)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2))


def test_clean_resizing_changes_features(detector):
    image = seeded_images(1, 330, 330)  # is shrunk: that makes the difference
    published = detector.features(image)
    detector.resize = 'clean'
    clean = detector.features(image)
    detector.resize = 'published'
    assert (published - clean).abs().max() > 1e-3


def test_a_file_is_loaded_if_it_is_the_networks(state, tmp_path, monkeypatch):
    path = tmp_path / 'other.pth'
    torch.save(state, path, _use_new_zipfile_serialization=False)
    detector = load_detector('inception', CPU, path=str(path))
    assert not detector.verified and detector.fc.weight.shape == (1008, 2048)
    assert torch.equal(detector.fc.weight, state['fc.weight'])
    torch.save(state | {'fc.weight': torch.zeros(1000, 2048)}, path)
    with pytest.raises(UserError, match=r'other.pth: not the weights of Inception: fc.weight is float32 of \[1000, 2048\]'):
        load_detector('inception', CPU, path=str(path))
    # Under the published name in the cache it has to be the published file.
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    (tmp_path / 'detectors').mkdir()
    path.rename(tmp_path / 'detectors' / registry.DETECTORS['inception'].source.filename)
    with pytest.raises(UserError, match='not the file that it should be'):
        load_detector('inception', CPU)
