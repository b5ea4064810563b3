"""Whether a run that resumes in its own directory gets the same images as before."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib.util import EasyDict, OptionError

SAMPLES = 64  # images whose pixels and labels are compared


def data_digest(dataset: Any) -> str:
    """Hex digest that identifies a dataset regardless of its path: names, number and shape of its images, and pixels and labels
    of SAMPLES of them. Raises UserError if one cannot be read."""
    digest = hashlib.sha256(json.dumps([len(dataset), list(dataset.image_shape), list(dataset.label_shape)]).encode())
    for name in getattr(dataset, 'names', ()):
        digest.update(f'{name}\0'.encode(errors='surrogateescape'))
    for i in np.unique(np.linspace(0, len(dataset) - 1, SAMPLES).astype(int)):
        image, label = dataset[int(i)]
        digest.update(np.ascontiguousarray(image).tobytes() + np.ascontiguousarray(label, dtype=np.float32).tobytes())
    return digest.hexdigest()


def check_same_data(config: EasyDict) -> None:
    """Raise OptionError if the run in this directory began with other images. Runs that did not record their images are not
    checked."""
    try:
        options = dict(json.loads((Path(config.run_dir) / 'training_options.json').read_text(encoding='utf-8')))
        before, path = options.get('data_digest'), dict(options.get('training_set_kwargs') or {}).get('path')
    except (OSError, ValueError, TypeError):
        return
    if before is not None and before != config.data_digest:
        raise OptionError(f'--data={config.training_set_kwargs["path"]}: has other images or labels than {config.run_dir} was '
                          f'begun with (from {path}); give the same, or name a snapshot in it, --resume={config.run_dir}/'
                          'network-snapshot-<kimg>.pkl, to train with these in a new directory')
