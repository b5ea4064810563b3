"""Resizing, against references in NumPy and Pillow."""

import numpy as np
import pytest
import torch
from helpers.seeded_weights import seeded_images
from PIL import Image

from metrics.detectors.resizing import bicubic_antialiased, bilinear_tf1


def tensorflow1(image, size):
    """float64 [H, W] -> [size, size], pixel by pixel."""
    height, width = image.shape
    out = np.empty([size, size])
    for i in range(size):
        for j in range(size):
            y, x = i * height / size, j * width / size
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            dy, dx = y - top, x - left
            out[i, j] = ((image[top, left] * (1 - dx) + image[top, right] * dx) * (1 - dy)
                         + (image[bottom, left] * (1 - dx) + image[bottom, right] * dx) * dy)
    return out


@pytest.mark.parametrize('height, width, size', [(8, 8, 23), (32, 20, 29), (64, 50, 16), (1, 3, 7), (40, 41, 40)])
def test_bilinear_is_tensorflows(height, width, size):
    images = seeded_images(2, height, width)
    resized = bilinear_tf1(images.float(), size)
    expected = [[tensorflow1(channel, size) for channel in image] for image in images.double().numpy()]
    np.testing.assert_allclose(resized.numpy(), np.array(expected), atol=1e-3)


def test_bilinear_skips_pixels_when_it_shrinks():
    images = seeded_images(1, 16, 16).float()
    assert torch.equal(bilinear_tf1(images, 4), images[:, :, ::4, ::4])


@pytest.mark.parametrize('height, width, size', [(32, 32, 299), (28, 40, 224), (512, 384, 224), (300, 301, 299), (224, 224, 224)])
def test_bicubic_is_pillows_without_rounding(height, width, size):
    images = seeded_images(1, height, width).float()
    images[:, 1] = torch.arange(width) % 256  # something smooth, too
    resized = bicubic_antialiased(images, size)
    pillow = [np.asarray(Image.fromarray(channel).resize((size, size), Image.Resampling.BICUBIC))
              for channel in images[0].numpy()]
    np.testing.assert_allclose(resized[0].numpy(), np.clip(pillow, 0, 255), atol=255e-3)
    assert resized.min() >= 0 and resized.max() <= 255


@pytest.mark.parametrize('resize', [bilinear_tf1, bicubic_antialiased])
def test_the_memory_format_does_not_matter(resize):
    images = seeded_images(3, 20, 30).float()
    same = resize(images.contiguous(memory_format=torch.channels_last), 33)
    torch.testing.assert_close(same, resize(images, 33), atol=1e-3, rtol=0)
