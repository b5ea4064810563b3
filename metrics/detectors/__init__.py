"""Networks that describe images by features: a registry, with weights that are looked for, checked, and downloaded if need be."""

from metrics.detectors.registry import (
    ALEXNET,
    DETECTORS,
    check_detector,
    check_lpips,
    load_detector,
    load_lpips,
    lpips_is_here,
    weights_of,
)

__all__ = ['ALEXNET', 'DETECTORS', 'check_detector', 'check_lpips', 'load_detector', 'load_lpips', 'lpips_is_here',
           'weights_of']
