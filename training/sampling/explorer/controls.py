"""Controls of the page of `generate.py explore`: a seed, a slider that can be set back."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from nicegui import ui

MOST_SEED = 2 ** 32 - 1
MOST_RANDOM_SEED = 9999  # seeds that can be remembered
STEP = 0.05              # of sliders


class Slider(ui.slider):
    """A slider that does not wait for the server. Over a slow connection, steps would otherwise be lost."""

    LOOPBACK = False


def heading(text: str) -> ui.label:
    """The title of a part of the page."""
    return ui.label(text).classes('heading').props('role=heading aria-level=2')


def seed_control(label: str, value: int, on_change: Callable[[int], None], hint: str) -> None:
    """A number with buttons for the previous, the next, and a random one."""
    def change(e: Any) -> None:
        if e.value is not None:
            on_change(int(min(max(e.value, 0), MOST_SEED)))

    def step_by(step: int) -> None:
        number.set_value(min(max(int(number.value or 0) + step, 0), MOST_SEED))

    with ui.element('div').classes('seed'):
        number = ui.number(label, value=value, min=0, max=MOST_SEED, precision=0, on_change=change).props('dense outlined')
        number.tooltip(hint)
        name = label.lower()
        for icon, text, action in (('chevron_left', f'Previous {name}', lambda: step_by(-1)),
                                   ('chevron_right', f'Next {name}', lambda: step_by(1)),
                                   ('casino', f'Random {name}', lambda: number.set_value(random.randint(0, MOST_RANDOM_SEED)))):
            ui.button(icon=icon, on_click=action).props(f'flat round dense aria-label="{text}"').tooltip(text)


def slider(label: str, hint: str, bounds: tuple[float, float], neutral: float, on_change: Callable[[float], None],
           style: str, caption: str = '') -> Callable[[], None]:
    """A slider with its value. The value is a button that resets the slider; the function that resets it is returned. hint:
    explains the label.
    style: how values are written, such as '{:.2f}'. caption: stands beside the label."""
    def change(e: Any) -> None:
        value = round(e.value, 2)
        shown.set_text(text_of(value))
        shown.classes(add='changed') if value != neutral else shown.classes(remove='changed')
        on_change(value)

    def text_of(value: float) -> str:
        return style.format(value) if value else '0'

    def reset() -> None:
        control.set_value(neutral)

    with ui.element('div').classes('slider' + (' signed' if bounds[0] < 0 else '')):
        with ui.element('div').classes('between'):
            with ui.element('div').classes('name'):
                ui.label(label).style('display: inline').tooltip(hint)
                ui.label(caption).classes('muted small').style('display: inline; margin-left: 6px')
            shown = ui.button(text_of(neutral), on_click=reset).props(f'flat dense no-caps aria-label="Reset {label}"')
            shown.classes('value').tooltip(f'Back to {neutral}')
        control = Slider(min=bounds[0], max=bounds[1], step=STEP, value=neutral, on_change=change)
        control.props(f'aria-label="{label}"')
    return reset
