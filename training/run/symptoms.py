"""Problems of a run, found in the statistics of its last ticks: one rule for each kind. No torch here.

A rule gets the history of a run: its ticks, oldest first, each a mapping from names of stats.jsonl to means. It holds if each of
the last ticks shows the problem. A single bad tick is not enough. It then returns one line with the problem and the remedy, else
None. The limits are calibrated on healthy runs and on runs that were made to fail (docs/health.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dnnlib.util import OptionError

History = Sequence[Mapping[str, float]]


class Span(NamedTuple):
    """How long a problem must last: ticks in a row, and thousands of images from the first to the last."""

    ticks: int
    kimg: float


LONG, SHORT, NOW = Span(20, 20), Span(5, 0), Span(1, 0)

SURE = 0.95            # mean sign of D on training images
HELD_OUT = 0.7         # where D puts held-out images, from the training images (0) to the generated ones (1)
BLIND, WILD = 0.05, 25 # difference of D's scores of real and generated images
ALIKE = 0.5            # deviation of generated images, as a share of that of real images
FALLEN = 0.5           # the same as a share of the most that the run had
SATURATED = 0.8        # p of the augmentation. Above, it shows in generated images (Karras et al. 2020, section 3)
IDLE = 25              # per cent of the time, waiting for images
ZERO = 0.1             # share of zeros among the gradients of half-precision layers


@dataclass(frozen=True)
class Settings:
    """The part of the configuration that rules use."""

    gamma: float
    adapts: bool  # --aug=ada
    workers: int  # processes that read images

    @classmethod
    def of(cls, c: Mapping[str, Any]) -> Settings:
        loss, loader = c.get('loss_kwargs') or {}, c.get('data_loader_kwargs') or {}
        return cls(loss.get('gamma', 0.0), c.get('ada_target') is not None, loader.get('num_workers', 0))


def overfitting(history: History, s: Settings) -> str | None:
    remedy = ('use more images (--mirror=1)' if s.adapts else 'use --aug=ada, or more images (--mirror=1)') + \
        ', or take the best snapshot by a metric'
    held_out = lowest(history, LONG, 'Health/held_out')
    if held_out > HELD_OUT:
        return (f'D no longer takes held-out images for real: it puts them {held_out:.0%} of the way from the training images to '
                f'the generated ones; {remedy}')
    if not s.adapts and lowest(history, LONG, 'Loss/signs/real') > SURE:
        return f'D is sure of its training images (mean sign above {SURE}); {remedy}'
    return None


def gamma(history: History, s: Settings) -> str | None:
    gaps = [tick.get('Loss/scores/real', math.nan) - tick.get('Loss/scores/fake', math.nan) for tick in recent(history, LONG)]
    if gaps and all(abs(gap) < BLIND for gap in gaps):
        return (f'D gives real and generated images the same score (difference below {BLIND}); lower --gamma, '
                f'such as --gamma={s.gamma / 10:.2g}')
    if gaps and all(gap > WILD for gap in gaps):
        return (f'D separates real and generated images by far (scores differ by more than {WILD}), so that G learns little; '
                f'raise --gamma, such as --gamma={max(s.gamma * 10, 0.01):.2g}')
    return None


def collapse(history: History, s: Settings) -> str | None:
    known = [tick['Health/variety'] for tick in history if 'Health/variety' in tick]
    if known and max(known) > ALIKE and known[-1] < FALLEN * max(known):
        return (f'generated images became alike: they deviate from their mean {known[-1]:.0%} as much as real images, after '
                f'{max(known):.0%}; resume from an earlier snapshot (--resume) with a larger --gamma or smaller learning rates '
                '(--glr, --dlr)')
    variety = highest(history, LONG, 'Health/variety')
    if variety < ALIKE:
        return (f'generated images are much alike: they deviate from their mean at most {variety:.0%} as much as real images; '
                'raise --gamma, use --loss=relativistic --r2=1, or start again with another --seed')
    return None


def style(history: History, s: Settings) -> str | None:
    if highest(history, NOW, 'Progress/style_dims') == 0:
        return ('no style coordinate is alive (importance above 0.1), so all domains share all latents, and there is no '
                'Jacobian to make sparse; lower --lambda-sparse')
    return None


def augmentation(history: History, s: Settings) -> str | None:
    p = lowest(history, LONG, 'Progress/augment')
    if s.adapts and p >= SATURATED:
        return (f'the strength of augmentation stays at {p:.2f}, where it shows in generated images; use more images '
                '(--mirror=1), a larger --target, or start from a trained network (--resume)')
    return None


def underflow(history: History, s: Settings) -> str | None:
    zeros = lowest(history, SHORT, 'Health/zero_gradients')
    if zeros > ZERO:
        return (f'{zeros:.0%} of the gradients of half-precision layers are zero: too small for float16; use --precision=fp32 or '
                'bf16')
    return None


def data(history: History, s: Settings) -> str | None:
    share = lowest(history, SHORT, 'Timing/data_wait_percent')
    if share > IDLE:
        return (f'{share:.0f}% of the time is spent waiting for images; raise --workers (now {s.workers}), or make the dataset '
                'again with dataset_tool.py, which stores images uncompressed')
    return None


RULES: dict[str, Callable[[History, Settings], str | None]] = {
    'overfitting': overfitting, 'gamma': gamma, 'collapse': collapse, 'style': style, 'augmentation': augmentation,
    'underflow': underflow, 'data': data}


def parse(text: str | None) -> list[str]:
    """The rules that --stop-on names. Raises OptionError for others."""
    names = [] if text is None else text.split(',')
    if unknown := set(names) - {*RULES, 'any'}:
        raise OptionError(f'--stop-on: unknown {min(unknown)}; choose from {", ".join(RULES)}, any')
    return list(RULES) if 'any' in names else names


def find(history: History, settings: Settings) -> dict[str, str]:
    """{name: what is wrong and what to change} of the rules that hold."""
    found = {name: rule(history, settings) for name, rule in RULES.items()}
    return {name: text for name, text in found.items() if text is not None}


def recent(history: History, span: Span) -> History:
    """The last ticks; none if the run is younger."""
    window = history[-span.ticks:]
    kimg = [tick.get('Progress/kimg', 0.0) for tick in window]
    return window if len(window) == span.ticks and kimg[-1] - kimg[0] >= span.kimg else ()


def lowest(history: History, span: Span, name: str) -> float:
    """The smallest value of a statistic in the last ticks; -inf, which exceeds no limit, if a tick lacks it."""
    return min((tick.get(name, -math.inf) for tick in recent(history, span)), default=-math.inf)


def highest(history: History, span: Span, name: str) -> float:
    """The largest value of a statistic in the last ticks; inf if a tick lacks it."""
    return max((tick.get(name, math.inf) for tick in recent(history, span)), default=math.inf)
