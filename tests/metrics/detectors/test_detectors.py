"""The registry: where weights are looked for, and what is said when there are none."""

import hashlib
import http.server
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.seeded_weights import seeded_images
from helpers.serving import serving
from safetensors.torch import save

from dnnlib.download import cache_dir, cached_path
from dnnlib.errors import OptionError, UserError
from metrics import detectors
from metrics.detectors import DETECTORS, check_detector, load_detector, registry
from metrics.detectors.detector import Detector
from metrics.detectors.weights import load_exactly

CPU = torch.device('cpu')
WEIGHTS = save({'weight': torch.tensor([[1.0, 2.0, 3.0]])})


class Small(Detector):
    """A detector of two features of images of 4 x 4 pixels."""

    num_features = 1
    size = 4

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(1, 3))

    def load_weights(self, state):
        load_exactly(self, state)

    def embed(self, images):
        return images.mean(dim=(2, 3)) @ self.weight.T


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.send_header('Content-Length', str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Publishes the weights of the detector `small`, whose SHA-256 is known by its beginning."""
    path = 'small-weights.safetensors'
    with serving(Handler, monkeypatch, tmp_path / 'cache', path, asked=[], content=WEIGHTS, status=200) as server:
        source = registry.Source(path, hashlib.sha256(WEIGHTS).hexdigest()[:8], 1, 'CC0', server.url)
        monkeypatch.setitem(DETECTORS, 'small', registry.DetectorSpec(f'{__name__}:Small', source, 1, 'for tests'))
        yield server


def refused(*words, error=UserError, **kwargs):
    """load_detector('small') and check_detector fail with one line that has these words."""
    with pytest.raises(error) as caught:
        load_detector('small', CPU, **kwargs)
    text = str(caught.value)
    assert '\n' not in text and all(word in text for word in words), text
    return text


def feature():
    return load_detector('small', CPU).features(torch.ones(1, 3, 2, 2)).item()


def test_names_are_known_without_torch():
    code = 'import sys; from metrics.detectors import DETECTORS, check_detector; check_detector("efficientnet"); ' \
           'print(*DETECTORS, "torch" in sys.modules)'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ['inception', 'vgg16', 'dinov2', 'own', 'efficientnet', 'False']


def test_an_unknown_name_gets_the_nearest_and_the_list():
    for call in (check_detector, lambda name: load_detector(name, CPU)):
        with pytest.raises(OptionError, match=r'--detector=dino is unknown \(did you mean dinov2\?\); it can be one of: incep'):
            call('dino')
    with pytest.raises(OptionError, match='--resize=box is unknown; it can be one of: published, clean'):
        load_detector('efficientnet', CPU, resize='box')


def test_weights_are_downloaded_once_and_checked(server):
    check_detector('small')
    assert not cache_dir().exists()
    assert [feature() for _ in range(2)] == [6, 6]
    assert len(server.asked) == 3  # whether it is there, twice, and the file
    assert cached_path(server.url).read_bytes() == WEIGHTS
    detector = load_detector('small', CPU)
    assert detector.verified and not detector.training and not any(p.requires_grad for p in detector.parameters())


def test_a_file_put_into_the_cache_is_found_first(server):
    path = cache_dir('detectors', 'small-weights.safetensors')
    path.parent.mkdir(parents=True)
    path.write_bytes(WEIGHTS)
    check_detector('small')
    assert feature() == 6 and server.asked == []


def test_another_file_in_the_cache_is_named(server):
    path = cache_dir('detectors', 'small-weights.safetensors')
    path.parent.mkdir(parents=True)
    path.write_bytes(save({'weight': torch.tensor([[1.0, 2.0, 3.5]])}))
    refused(str(path), 'not the file that it should be', server.url, '--detector-path')


def test_a_damaged_download_is_fetched_again(server):
    feature()
    cached_path(server.url).write_bytes(WEIGHTS[:-1])
    assert feature() == 6 and cached_path(server.url).read_bytes() == WEIGHTS


def test_what_arrives_must_be_the_expected_file(server):
    server.content = save({'weight': torch.tensor([[1.0, 2.0, 3.5]])})
    refused(server.url, 'not the expected file')


def test_without_a_network_one_is_told_what_to_get(server):
    server.status = 503
    where = cache_dir('detectors', 'small-weights.safetensors')
    text = refused('weights of small', '1 MB', 'CC0', server.url, f'put it at {where}', '--detector-path',
                   'without a network, use --metrics=fd50k_full --detector=efficientnet')
    with pytest.raises(UserError) as caught:
        check_detector('small')
    assert str(caught.value) == text and len(server.asked) == 2  # no attempts to download
    with pytest.raises(UserError, match='alexnet-owt-7be5be79'):
        detectors.check_lpips('alex')


def test_a_path_or_url_of_the_user_comes_first(server, tmp_path):
    feature()
    other = save({'weight': torch.tensor([[1.0, 2.0, 4.0]])})
    path = tmp_path / 'mine.safetensors'
    path.write_bytes(other)
    check_detector('small', str(path))
    mine, published = load_detector('small', CPU, path=str(path)), load_detector('small', CPU)
    assert mine.features(torch.ones(1, 3, 2, 2)).item() == 7
    assert published.verified and not mine.verified and mine.key != published.key
    server.content = other
    url = server.url.replace('small', 'other')
    check_detector('small', url)
    assert load_detector('small', CPU, path=url).key == mine.key
    refused('http://example.invalid/w: not https', path='http://example.invalid/w')
    refused(f'{tmp_path}/no.pth: no such file', path=f'{tmp_path}/no.pth')
    refused(f'{tmp_path}: is a directory', path=str(tmp_path))
    server.status = 404
    refused(f'{server.url}/x: cannot be reached', path=f'{server.url}/x')


def test_the_key_names_weights_and_resizing(server):
    keys = [load_detector('small', CPU, resize=resize).key for resize in ('published', 'clean')]
    digest = hashlib.sha256(WEIGHTS).hexdigest()[:8]
    assert keys == [f'small-{digest}-published', f'small-{digest}-clean']


def test_images_of_all_kinds_give_the_same_features():
    detector = Small()
    detector.load_weights({'weight': torch.tensor([[1.0, 2.0, 3.0]])})
    images = seeded_images(5, 6, 9)
    features = detector.features(images)
    assert features.shape == (5, 1) and features.dtype == torch.float32 and not features.requires_grad
    for same in (images.float(), images.double(), images.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(detector.features(same), features)
    grey = images[:, :1]
    assert torch.equal(detector.features(grey), detector.features(grey.repeat(1, 3, 1, 1)))
    assert detector.features(images[:0]).shape == (0, 1)
    alpha = torch.tensor([0, 51, 255], dtype=torch.uint8).repeat(5, 1, 6, 3)  # [5, 1, 6, 9]
    for part in (images, grey):
        white = 255 + (part.float() - 255) * (alpha / 255)
        assert torch.equal(detector.features(torch.cat([part, alpha], dim=1)), detector.features(white))
    for wrong in (images[0], torch.zeros(2, 5, 6, 6)):
        with pytest.raises(UserError, match='1 to 4 channels'):
            detector.features(wrong)
    for method in (detector.probabilities, detector.lpips, detector.conv5):
        with pytest.raises(UserError, match=r'(use|with) --detector='):
            method(images)


def test_random_generators_and_switches_are_left_alone(server):
    torch.manual_seed(3)
    np.random.seed(3)
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    seen = []

    class Watching(Small):
        def embed(self, images):
            seen.append((cudnn.allow_tf32, matmul.allow_tf32, torch.is_autocast_enabled('cpu')))
            return super().embed(images)

    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = True
    try:
        detector = Watching()
        detector.load_weights({'weight': torch.tensor([[1.0, 2.0, 3.0]])})
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert detector.features(seeded_images(2, 4, 4)).dtype == torch.float32
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, True)
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
    assert seen == [(False, False, False)]
    load_detector('efficientnet', CPU)
    after = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    assert after == (torch.rand(1), np.random.rand())
