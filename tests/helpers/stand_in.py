"""A feature detector of a few lines in the place of all others, for commands and training runs."""

from types import SimpleNamespace

import torch

from dnnlib.channels import over
from metrics import detectors
from metrics.detectors.lpips import of_maps


class StandIn:
    """Random projections of the pixels, shrunk to 4x4: 12 features."""

    num_features, resize, probabilities_of = 12, 'published', None

    def __init__(self, name, key):
        self.name, self.key, self.seen = name, key, 0
        self._weight = torch.randn(48, self.num_features, generator=torch.Generator().manual_seed(1))

    def resized(self, images):
        return torch.nn.functional.interpolate(images.float(), size=(8, 8), mode='bilinear', antialias=True)

    def features(self, images):
        self.seen += len(images)
        images = over(self.resized(images), background=255).expand(-1, 3, -1, -1)
        small = torch.nn.functional.adaptive_avg_pool2d(images / 127.5 - 1, 4)
        return small.flatten(start_dim=1) @ self._weight

    def probabilities(self, images):
        return self.features(images).softmax(dim=1)

    def feature_maps(self, images):
        """[N, 3, 8, 8], [N, 3, 4, 4] and [N, 12, 1, 1]."""
        pixels = over(self.resized(images), background=255).expand(-1, 3, -1, -1) / 255
        return [pixels, torch.nn.functional.avg_pool2d(pixels, 2), self.features(images)[:, :, None, None]]

    def conv5(self, images):
        return self.feature_maps(images)[0]

    def lpips(self, images):
        return of_maps(self.feature_maps(images))


def replace_detectors(monkeypatch, cache):
    """Every detector is there, and a StandIn. Returns the list of those that are loaded. cache: directory of downloads and
    features."""
    loaded = []

    def load(name, device, path=None, resize='published'):
        loaded.append(StandIn(name, f'{name}-{resize}'))
        return loaded[-1]

    monkeypatch.setattr(detectors, 'load_detector', load)
    monkeypatch.setattr(detectors, 'load_lpips', lambda name, device, path=None: SimpleNamespace(net=load(name, device)))
    monkeypatch.setattr(detectors, 'check_detector', lambda name, path=None: None)
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(cache))
    return loaded
