"""From a configuration to the networks of a run."""

from __future__ import annotations

import copy
from typing import Any

from dnnlib.util import EasyDict
from torch_utils import persistence


def make_networks(c: EasyDict, training_set: Any) -> EasyDict:
    """G, D and G_ema, a copy of G, for the images and labels of training_set; on torch's default device."""
    common = dict(c_dim=training_set.label_dim, img_resolution=training_set.resolution, img_channels=training_set.num_channels)
    G, D = (persistence.construct(**kwargs, **common) for kwargs in (c.G_kwargs, c.D_kwargs))
    return EasyDict(G=G, D=D, G_ema=copy.deepcopy(G))
