"""The names of metrics of image quality, any size of them: `fid50k_full`, `kid1k`, `pr10k3_full`, `fd5k_efficientnet_full`.

    <family><number of generated images>[3][_<detector>][_full][_clean][_domains]

Family: fid and kid are the published Inception's Fréchet and kernel distances, fd and kd the same by another detector, which
the name tells; pr, precision and recall with the 3 nearest neighbours; is, inception score (of no real images); ppl_zfull,
ppl_wfull, ppl_zend, ppl_wend, ppl2_wend, perceptual path lengths (`ppl2_wend_1k` for other numbers than 50k). Number: `50k`,
or `500`; pr500_3, for pr5003 could be read in two ways. _full: against all real images, not as many as are generated, and
without mirrored ones. _clean: images resized for the detector with anti-aliasing. _domains: in each domain by itself, with so
many generated images of each (fid, fd, kid, kd).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dnnlib.util import OptionError
from metrics.detectors import DETECTORS

PUBLISHED_DETECTOR = {'fid': 'inception', 'kid': 'inception', 'is': 'inception', 'pr': 'vgg16'}
MOST_REALS = {'kid': 1_000_000, 'kd': 1_000_000, 'pr': 200_000}  # as published
FEWEST = {'fid': 2, 'fd': 2, 'kid': 2, 'kd': 2, 'pr': 4, 'is': 10, 'ppl': 1}
OTHER_FAMILY = {'fid': 'fd', 'kid': 'kd'}
PATH_LENGTHS = ('ppl2_wend', 'ppl_zfull', 'ppl_wfull', 'ppl_zend', 'ppl_wend')
PUBLISHED_SIZE = 50_000

_NAME = re.compile(r'(?P<family>fid|kid|fd|kd|is|pr)(?P<num>[1-9]\d*)(?P<k>k?)(?P<neighbours>_?3)?'
                   rf'(?:_(?P<detector>{"|".join(DETECTORS)}))?(?P<full>_full)?(?P<clean>_clean)?(?P<domains>_domains)?')
_PATH_LENGTH = re.compile(rf'(?P<variant>{"|".join(PATH_LENGTHS)})(?:_(?P<num>[1-9]\d*)(?P<k>k?))?')


class Name(NamedTuple):
    """family: of FEWEST. num: of generated images, or pairs of them. detector: None where the name leaves it to --detector.
    full, resize, by_domain: see above. variant: of PATH_LENGTHS for family ppl."""

    family: str
    num: int
    detector: str | None
    full: bool = False
    resize: str = 'published'
    variant: str = ''
    by_domain: bool = False

    @property
    def most_reals(self) -> int | None:
        """With how many real images it compares at most; None for all."""
        return MOST_REALS.get(self.family) if self.full else self.num

    def __str__(self) -> str:
        size = f'{self.num // 1000}k' if self.num % 1000 == 0 else str(self.num)
        if self.family == 'ppl':
            return self.variant if self.num == PUBLISHED_SIZE else f'{self.variant}_{size}'
        neighbours = {True: '3', False: '_3'}[size.endswith('k')] if self.family == 'pr' else ''
        detector = '' if self.detector in (None, PUBLISHED_DETECTOR.get(self.family)) else f'_{self.detector}'
        return (f'{self.family}{size}{neighbours}{detector}{"_full" * self.full}{"_clean" * (self.resize == "clean")}'
                f'{"_domains" * self.by_domain}')


def parse_name(text: str) -> Name | None:
    """What a name says; None if it is not of this grammar. Raises OptionError for what can't be computed."""
    if found := _PATH_LENGTH.fullmatch(text):
        num = int(found['num']) * (1000 if found['k'] else 1) if found['num'] else PUBLISHED_SIZE
        return Name('ppl', num, 'vgg16', variant=found['variant'])
    found = _NAME.fullmatch(text)
    if found is None or (found['family'] == 'pr') != bool(found['neighbours']):
        return None
    if found['neighbours'] and (found['k'] == 'k') == found['neighbours'].startswith('_'):
        return None
    if found['family'] == 'is' and (found['full'] or found['detector']):
        return None
    if found['domains'] and found['family'] in ('is', 'pr'):
        return None
    family, num = found['family'], int(found['num']) * (1000 if found['k'] else 1)
    published = PUBLISHED_DETECTOR.get(family)
    name = Name(family, num, found['detector'] or published, bool(found['full']), 'clean' if found['clean'] else 'published')
    name = name._replace(by_domain=bool(found['domains']))
    if family in OTHER_FAMILY and name.detector != published:
        raise OptionError(f'--metrics={text}: only the distance by the published detector is called {family}; '
                          f'ask for {name._replace(family=OTHER_FAMILY[family])}')
    if num < FEWEST[family]:
        raise OptionError(f'--metrics={text}: needs at least {FEWEST[family]} generated images')
    return name


def with_options(name: Name, detector: str | None = None, resize: str | None = None, num: int | None = None) -> Name:
    """The name of the metric that options make of it. detector: of DETECTORS. resize: 'published' or 'clean'. num: of generated
    images. None leaves what the name says. Raises OptionError if they don't go together."""
    if detector is not None and name.detector != detector:
        if name.family in OTHER_FAMILY:
            other = name._replace(family=OTHER_FAMILY[name.family], detector=detector)
            raise OptionError(f'--detector={detector}: only the distance by the published detector is called {name.family}; '
                              f'ask for --metrics={other}')
        if name.family in ('is', 'ppl'):
            raise OptionError(f'--detector={detector}: {name} is defined for the detector {name.detector} only; leave '
                              '--detector out')
        if name.detector not in (None, PUBLISHED_DETECTOR.get(name.family)):
            raise OptionError(f'--detector={detector}: --metrics={name} names another detector; leave one of them out')
        name = name._replace(detector=detector)
    if name.detector is None:
        others = '|'.join(other for other in DETECTORS if other != 'inception')
        raise OptionError(f'--metrics={name}: say by which detector: --detector={others}, or for example '
                          f'--metrics={name._replace(detector="efficientnet")}')
    if name.family in ('fd', 'kd') and name.detector == 'inception':
        family = {other: own for own, other in OTHER_FAMILY.items()}[name.family]
        raise OptionError(f'--metrics={name}: by the published detector this is called {name._replace(family=family)}')
    if resize is not None and resize != name.resize:
        if name.family == 'ppl':
            raise OptionError(f'--resize={resize}: {name} does not resize images; leave --resize out')
        if name.resize != 'published':
            raise OptionError(f'--resize={resize}: --metrics={name} says otherwise; leave one of them out')
        name = name._replace(resize=resize)
    if num is not None:
        if num < FEWEST[name.family]:
            raise OptionError(f'--num={num}: {name} needs at least {FEWEST[name.family]}')
        name = name._replace(num=num)
    return name
