"""The page: self-contained HTML. All text from files is escaped here."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import posixpath
import time
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from training.run.records import number
from training.run.report.facts import Facts, differences, short_names, utc
from training.run.report.grids import Kind

HERE = Path(__file__).parent
STATES = {'complete': 'Complete', 'failed': 'Failed', 'stopped': 'Stopped early, everything saved', 'training': 'In training'}
MOST_ROWS = 30  # of the table of snapshots, the newest
PLOTS = 'uPlot 1.6.31, © 2022 Leon Sorokin, MIT licence'  # draws the curves; uplot/ has it as published on npm


def page(runs: Sequence[Facts], grids: Sequence[Sequence[Kind]], charts: Sequence[Mapping[str, Any]]) -> str:
    """The report of one run, or of several beside each other. grids: of each run."""
    several = len(runs) > 1
    title = f'{len(runs)} runs' if several else runs[0].run.name
    names = short_names(runs) if several else ['']
    body = [_header(title, runs, names)]
    body += [_findings(facts, name) for facts, name in zip(runs, names, strict=True)]
    body += [_comparison(runs, names)] if several else [_tiles(runs[0])]
    body += [_section('Samples', f'<div class="runs{" several" if several else ""}">' + ''.join(
        _pictures(of_run, name, facts.folder) for facts, of_run, name in zip(runs, grids, names, strict=True)) + '</div>')]
    body += [_charts(charts)]
    body += [_details_of(facts, name) for facts, name in zip(runs, names, strict=True)]
    scripts = [_own_file('uplot/uPlot.iife.min.js'), _own_file('page.js')]
    digests = ' '.join(f"'sha256-{_digest(script)}'" for script in scripts)
    data = dict(runs=names, charts=charts)
    return ''.join([
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n',
        # Fetch nothing and run no other script, even if unescaped text from a file slips through.
        f'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; style-src \'unsafe-inline\'; '
        f'script-src {digests}; base-uri \'none\'; form-action \'none\'">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n',
        f'<title>{_text(title)}</title>\n<style>{_own_file("uplot/uPlot.min.css")}\n{_own_file("page.css")}</style>\n',
        f'<!-- Plots: {PLOTS} -->\n</head><body>\n', '\n'.join(body),
        f'\n<script type="application/json" id="data">{script_json(data)}</script>\n',
        *(f'<script>{script}</script>\n' for script in scripts), '</body></html>\n'])


def script_json(value: Any) -> str:
    """JSON that cannot end the script element."""
    text = json.dumps(value, separators=(',', ':'), allow_nan=False)
    return text.replace('&', '\\u0026').replace('<', '\\u003c').replace('>', '\\u003e')


@cache
def _own_file(name: str) -> str:
    """A file of this folder, read once when the run begins, because the checkout may change later."""
    return (HERE / name).read_text(encoding='utf-8')


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _text(value: Any) -> str:
    return html.escape(str(value))


def _link(folder: str, file: str) -> str:
    return _text('./' + urllib.parse.quote(posixpath.normpath(f'{folder}/{file}')))


def _section(title: str, content: str) -> str:
    return f'<section><h2>{_text(title)}</h2>{content}</section>' if content else ''


def _folded(title: str, content: str) -> str:
    return f'<details><summary>{_text(title)}</summary>{content}</details>' if content else ''


def _table(rows: Iterable[Sequence[Any]], head: Sequence[Any] = ()) -> str:
    """The first cell of each row is its heading."""
    top = f'<thead><tr>{"".join(f"<th>{_text(cell)}</th>" for cell in head)}</tr></thead>' if head else ''
    body = ''.join(f'<tr><th>{_text(row[0])}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in row[1:])}</tr>' for row in rows)
    return f'<div class="wide{" numbers" if head else ""}"><table>{top}<tbody>{body}</tbody></table></div>' if body else ''


def _time(seconds: float) -> str:
    """A moment, which page.js turns into local time."""
    text = utc(seconds)
    return f'<time datetime="{text[:-4].replace(" ", "T")}Z">{text}</time>' if text else ''


def _header(title: str, runs: Sequence[Facts], names: Sequence[str]) -> str:
    lines = []
    for i, facts in enumerate(runs):
        share = min(facts.run.kimg / facts.total_kimg, 1) if facts.total_kimg > 0 else 0
        name = f'<i class="dot" data-run="{i}"></i><b>{_text(names[i])}</b> {_text(facts.given)}' if len(runs) > 1 else ''
        last = f', last tick {_time(facts.run.ticks.values[-1])}' if facts.run.ticks.values else ', no tick yet'
        state = facts.state()
        lines.append(f'<div class="state {state}">{name}<span class="badge">{STATES[state]}</span>'
                     f'<progress max="1" value="{share:.4f}"></progress><span>{share:.0%}{last}</span></div>')
    return f'<header><h1>{_text(title)}</h1>{"".join(lines)}<p class="muted">Written {_time(time.time())}</p></header>'


def _findings(facts: Facts, name: str) -> str:
    """The warnings of the run, and the error that ended it."""
    lines = [(f'Ended by: {facts.log.error}', 1)] if facts.log.error is not None else []
    lines += reversed(facts.log.newest_findings())
    items = ''.join(f'<li>{_text(line)}{f" <b>×{count}</b>" if count > 1 else ""}</li>' for line, count in lines)
    return _section(f'To look at: {name}' if name else 'To look at', f'<ul class="findings">{items}</ul>' if items else '')


def _tiles(facts: Facts) -> str:
    tiles = ''.join(f'<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>' for name, value in facts.key_figures().items())
    return f'<dl class="tiles">{tiles}</dl>'


def _comparison(runs: Sequence[Facts], names: Sequence[str]) -> str:
    """Key figures and settings, a column for each run."""
    figures = [facts.key_figures() | facts.last_metrics() for facts in runs]
    rows = [(title, *(of_run.get(title, '–') for of_run in figures)) for title in dict.fromkeys(t for f in figures for t in f)]
    different = differences([facts.settings() for facts in runs])
    settings = _table([(setting, *values) for setting, values in different.items()], ['', *names])
    return _section('Side by side', _table(rows, ['', *names])) + _section(
        'Settings that differ', settings or '<p class="muted">None.</p>')


def _pictures(kinds: Sequence[Kind], name: str, folder: str) -> str:
    """The pictures of one run: those over time with a slider, and beside them the current ones. Each links to its file in
    `folder`."""
    cards = []
    for kind in kinds:
        captions = ''.join(f'<span>{_text(caption)}</span>' for caption in kind.captions)
        captions = f'<div class="captions">{captions}</div>' if captions else ''
        last = len(kind.frames) - 1
        frames = ''.join(f'<figure class="frame" data-kimg="{kimg}"{"" if i == last else " hidden"}>{captions}'
                         f'<a href="{_link(folder, picture.file)}">{picture.img(f"{kind.title}, {kimg} kimg")}</a></figure>'
                         for i, (kimg, picture) in enumerate(kind.frames))
        slider = (f'<div class="slide"><input type="range" min="0" max="{last}" value="{last}" aria-label="Thousands of images">'
                  '<output></output></div>') if last > 0 else ''
        cards.append(f'<div class="card kind"><h3>{_text(kind.title)}</h3><p class="muted">{_text(kind.note)}</p>'
                     f'{slider}<div class="frames">{frames}</div></div>')
    if not cards:
        return ''
    heading = f'<h3 class="run">{_text(name)}</h3>' if name else ''
    return f'<div>{heading}<div class="pictures">{"".join(cards)}</div></div>'


def _charts(charts: Sequence[Mapping[str, Any]]) -> str:
    """Places for the charts, under the headings of their groups."""
    groups: dict[str, list[int]] = {}
    for i, chart in enumerate(charts):
        groups.setdefault(chart['group'], []).append(i)
    if not charts:
        return ''
    note = '<p class="muted charts-note">Charts run over thousands of images. Drag to zoom in, double-click to zoom out.</p>'
    return note + ''.join(_section(group, '<div class="charts">' + ''.join(
        f'<div class="card chart" data-chart="{i}"><h3>{_text(charts[i]["title"])}</h3></div>' for i in indices) + '</div>')
        for group, indices in groups.items())


def _details_of(facts: Facts, name: str) -> str:
    """Snapshots, how to continue, options, environment."""
    content = ''.join([
        _section('Snapshots', _snapshots(facts)), _section('Continue and use', _commands(facts)),
        '<div class="halves">', _section('Configuration', _configuration(facts)),
        _section('Environment', _table(facts.environment().items())), '</div>',
        _folded('All settings (training_options.json)', _table(facts.settings().items())),
        _folded(f'Sessions ({len(facts.sessions)})', _sessions(facts))])
    return f'<details class="run"><summary>{_text(f"{name}: {facts.run.name}")}</summary>{content}</details>' if name else content


def _snapshots(facts: Facts) -> str:
    """Each with what metrics found; the best is marked."""
    keys = [key for keys in facts.run.keys.values() for key in keys][:12]
    values = {key: dict(zip(facts.run.metrics[key].kimg, facts.run.metrics[key].values, strict=True)) for key in keys}
    best = facts.best['snapshot_pkl'] if facts.best else None
    snapshots = facts.snapshots()
    rows = [(f'{kimg} kimg{" ★ best" if name == best else ""}', name,
             *(f'{value:.4g}' if (value := values[key].get(kimg)) is not None else '–' for key in keys))
            for kimg, name in reversed(snapshots) if name == best or (kimg, name) in snapshots[-MOST_ROWS:]]
    return _table(rows, ['', 'file', *keys])


def _commands(facts: Facts) -> str:
    return ''.join(f'<p>{title}</p><pre>{_text(command)}</pre>' for title, command in facts.commands().items())


def _configuration(facts: Facts) -> str:
    """The given options."""
    given = ''.join(f'<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>' for name, value in facts.given_options().items())
    return f'<p class="muted">Options given; all others have their defaults.</p><dl class="options">{given}</dl>' if given else ''


def _sessions(facts: Facts) -> str:
    """Each start of the run."""
    rows = [(utc(number(s.get('started'))), s.get('kimg'), ' '.join(map(str, s['command'])), str(s.get('revision', ''))[:10])
            for s in facts.sessions]
    return _table(rows, ['', 'from kimg', 'command', 'revision'])
