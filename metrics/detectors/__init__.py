"""Networks that describe images by features: a registry, with weights that are searched, checked, and downloaded if necessary;
and one network that is trained on the dataset."""

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
