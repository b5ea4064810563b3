"""Networks that describe images by features: a registry, with weights that are looked for, checked, and downloaded if need be;
and one that is trained on the dataset."""

from metrics.detectors.registry import (
    ALEXNET,
    DETECTORS,
    OWN,
    check_detector,
    check_lpips,
    load_detector,
    load_lpips,
    lpips_is_here,
    weights_of,
)

__all__ = ['ALEXNET', 'DETECTORS', 'OWN', 'check_detector', 'check_lpips', 'load_detector', 'load_lpips', 'lpips_is_here',
           'weights_of']
