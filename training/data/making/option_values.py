"""Callbacks that parse the options of dataset_tool.py. Each raises click.BadParameter."""

from __future__ import annotations

import re
from typing import Any

import click
import PIL.ImageColor

from training.data.making.transforms import Crop

TWO_COLOUR = {'red': (255, 0, 0), 'green': (0, 255, 0)}  # PIL's 'green' is a darker one


def parse_domains(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Turn --domains into None, 'none', 'folders', 'dependent', 'stacked', a number, or a dict: name of a domain -> (red, green,
    blue)."""
    if value is not None and re.fullmatch(r'\d{1,9}', value):
        return int(value)
    if value in (None, 'none', 'folders', 'dependent', 'stacked'):
        return value
    if value in ('two-color', 'two-colour'):
        return TWO_COLOUR
    names = [name.strip() for name in value.split(',')]
    try:
        colours = {name: PIL.ImageColor.getrgb(name)[:3] for name in names}
    except ValueError as err:
        raise click.BadParameter(f'{err}; give two-color, dependent, stacked, none, folders, a number, or colours such as '
                                 'red,#00ff00,blue') from err
    if len(colours) < len(names):
        raise click.BadParameter('a colour is given twice')
    return colours


def parse_resolution(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Turn --resolution, `WxH` or one number for both, into width and height."""
    if value is None:
        return None
    match = re.fullmatch(r'([1-9]\d{0,5})(?:x([1-9]\d{0,5}))?', value)
    if match is None:
        raise click.BadParameter(f'{value!r} is not a size in pixels such as 256x256')
    return int(match[1]), int(match[2] or match[1])


def parse_list(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    """Turn words separated by commas into a list."""
    return None if value is None else [word for word in value.split(',') if word]


def parse_crop(ctx: click.Context, param: click.Parameter, value: str | None) -> Crop | None:
    """Turn --crop, `N`, `WxH` or `WxH+X+Y`, into a Crop."""
    if value is None:
        return None
    match = re.fullmatch(r'([1-9]\d{0,5})(?:x([1-9]\d{0,5}))?(?:\+(\d{1,6})\+(\d{1,6}))?', value)
    if match is None:
        raise click.BadParameter(f'{value!r} is not a rectangle such as 140, 140x178 or 128x128+25+57')
    left, top = (None, None) if match[3] is None else (int(match[3]), int(match[4]))
    return Crop(int(match[1]), int(match[2] or match[1]), left, top)
