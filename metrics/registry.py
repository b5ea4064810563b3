"""The metrics by name. A new metric is a file with a function `Context -> Result`, and a line here.

Names are known without importing torch. A metric is imported when it is used.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from dnnlib.channels import has_alpha
from dnnlib.util import OptionError, format_time
from metrics.context import Context, Result
from metrics.detectors import OWN
from metrics.domains import names as domain_names
from metrics.quality import names


class Metric(NamedTuple):
    """function: `module:name` of a function `(Context, **kwargs) -> Result`. needs_data, needs_D: whether it uses the images of
    the dataset, and the discriminator. translates: whether it needs latents of real images, which the discriminator or a trained
    encoder may find. needs_labels: whether it uses the labels of the dataset, for networks with labels; needs_classes: for all
    networks. detector: name of the feature detector, or None. check: `module:name` of a quick function `(Context)` that raises
    UserError for unsuitable input, or ''. better: whether 'lower' or 'higher' values of its first result are better, or None."""

    function: str
    needs_data: bool
    kwargs: Mapping[str, Any] = MappingProxyType({})
    needs_D: bool = False
    translates: bool = False
    needs_labels: bool = False
    needs_classes: bool = False
    detector: str | None = None
    check: str = ''
    better: str | None = None


BETTER = {'is': 'higher', 'pr': 'higher', 'dc': 'higher', 'modes': 'higher', 'nn': None}  # nn: noise has no copies


def _of_quality(name: names.Name) -> Metric:
    """The metric of a name of metrics.quality.names."""
    module, function = {
        'fid': ('frechet', 'fid'), 'fd': ('frechet', 'fid'), 'kid': ('kid', 'kid'), 'kd': ('kid', 'kid'), 'ppl': ('ppl', 'ppl'),
        'pr': ('precision_recall', 'precision_recall'), 'is': ('inception_score', 'inception_score'),
        'dc': ('density_coverage', 'density_coverage'), 'nn': ('memorisation', 'memorisation'),
        'modes': ('modes', 'modes')}[name.family]
    function = f'metrics.quality.{module}:{function}'
    kwargs: dict[str, Any] = dict(key=str(name), num_gen=name.num)
    if name.family == 'ppl':
        kwargs |= dict(space=name.variant.split('_')[1][0], sampling=name.variant.split('_')[1][1:],
                       crop=not name.variant.startswith('ppl2'))
    elif name.family != 'modes':
        kwargs |= dict(resize=name.resize)
    if name.family not in ('is', 'ppl', 'modes'):
        kwargs |= dict(detector=name.detector)
    if name.family not in ('is', 'ppl', 'modes', 'nn'):
        kwargs |= dict(full=name.full)
    if name.by_domain:
        function = 'metrics.domains.distances:distances'
        kwargs |= dict(key=str(name._replace(by_domain=False)), kernel=name.family in ('kid', 'kd'))
    return Metric(function, needs_data=name.family not in ('is', 'ppl'), kwargs=MappingProxyType(kwargs), needs_labels=True,
                  needs_classes=name.family == 'modes' or name.detector == OWN, detector=name.detector,
                  better=BETTER.get(name.family, 'lower'),
                  check='metrics.domains.distances:check' if name.by_domain else '')


def _of_domains(name: domain_names.DomainName) -> Metric:
    """The metric of a name of metrics.domains.names."""
    published = domain_names.PUBLISHED.get(name.family, name.family)
    module, function, better = {
        'jfid': ('joint_frechet', 'joint_frechet', 'lower'), 'dipd': ('dipd', 'dipd', None),
        'lpips_div': ('diversity', 'diversity', 'higher'), 'tfid': ('translation_frechet', 'translation_frechet', 'lower'),
        'tlpips': ('translation_diversity', 'translation_diversity', 'higher'), 'mcc': ('mcc', 'mcc', 'higher'),
        'truth': ('truth', 'truth', 'lower'), 'identifiability': ('identifiability', 'identifiability', 'higher')}[published]
    kwargs: dict[str, Any] = dict(key=str(name), num_gen=name.num)
    if name.detector is not None:
        kwargs |= dict(detector=name.detector)
    if domain_names.FAMILIES[name.family].resizes:
        kwargs |= dict(resize=name.resize)
    package = 'metrics.identifiability' if published == 'identifiability' else 'metrics.domains'
    return Metric(f'{package}.{module}:{function}', needs_data=published != 'mcc', kwargs=MappingProxyType(kwargs),
                  needs_D=published == 'mcc', translates=published in ('tfid', 'tlpips', 'truth', 'identifiability'),
                  needs_labels=True, needs_classes=name.detector == OWN, detector=name.detector, better=better,
                  check=f'{package}.domain_images:check' if published == 'dipd' else f'{package}.{module}:check')


OFFLINE = 'fd50k_efficientnet_full'  # needs no download
GRAMMARS = ((names, _of_quality), (domain_names, _of_domains))


def _of_grammar(text: str) -> Metric:
    """The metric of a complete name."""
    for grammar, make in GRAMMARS:
        if (name := grammar.parse_name(text)) is not None:
            return make(grammar.with_options(name))
    raise KeyError(text)


METRICS = {
    **{name: _of_grammar(name) for name in (
        'fid50k_full', 'kid50k_full', 'pr50k3_full', 'ppl2_wend', 'is50k', 'fid50k', 'kid50k', 'pr50k3', 'ppl_zfull', 'ppl_wfull',
        'ppl_zend', 'ppl_wend', 'fd50k_dinov2_full', 'dc10k5', 'nn10k_efficientnet', 'modes', 'fid50k_full_domains', 'jfid',
        'dipd', 'lpips_div', 'tfid', 'tlpips', 'mcc', 'truth', 'identifiability')},
    'jacobian': Metric('metrics.domains.jacobian:jacobian', needs_data=False),
    'domains': Metric('metrics.domains.domains:domains', needs_data=True, check='metrics.domains.domains:check'),
    'directions': Metric('metrics.domains.directions:directions', needs_data=True, check='metrics.domains.domains:check'),
    'translation': Metric('metrics.domains.translation:translation', needs_data=True, translates=True,
                          check='metrics.domains.translation:check'),
}


def find_metric(name: str) -> Metric:
    """The metric of a name that parse_metrics gave."""
    return METRICS[name] if name in METRICS else _of_grammar(name)


def parse_metrics(value: str, detector: str | None = None, resize: str | None = None, num: int | None = None) -> list[str]:
    """The names in the value of --metrics, each once; 'none' and '' are the empty list.

    detector, resize, num: options that complete the names: `fd5k_full` with the detector efficientnet is
    `fd5k_efficientnet_full`. Names without a detector or a number stay unchanged. Raises OptionError for unknown names, for
    options that no name takes, and for options that conflict with a name.
    """
    if value.lower() in ('', 'none'):
        return []
    found = [_full_name(name.strip(), detector, resize, num) for name in value.split(',')]
    for option, given in (('detector', detector), ('resize', resize), ('num', num)):
        if given is not None and not any(grammar.parse_name(name) for name in found for grammar, _ in GRAMMARS):
            raise OptionError(f'--{option}={given}: none of the metrics {", ".join(found)} takes it; leave it out')
    return list(dict.fromkeys(found))


def _full_name(text: str, detector: str | None, resize: str | None, num: int | None) -> str:
    for grammar, _ in GRAMMARS:
        if (name := grammar.parse_name(text)) is not None:
            return str(grammar.with_options(name, detector, resize, num))
    if text in METRICS:
        return text
    nearest = difflib.get_close_matches(text, METRICS, n=1)
    raise OptionError(f'--metrics can only contain the following values: {", ".join(METRICS)}; with any number of images '
                      f'(fid5k_full) and detector (fd5k_efficientnet_full); not {text!r}'
                      + (f', did you mean {nearest[0]}?' if nearest else ''))


def calc_metric(name: str, context: Context) -> tuple[Result, dict[str, Any]]:
    """Evaluate one metric. Returns its result and its record: a dict for one line of JSON, in the published order.

    Values that are not finite (a diverged generator) become None in the record, because strict JSON has no NaN. All ranks call
    this and get the same results.
    """
    from torch_utils import distributed
    from torch_utils.devices import full_precision
    metric = find_metric(name)
    start = time.monotonic()
    with full_precision():
        result = _imported(metric.function)(context, **metric.kwargs)
    if (warning := _warning(name, metric, context)) is not None:
        result = dataclasses.replace(result, notes=(*result.notes, warning))
    seconds = time.monotonic() - start
    values = {key: value if value is None or math.isfinite(value) else None for key, value in result.values.items()}
    eval_data = {} if context.eval_data is None else dict(eval_data=context.eval_data)
    return result, dict(results=values, metric=name, total_time=seconds, total_time_str=format_time(seconds),
                        num_gpus=distributed.world_size(), **result.facts, **eval_data)


def _warning(name: str, metric: Metric, context: Context) -> str | None:
    """A warning about a distance that is known not to rise with damage of the dataset."""
    quality = names.parse_name(name)
    if quality is None or metric.detector is None or context.dataset is None:
        return None
    from metrics.calibration.record import warning
    return warning(context.feature_cache, context.dataset, name, quality.family, metric.detector)


def check_metric(name: str, context: Context) -> None:
    """Check whether a metric can be computed, before any long work. Raises UserError that names what is missing: the weights of
    its detector (nothing is loaded or downloaded), data, labels, images, or a network."""
    metric, quality = find_metric(name), names.parse_name(name)
    if context.G is None and (quality is None or quality.family in ('ppl', 'modes') or quality.by_domain):
        raise OptionError(f'--metrics={name}: needs a network, not images; give --network, or another metric')
    if metric.detector is not None:
        from metrics.detectors import check_detector
        check_detector(metric.detector, context.detector_paths.get(metric.detector))
    if metric.detector == OWN:
        _imported('metrics.detectors.own_training:check')(context)
    if metric.check:
        _imported(metric.check)(context)
    elif quality is not None:
        from metrics.features.extraction import check_images
        check_images(context, name, quality)


def background_note(names: Iterable[str], num_channels: int) -> str | None:
    """A line to print about images with this number of channels. None unless they have alpha and a metric uses a detector."""
    if has_alpha(num_channels) and any(find_metric(name).detector for name in names):
        return 'The images have an alpha channel: detectors see them on white.'
    return None


def _imported(name: str) -> Any:
    module, _, function = name.partition(':')
    return getattr(importlib.import_module(module), function)
