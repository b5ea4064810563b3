"""The detector that needs no network, with its real weights."""

import socket

import numpy as np
import pytest
import torch
from helpers.seeded_weights import seeded_images
from PIL import Image, ImageDraw, ImageFont

from metrics.detectors import check_detector, load_detector


@pytest.fixture(scope='module')
def detector():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, 'socket', None)  # no network is touched
        check_detector('efficientnet')
        return load_detector('efficientnet', torch.device('cpu'))


def digits(count):
    """Drawn ones, of all classes in turn, here and there: uint8 [count, 1, 28, 28]."""
    font, random, images = ImageFont.load_default(size=20), np.random.RandomState(0), []
    for i in range(count):
        image = Image.new('L', (28, 28))
        ImageDraw.Draw(image).text(random.randint(4, 12, 2).tolist(), str(i % 10), 255, font)
        images.append(np.asarray(image))
    return torch.from_numpy(np.stack(images))[:, None]


def test_features_are_those_of_another_implementation(detector, agrees):
    # Of efficientnet_lite_pytorch 0.1.0 in float64: every 128th feature of noise, and of a smooth image.
    line = torch.arange(224, dtype=torch.uint8)
    smooth = torch.stack([line.expand(224, 224), line[:, None].expand(224, 224), torch.full((224, 224), 100, dtype=torch.uint8)])
    features = detector.features(torch.stack([seeded_images(1, 224, 224)[0], smooth]))
    agrees(features[:, ::128], [[0.390821, 0.437606, 0, 0, 0, 0, 0, 0, 0, 0],
                                [0, 0, 0, 0, 0.139566, 0, 0.017021, 0, 0, 0]], tol=1e-5)
    assert features.shape == (2, 1280)
    assert detector.classify(features).argmax(dim=1).tolist() == [21, 782]  # 782: a screen
    assert detector.verified and detector.key == 'efficientnet-57934424-published'


def test_features_tell_digits_from_noise(detector):
    images = torch.cat([digits(20), seeded_images(10, 28, 28)[:, :1]])
    first, second, noise = (part.mean(dim=0) for part in detector.features(images).split(10))
    assert (first - noise).norm() > 5 * (first - second).norm()


def test_features_do_not_depend_on_the_batch(detector, agrees):
    images = seeded_images(5, 40, 30)
    features = detector.features(images)
    agrees(torch.cat([detector.features(image[None]) for image in images]), features, tol=1e-5)
    agrees(detector.features(images.float()), features, tol=1e-6)
