"""VGG16 and LPIPS with seeded weights, against numbers from torch-fidelity 0.4.0 and lpips 0.1.4 in float64."""

import pytest
import torch
import torch.nn.functional as F
from helpers.seeded_weights import loaded, seeded_images, seeded_state

from dnnlib.errors import UserError
from metrics.detectors import load_lpips, lpips, vgg
from metrics.detectors.alexnet import AlexNet
from metrics.detectors.lpips import LPIPS
from metrics.detectors.vgg import VGG16

CPU = torch.device('cpu')
CONVS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # as torchvision numbers layers
WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


def vgg_shapes(wide):
    shapes = {}
    for number, width, out in zip(CONVS, WIDTHS[:-1], WIDTHS[1:], strict=True):
        shapes |= {f'features.{number}.weight': [out, width, 3, 3], f'features.{number}.bias': [out]}
    for number, (width, out) in {0: (25088, wide), 3: (wide, wide), 6: (wide, 10)}.items():
        shapes |= {f'classifier.{number}.weight': [out, width], f'classifier.{number}.bias': [out]}
    return shapes


def test_the_real_one_is_4096_wide():
    with torch.device('meta'):
        shapes = {name: list(p.shape) for name, p in VGG16().state_dict().items()}
    assert shapes == {name.replace('features.', 'convs.'): shape for name, shape in vgg_shapes(4096).items()
                      if not name.startswith('classifier.6.')}


@pytest.fixture(scope='module')
def state():
    return seeded_state({name: shape for name, shape in vgg_shapes(64).items() if 'classifier.6' not in name}
                        | {'classifier.6.bias': [10], 'classifier.6.weight': [10, 64]})


@pytest.fixture(scope='module')
def detector(state):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg, 'WIDE', 64)
        return loaded(VGG16, state)


def images_in_range(seed):
    return seeded_images(2, 40, 36, seed) / 127.5 - 1


def test_features_are_those_of_another_implementation(detector, agrees):
    agrees(detector.features(seeded_images(2, 20, 28))[:, ::8],
           [[0, 0, 3.098696, 1.868029, 0, 3.67351, 2.800378, 0.052686],
            [0, 0, 2.446339, 2.086317, 0, 4.271051, 1.512546, 0.272783]], tol=2e-5)


def test_features_of_content_are_those_of_the_last_convolution(detector, state, agrees, monkeypatch):
    monkeypatch.setattr(detector, 'size', 64)
    images = seeded_images(1, 64, 64)
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    x = (images / 255 - mean) / std
    for number in CONVS:
        if number in (5, 10, 17, 24):
            x = F.max_pool2d(x, 2)
        x = F.relu(F.conv2d(x, state[f'features.{number}.weight'], state[f'features.{number}.bias'], padding=1))
    agrees(detector.conv5(images), x, tol=1e-5)
    assert detector.conv5(seeded_images(1, 32, 20)).shape == (1, 512, 4, 4)


def test_lpips_of_vgg_is_that_of_another_implementation(detector, agrees):
    a, b = images_in_range(1), images_in_range(2)
    distance = LPIPS(detector).distance(a, b)
    agrees(distance, [0.138995, 0.137613], tol=1e-5)
    # The same through embeddings, as for path lengths.
    embedded = [detector.lpips((x + 1) * 127.5) for x in (a, b)]
    agrees((embedded[0] - embedded[1]).square().sum(dim=1), distance, tol=1e-5)


def test_lpips_of_alexnet_is_that_of_another_implementation(agrees, tmp_path):
    with torch.device('meta'):
        shapes = {name: p.shape for name, p in AlexNet().state_dict().items()}
    state = seeded_state(shapes)
    torch.save(state | {'classifier.6.bias': torch.zeros(1000)}, tmp_path / 'alex.pth')
    net = load_lpips('alex', CPU, str(tmp_path / 'alex.pth'))
    a, b = images_in_range(1), images_in_range(2)
    agrees(net.distance(a, b), [0.089108, 0.094875], tol=1e-5)
    agrees(net.distance(a[:1], b[:1]), [0.089108], tol=1e-5)
    assert net.distance(a, a).tolist() == [0, 0]
    with pytest.raises(UserError, match='30 x 40 pixels are too small for LPIPS, which needs 31 x 31'):
        net.distance(a[..., :30], b[..., :30])


def test_lpips_has_gradients(detector):
    a, b = images_in_range(1)[:1].requires_grad_(), images_in_range(2)[:1]
    LPIPS(detector).distance(a, b).sum().backward()
    direction = a.grad / a.grad.norm()
    with torch.no_grad():
        up, down = (LPIPS(detector).distance(a + step * direction, b).double() for step in (0.05, -0.05))
    assert ((up - down) / 0.1).item() == pytest.approx(a.grad.norm().item(), rel=0.05)
    black = torch.full([1, 3, 32, 32], -1.0, requires_grad=True)
    LPIPS(detector).distance(black, black.detach()).sum().backward()
    assert black.grad.isfinite().all()


def test_the_heads_are_the_authors():
    assert [len(head) for head in lpips.heads('vgg')] == [64, 128, 256, 512, 512]
    assert [len(head) for head in lpips.heads('alex')] == [64, 192, 384, 256, 256]
    assert all((head >= 0).all() for name in ('vgg', 'alex') for head in lpips.heads(name))
