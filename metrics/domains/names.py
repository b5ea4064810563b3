"""The names of metrics of domains that have a size or a detector: `jfid`, `jfd5k_efficientnet`, `dipd1k`, `tfid500`, `truth`.

    <family>[<number>][_<detector>][_clean]

A family named after its published detector (`jfid`, `tfid`, `lpips_div`, `tlpips`) uses only that detector. With another detector
it is called `jfd`, `tfd`, `pd_div`, `tpd`, and the name includes the detector. `truth` compares pixels, and with a detector also
features. Distances by domain (`fid50k_full_domains`) are names of metrics.quality.names.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dnnlib.util import OptionError
from metrics.detectors import ALEXNET, DETECTORS
from metrics.detectors.registry import check_resize


class Family(NamedTuple):
    """num: default number if the name has none; fewest: smallest number. detector: the published one; None if the family has no
    detector or is for other detectors. other: name of the family with another detector. detectors: allowed ones. resizes: whether
    images are resized for the detector. optional: whether it works without a detector."""

    num: int
    fewest: int
    detector: str | None = None
    other: str = ''
    detectors: tuple[str, ...] = ()
    resizes: bool = False
    optional: bool = False


OTHERS = tuple(name for name in DETECTORS if name != 'inception')
MAPS = ('efficientnet',)  # detectors that give maps of features
FAMILIES = {
    'jfid': Family(50_000, 2, 'inception', 'jfd', resizes=True),
    'jfd': Family(50_000, 2, detectors=OTHERS, resizes=True),
    'dipd': Family(10_000, 1, 'vgg16', 'dipd', ('vgg16', *MAPS)),
    'lpips_div': Family(200, 1, ALEXNET, 'pd_div'),
    'pd_div': Family(200, 1, detectors=MAPS),
    'tfid': Family(1000, 1, 'inception', 'tfd', resizes=True),
    'tfd': Family(1000, 1, detectors=OTHERS, resizes=True),
    'tlpips': Family(1000, 1, ALEXNET, 'tpd'),
    'tpd': Family(1000, 1, detectors=MAPS),
    'mcc': Family(5000, 3),
    'truth': Family(200, 1, detectors=tuple(DETECTORS), optional=True),
    'identifiability': Family(2000, 200),
}
PUBLISHED = {family.other: name for name, family in FAMILIES.items() if family.other}  # 'jfd' -> 'jfid'

_NAME = re.compile(rf'(?P<family>{"|".join(sorted(FAMILIES, key=len, reverse=True))})(?:(?P<num>[1-9]\d*)(?P<k>k?))?'
                   rf'(?:_(?P<detector>{"|".join(DETECTORS)}))?(?P<clean>_clean)?')


class DomainName(NamedTuple):
    """family: of FAMILIES. num: of tuples, latents, contents, or source images. detector: None if --detector decides, or there is
    none. resize: 'published' or 'clean'."""

    family: str
    num: int
    detector: str | None
    resize: str = 'published'

    def __str__(self) -> str:
        default = FAMILIES[self.family]
        size = '' if self.num == default.num else f'{self.num // 1000}k' if self.num % 1000 == 0 else str(self.num)
        detector = '' if self.detector in (None, default.detector) else f'_{self.detector}'
        return f'{self.family}{size}{detector}{"_clean" * (self.resize == "clean")}'


def parse_name(text: str) -> DomainName | None:
    """The parts of a name; None if it does not follow this grammar. Raises OptionError for unsupported combinations."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    family = FAMILIES[found['family']]
    num = int(found['num']) * (1000 if found['k'] else 1) if found['num'] else family.num
    name = DomainName(found['family'], num, found['detector'] or family.detector, 'clean' if found['clean'] else 'published')
    if found['clean'] and not family.resizes:
        return None
    _check_detector(name, f'--metrics={text}')
    if name.resize != 'published':
        check_resize(name.detector, f'--metrics={text}')
    if num < family.fewest:
        raise OptionError(f'--metrics={text}: needs at least {family.fewest}')
    return name


def with_options(name: DomainName, detector: str | None = None, resize: str | None = None, num: int | None = None) -> DomainName:
    """The name with options applied. detector: of DETECTORS. resize: 'published' or 'clean'. num: replaces the number in the
    name. None keeps the part of the name. Raises OptionError for conflicts."""
    family = FAMILIES[name.family]
    if detector is not None and name.detector != detector:
        if family.detector is None and not family.detectors:
            raise OptionError(f'--detector={detector}: {name} needs no detector; leave --detector out')
        if name.detector is not None and name.detector != family.detector:
            raise OptionError(f'--detector={detector}: --metrics={name} says otherwise; leave one of them out')
        name = name._replace(detector=detector)
        _check_detector(name, f'--detector={detector}')
    if name.detector is None and family.detectors and not family.optional:
        raise OptionError(f'--metrics={name}: add --detector={family.detectors[-1]}, or ask for '
                          f'{name._replace(detector=family.detectors[-1])}')
    if resize is not None and resize != name.resize:
        if not family.resizes:
            raise OptionError(f'--resize={resize}: {name} takes images resized in one way only; leave --resize out')
        if name.resize != 'published':
            raise OptionError(f'--resize={resize}: --metrics={name} says otherwise; leave one of them out')
        check_resize(name.detector, f'--resize={resize}')
        name = name._replace(resize=resize)
    if num is not None:
        if num < family.fewest:
            raise OptionError(f'--num={num}: {name} needs at least {family.fewest}')
        name = name._replace(num=num)
    return name


def _check_detector(name: DomainName, option: str) -> None:
    """Raise OptionError if the family does not support the detector. option: the option that asks for it."""
    family = FAMILIES[name.family]
    if name.detector in (None, family.detector) or name.detector in family.detectors:
        return
    if family.other and name.detector in FAMILIES[family.other].detectors:
        raise OptionError(f'{option}: only the distance by {family.detector} is called {name.family}; ask for '
                          f'--metrics={name._replace(family=family.other)}')
    if name.detector == FAMILIES[PUBLISHED.get(name.family, name.family)].detector:
        published = name._replace(family=PUBLISHED[name.family])
        raise OptionError(f'{option}: by the published detector this is called {published}')
    takes = family.detectors or (FAMILIES[family.other].detectors if family.other else ())
    raise OptionError(f'{option}: {name.family} is not computed with {name.detector}'
                      + (f', but with {", ".join(takes)}' if takes else '; leave the detector out'))
