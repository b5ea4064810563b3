"""The names of metrics of image quality, any size of them: `fid50k_full`, `kid1k`, `pr10k3_full`, `fd5k_efficientnet_full`.

    <family><number of generated images>[3|5][_<detector>][_full][_clean][_domains]

Family: fid and kid, Fréchet and kernel distances with the published Inception; fd and kd, the same with another detector, which
is in the name; pr, precision and recall with the 3 nearest neighbours; dc, density and coverage with the 5 nearest; nn, distances
of samples to the nearest of all training images, with the detector in the name; is, inception score (without real images);
ppl_zfull, ppl_wfull, ppl_zend, ppl_wend, ppl2_wend, perceptual path lengths (`ppl2_wend_1k` for other numbers than 50k);
modes, the number of classes among samples (`modes1k` for other numbers than 26k). Number: `50k`, or `500`; pr500_3, because
pr5003 would be ambiguous. _full: against all real images without mirrored ones, instead of as many as are generated. _clean:
images resized for the detector with anti-aliasing. _domains: each domain separately, with that number of generated images each
(fid, fd, kid, kd).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dnnlib.util import OptionError
from metrics.detectors import DETECTORS
from metrics.detectors.registry import check_resize

PUBLISHED_DETECTOR = {'fid': 'inception', 'kid': 'inception', 'is': 'inception', 'pr': 'vgg16', 'dc': 'vgg16'}
MOST_REALS = {'kid': 1_000_000, 'kd': 1_000_000, 'pr': 200_000, 'dc': 200_000}  # as published; that of pr for dc
FEWEST = {'fid': 2, 'fd': 2, 'kid': 2, 'kd': 2, 'pr': 4, 'dc': 6, 'nn': 100, 'is': 10, 'ppl': 1, 'modes': 2}
NEIGHBOURS = {'pr': '3', 'dc': '5'}  # as published
OTHER_FAMILY = {'fid': 'fd', 'kid': 'kd'}
PATH_LENGTHS = ('ppl2_wend', 'ppl_zfull', 'ppl_wfull', 'ppl_zend', 'ppl_wend')
PUBLISHED_SIZE = {'ppl': 50_000, 'modes': 26_000}  # omitted in their names

_NAME = re.compile(r'(?P<family>fid|kid|fd|kd|is|pr|dc|nn)(?P<num>[1-9]\d*)(?P<k>k?)(?P<neighbours>_?[35])?'
                   rf'(?:_(?P<detector>{"|".join(DETECTORS)}))?(?P<full>_full)?(?P<clean>_clean)?(?P<domains>_domains)?')
_PATH_LENGTH = re.compile(rf'(?P<variant>{"|".join(PATH_LENGTHS)})(?:_(?P<num>[1-9]\d*)(?P<k>k?))?')
_MODES = re.compile(r'modes(?:(?P<num>[1-9]\d*)(?P<k>k?))?')


class Name(NamedTuple):
    """family: of FEWEST. num: of generated images, or pairs of them. detector: None if --detector decides.
    full, resize, by_domain: see above. variant: of PATH_LENGTHS for family ppl."""

    family: str
    num: int
    detector: str | None
    full: bool = False
    resize: str = 'published'
    variant: str = ''
    by_domain: bool = False

    @property
    def against_all(self) -> bool:
        """Whether it compares with all real images, instead of as many as are generated."""
        return self.full or self.family == 'nn'

    @property
    def most_reals(self) -> int | None:
        """The largest number of real images to compare with; None for all."""
        return MOST_REALS.get(self.family) if self.against_all else self.num

    def __str__(self) -> str:
        size = f'{self.num // 1000}k' if self.num % 1000 == 0 else str(self.num)
        if self.family in PUBLISHED_SIZE:
            size = '' if self.num == PUBLISHED_SIZE[self.family] else size
            return f'modes{size}' if self.family == 'modes' else f'{self.variant}{"_" * bool(size)}{size}'
        neighbours = NEIGHBOURS.get(self.family, '')
        neighbours = neighbours if size.endswith('k') or not neighbours else f'_{neighbours}'
        detector = '' if self.detector in (None, PUBLISHED_DETECTOR.get(self.family)) else f'_{self.detector}'
        return (f'{self.family}{size}{neighbours}{detector}{"_full" * self.full}{"_clean" * (self.resize == "clean")}'
                f'{"_domains" * self.by_domain}')


def parse_name(text: str) -> Name | None:
    """The parts of a name; None if it does not follow this grammar. Raises OptionError for unsupported combinations."""
    if found := _PATH_LENGTH.fullmatch(text):
        return Name('ppl', _number(found) or PUBLISHED_SIZE['ppl'], 'vgg16', variant=found['variant'])
    if found := _MODES.fullmatch(text):
        return _checked(Name('modes', _number(found) or PUBLISHED_SIZE['modes'], None), text)
    found = _NAME.fullmatch(text)
    if found is None or NEIGHBOURS.get(found['family'], '') != (found['neighbours'] or '').removeprefix('_'):
        return None
    if found['neighbours'] and (found['k'] == 'k') == found['neighbours'].startswith('_'):
        return None
    if found['family'] == 'is' and (found['full'] or found['detector']):
        return None
    if (found['domains'] and found['family'] in ('is', 'pr', 'dc', 'nn')) or (found['full'] and found['family'] == 'nn'):
        return None
    family = found['family']
    published = PUBLISHED_DETECTOR.get(family)
    name = Name(family, _number(found), found['detector'] or published, bool(found['full']),
                'clean' if found['clean'] else 'published', by_domain=bool(found['domains']))
    if family in OTHER_FAMILY and name.detector != published:
        raise OptionError(f'--metrics={text}: only the distance by the published detector is called {family}; '
                          f'ask for {name._replace(family=OTHER_FAMILY[family])}')
    return _checked(name, text)


def _number(found: re.Match) -> int:
    """The number in a name; 0 without one."""
    return int(found['num'] or 0) * (1000 if found['k'] else 1)


def _checked(name: Name, text: str) -> Name:
    if name.resize != 'published':
        check_resize(name.detector, f'--metrics={text}')
    if name.num < FEWEST[name.family]:
        raise OptionError(f'--metrics={text}: needs at least {FEWEST[name.family]} generated images')
    return name


def with_options(name: Name, detector: str | None = None, resize: str | None = None, num: int | None = None) -> Name:
    """The name with options applied. detector: of DETECTORS. resize: 'published' or 'clean'. num: of generated images. None keeps
    the part of the name. Raises OptionError for conflicts."""
    if detector is not None and name.detector != detector:
        if name.family in OTHER_FAMILY:
            other = name._replace(family=OTHER_FAMILY[name.family], detector=detector)
            raise OptionError(f'--detector={detector}: only the distance by the published detector is called {name.family}; '
                              f'ask for --metrics={other}')
        if name.family == 'modes':
            raise OptionError(f'--detector={detector}: {name} needs no detector; leave --detector out')
        if name.family in ('is', 'ppl'):
            raise OptionError(f'--detector={detector}: {name} is defined for the detector {name.detector} only; leave '
                              '--detector out')
        if name.detector not in (None, PUBLISHED_DETECTOR.get(name.family)):
            raise OptionError(f'--detector={detector}: --metrics={name} names another detector; leave one of them out')
        name = name._replace(detector=detector)
    if name.detector is None and name.family != 'modes':
        others = '|'.join(other for other in DETECTORS if other != 'inception' or name.family == 'nn')
        raise OptionError(f'--metrics={name}: name the detector: --detector={others}, or for example '
                          f'--metrics={name._replace(detector="efficientnet")}')
    if name.family in ('fd', 'kd') and name.detector == 'inception':
        family = {other: own for own, other in OTHER_FAMILY.items()}[name.family]
        raise OptionError(f'--metrics={name}: by the published detector this is called {name._replace(family=family)}')
    if resize is not None and resize != name.resize:
        if name.family in ('ppl', 'modes'):
            raise OptionError(f'--resize={resize}: {name} does not resize images; leave --resize out')
        if name.resize != 'published':
            raise OptionError(f'--resize={resize}: --metrics={name} says otherwise; leave one of them out')
        check_resize(name.detector, f'--resize={resize}')
        name = name._replace(resize=resize)
    if num is not None:
        if num < FEWEST[name.family]:
            raise OptionError(f'--num={num}: {name} needs at least {FEWEST[name.family]}')
        name = name._replace(num=num)
    return name
