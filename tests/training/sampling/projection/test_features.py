"""What tells the projection how alike images are: which network is taken, its distances, their gradients."""

import socket

import pytest
import torch
import torch.nn.functional as F

from dnnlib.download import cache_dir
from dnnlib.errors import OptionError, UserError
from metrics.detectors import load_detector, load_lpips, vgg
from metrics.detectors.lpips import of_maps
from metrics.detectors.vgg import VGG16
from training.sampling.projection import similarity as features
from training.sampling.projection.similarity import Features, choose

CPU = torch.device('cpu')


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    """And an empty cache."""
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setattr(socket, 'socket', None)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A file like VGG16's, of random weights, with narrow last layers."""
    with pytest.MonkeyPatch.context() as patch, torch.device('meta'):
        patch.setattr(vgg, 'WIDE', 4)
        shapes = {name.replace('convs.', 'features.'): p.shape for name, p in VGG16().state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=generator) * (0.1 if len(shape) == 1 else (2 / shape[1:].numel()) ** 0.5)
             for name, shape in shapes.items()}
    path = tmp_path_factory.mktemp('vgg') / 'vgg.pth'
    torch.save(state, path)
    return str(path)


@pytest.fixture
def lpips(weights, monkeypatch):
    monkeypatch.setattr(vgg, 'WIDE', 4)
    return Features('lpips', CPU, weights)


def images(resolution, channels=3, seed=0):
    """Two, in [-1, 1]."""
    return torch.rand(2, 1, channels, resolution, resolution, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# Which network.

def test_without_weights_auto_takes_what_is_installed_and_says_so(capsys):
    assert choose('auto', None, 32) == 'efficientnet'
    out = capsys.readouterr().out
    assert out.count('\n') == 1 and 'EfficientNet-Lite0' in out and '--features=lpips' in out and '--detector-path=FILE' in out


@pytest.mark.parametrize('where', ['cache', 'option'])
def test_auto_takes_lpips_if_its_weights_are_here(where, weights, capsys):
    path = weights
    if where == 'cache':
        cache_dir('detectors').mkdir(parents=True)
        cache_dir('detectors', 'vgg16-397923af.pth').symlink_to(weights)
        path = None
    assert choose('auto', path, 32) == 'lpips'
    assert capsys.readouterr().out == 'Comparing images by LPIPS of VGG16.\n'


def test_images_that_are_too_small_for_lpips(weights):
    assert choose('auto', weights, 8) == 'efficientnet' and choose('auto', weights, 16) == 'lpips'
    with pytest.raises(OptionError, match=r'--features=lpips needs images of 16 x 16 .* 8 x 8; use --features=efficientnet'):
        choose('lpips', weights, 8)


def test_options_that_do_not_go_together(weights):
    with pytest.raises(OptionError, match='--detector-path can only be specified with --features=lpips or auto'):
        choose('efficientnet', weights, 32)


def test_weights_that_cannot_be_had_are_said_where_to_get(monkeypatch):
    import requests

    def refuse(*args, **kwargs):
        raise requests.ConnectionError

    monkeypatch.setattr(requests, 'get', refuse)
    with pytest.raises(UserError, match=r'LPIPS \(vgg\) are not on this machine.*--detector-path.*use --features=efficientnet$'):
        choose('lpips', None, 32)
    with pytest.raises(UserError, match=r'gone\.pth: no such file'):
        choose('auto', 'gone.pth', 32)


# Distances.

@pytest.mark.parametrize('channels', [1, 3])
def test_lpips_is_that_of_the_metrics(lpips, weights, channels):
    a, b = images(32, channels)
    assert lpips.distance(a, b) == pytest.approx(load_lpips('vgg', CPU, weights).distance(a, b).item(), rel=1e-4)
    assert lpips.distance(a, a) == 0


def test_large_images_are_averaged_down_for_lpips(lpips, monkeypatch):
    a, b = images(64)
    monkeypatch.setattr(features, 'LARGEST_LPIPS', 32)
    small = [x.reshape(1, 3, 32, 2, 32, 2).mean(dim=(3, 5)) for x in (a, b)]
    assert lpips.distance(a, b) == pytest.approx(lpips.distance(*small), rel=1e-4)
    assert features.LARGEST_LPIPS == 32 and lpips(a).shape == lpips(small[0]).shape


@pytest.mark.parametrize('channels', [1, 3])
def test_distances_of_efficientnet_are_those_of_the_metrics(channels):
    net = Features('efficientnet', CPU)
    a, b = (0.8 * F.interpolate(x, size=(32, 32), mode='bilinear') for x in images(8, channels))  # no overshoot to be clamped
    detector = load_detector('efficientnet', CPU)
    x, y = (of_maps(detector.feature_maps((image + 1) * 127.5)) for image in (a, b))
    assert net.distance(a, b) == pytest.approx((x - y).square().sum().item(), rel=1e-4)
    assert net.distance(a, a) == 0 and net.distance(a, b) > 0.1


def assert_gradient(net, a, b):
    a = a.clone().requires_grad_()
    (net(a) - net(b)).square().sum().backward()
    direction = a.grad / a.grad.norm()
    with torch.no_grad():
        up, down = ((net(a + step * direction) - net(b)).square().sum().double() for step in (0.02, -0.02))
    assert ((up - down) / 0.04).item() == pytest.approx(a.grad.norm().item(), rel=0.05)


def test_lpips_has_its_gradient(lpips):
    assert_gradient(lpips, *images(32))


@pytest.mark.parametrize('channels', [1, 3])
def test_efficientnet_has_its_gradient(channels):
    assert_gradient(Features('efficientnet', CPU), *images(32, channels))


@pytest.mark.parametrize('value', [-1.4, 1.4])
def test_images_out_of_range_are_called_back(lpips, value):
    for net in (lpips, Features('efficientnet', CPU)):
        x = torch.full([1, 3, 16, 16], value, requires_grad=True)
        (net(x) - net(torch.zeros_like(x))).square().sum().backward()
        assert x.grad.isfinite().all() and x.grad.abs().sum() > 0


# Alpha.

@pytest.mark.parametrize('channels', [2, 4])
def test_alpha_counts_whatever_its_background(lpips, channels):
    (a, b), white = images(32, channels), torch.ones(1, channels, 32, 32)
    clear = white.clone()
    clear[:, -1] = -1                       # on white, it is the same
    assert lpips.distance(a, a) == 0 and lpips.distance(white, clear) > 0.01
    plain = torch.cat([a[:, :-1], torch.ones_like(a[:, -1:])], dim=1), torch.cat([b[:, :-1], torch.ones_like(b[:, -1:])], dim=1)
    assert lpips.distance(*plain) == pytest.approx(lpips.distance(a[:, :-1], b[:, :-1]), rel=1e-4)  # opaque: as without alpha
    x = a.clone().requires_grad_()
    (lpips(x) - lpips(b)).square().sum().backward()
    assert (x.grad.abs().amax(dim=(0, 2, 3)) > 0).all()
