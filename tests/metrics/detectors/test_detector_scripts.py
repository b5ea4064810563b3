"""TorchScript files of the form in which the detectors were published."""

import pytest
import torch
from helpers.seeded_weights import seeded_images

from dnnlib.errors import UserError
from metrics.detectors import DETECTORS, check_detector, load_detector, load_lpips

CPU = torch.device('cpu')
pytestmark = pytest.mark.filterwarnings('ignore:.*torch.jit:DeprecationWarning')


class PublishedInception(torch.nn.Module):
    """The published one's interface: the mean and the height of the image in place of its features."""

    def forward(self, img, return_features: bool = False, use_fp16: bool = False, no_output_bias: bool = False):
        x = img.to(torch.float32)
        mean = x.mean(dim=[1, 2, 3])[:, None]
        if return_features:
            return torch.cat([mean, torch.full_like(mean, float(x.shape[2])).repeat(1, 2047)], dim=1)
        return (mean * torch.arange(1008) / (1e5 if no_output_bias else 1e4)).softmax(dim=1)


class PublishedVGG16(torch.nn.Module):
    def forward(self, img, resize_images: bool = True, return_features: bool = False, return_lpips: bool = False):
        x = img.to(torch.float32)
        if resize_images:
            x = torch.nn.functional.interpolate(x, [224, 224])
        if return_lpips:
            return x.flatten(1) / 255
        return x.flatten(1)[:, :4096]


def script(module, path):
    torch.jit.script(module).save(str(path))
    return str(path)


@pytest.fixture(scope='module')
def inception(tmp_path_factory):
    return script(PublishedInception(), tmp_path_factory.mktemp('scripts') / 'inception-2015-12-05.pt')


@pytest.fixture(scope='module')
def vgg16(tmp_path_factory):
    return script(PublishedVGG16(), tmp_path_factory.mktemp('scripts') / 'vgg16.pt')


def test_the_published_inception_is_used_as_it_is(inception):
    check_detector('inception', inception)
    detector = load_detector('inception', CPU, path=inception)
    images = seeded_images(3, 20, 20)
    features = detector.features(images)
    assert features.shape == (3, 2048) and features[0, 0].item() == pytest.approx(images[0].float().mean().item())
    assert (features[:, 1] == 20).all()  # it resizes by itself
    expected = PublishedInception()(images, no_output_bias=True)
    torch.testing.assert_close(detector.probabilities(images), expected)
    clean = load_detector('inception', CPU, path=inception, resize='clean')
    assert (clean.features(images)[:, 1] == 299).all()
    assert detector.key.startswith('inception-') and clean.key == detector.key.replace('published', 'clean')


def test_the_published_vgg16_is_used_as_it_is(vgg16):
    detector = load_detector('vgg16', CPU, path=vgg16)
    images = seeded_images(2, 20, 16)
    assert detector.features(images).shape == (2, 4096)
    assert torch.equal(detector.lpips(images), images.float().flatten(1) / 255)
    with pytest.raises(UserError, match='no features of content'):
        detector.conv5(images)
    a, b = images.float() / 127.5 - 1, torch.zeros(2, 3, 20, 16)
    expected = ((a - b) / 2).square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(load_lpips('vgg', CPU, vgg16).distance(a, b), expected)


def test_another_program_is_refused(vgg16, inception, tmp_path):
    for name, path in (('inception', vgg16), ('vgg16', inception)):
        with pytest.raises(UserError, match='not the TorchScript file of') as caught:
            load_detector(name, CPU, path=path)
        assert '\n' not in str(caught.value)
    with pytest.raises(UserError, match='a TorchScript program where weights belong; use efficientnet-lite0'):
        load_detector('efficientnet', CPU, path=inception)


def test_a_program_that_nobody_named_is_not_run(inception, tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    spec = DETECTORS['inception']
    monkeypatch.setitem(DETECTORS, 'inception', spec._replace(source=spec.source._replace(sha256='')))
    (tmp_path / 'detectors').mkdir()
    with open(inception, 'rb') as f:
        (tmp_path / 'detectors' / spec.source.filename).write_bytes(f.read())
    monkeypatch.setattr(torch.jit, 'load', None)
    with pytest.raises(UserError, match='if you trust it, pass it by --detector-path'):
        load_detector('inception', CPU)
