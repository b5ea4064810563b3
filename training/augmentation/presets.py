"""Which augmentations each preset of `--augpipe` switches on (Karras et al. 2020, "Training Generative Adversarial
Networks with Limited Data", figure 4). No torch here: options are checked without it."""

from __future__ import annotations


def _all(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, 1.0)


_blit = _all('xflip', 'rotate90', 'xint')
_geom = _all('scale', 'rotate', 'aniso', 'xfrac')
_color = _all('brightness', 'contrast', 'lumaflip', 'hue', 'saturation')
_filter, _noise, _cutout = _all('imgfilter'), _all('noise'), _all('cutout')

AUGPIPES: dict[str, dict[str, float]] = {  # name -> arguments of training.augment.AugmentPipe
    'blit':   _blit,
    'geom':   _geom,
    'color':  _color,
    'filter': _filter,
    'noise':  _noise,
    'cutout': _cutout,
    'bg':     _blit | _geom,
    'bgc':    _blit | _geom | _color,
    'bgcf':   _blit | _geom | _color | _filter,
    'bgcfn':  _blit | _geom | _color | _filter | _noise,
    'bgcfnc': _blit | _geom | _color | _filter | _noise | _cutout,
}
