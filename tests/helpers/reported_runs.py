"""Run directories, made by hand, for the page that reports them; and what a browser would find in that page."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
VOID = {'meta', 'img', 'input'}  # elements that have no end


def value(mean):
    return dict(num=1, mean=mean, std=0.0)


def evaluation(key, result, kimg):
    return dict(results={key: result}, snapshot_pkl=f'network-snapshot-{kimg:06d}.pkl')


def write_run(path: Path, ticks: int = 6, snapshots: int = 3, kimg_per_tick: float = 4.0, **options) -> Path:
    """A run of `ticks` ticks with pictures of two domains, 8x8 cells of 8x8 pixels, a metric and a session."""
    path.mkdir(parents=True)
    names = ['Loss/scores/real', 'Loss/scores/fake', 'Loss/signs/real', 'Loss/G/logistic', 'Loss/G/sparse', 'Loss/D/r1',
             'Loss/G/loss', 'Loss/D/loss',
             'Timing/sec_per_kimg', 'Timing/total_sec', 'Resources/cpu_mem_gb', 'Progress/style_dims']
    lines = [{'Progress/kimg': value(kimg_per_tick * (i + 1)), 'Progress/augment': value(0.1 * (i % 4)),
              'timestamp': 1.8e9 + 60 * i,
              **{name: value(1 + (i * j) % 7) for j, name in enumerate(names)}} for i in range(ticks)]
    write_lines(path / 'stats.jsonl', lines)
    total = kimg_per_tick * ticks
    kimgs = [round(total * (i + 1) / snapshots) for i in range(snapshots)]
    write_lines(path / 'metric-kid.jsonl', [evaluation('kid', 1 / k, k) for k in kimgs])
    write_lines(path / 'importance.jsonl', [dict(kimg=k, importance=[0.5, 0.01 * i]) for i, k in enumerate(kimgs)])
    write_lines(path / 'sessions.jsonl', [dict(
        kimg=0.0, command=['train.py', '--outdir=runs', '--gamma=2', '--resume=latest', '--desc', 'x'],
        revision='abc123', changed=True,
        device='Some GPU', ranks=2, labels=2, one_hot=True, domains=['red', 'green'], packages={'torch': '2.13.0'})])
    (path / 'training_options.json').write_text(json.dumps(dict(dict(
        total_kimg=total, training_set_kwargs=dict(resolution=8), grid_by_domain=True, loss_kwargs=dict(gamma=2)), **options)))
    pixels = np.arange(64 * 64 * 3, dtype=np.int64).reshape(64, 64, 3)
    for k in kimgs:
        PIL.Image.fromarray((pixels * (k + 3) % 256).astype(np.uint8)).save(path / f'fakes{k:06d}.png')
        (path / f'network-snapshot-{k:06d}.pkl').touch()
    PIL.Image.fromarray((pixels % 256).astype(np.uint8)).save(path / 'reals.png')
    return path


def write_lines(path: Path, records: list) -> None:
    path.write_text(''.join(json.dumps(record) + '\n' for record in records))


class Elements(HTMLParser):
    """The elements of a page, as (tag, attributes). Fails if they are not properly nested."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not self._open or self._open[-1] not in ('script', 'style'):
            self.texts.append(data)

    def of(self, tag: str, **attributes) -> list[dict]:
        """Attributes of all elements of this kind that have these."""
        wanted = {name.rstrip('_'): value for name, value in attributes.items()}
        return [attrs for name, attrs in self.found if name == tag and wanted.items() <= attrs.items()]

    @property
    def text(self) -> str:
        return ' '.join(' '.join(self.texts).split())
