"""The texts and tables of the page, as plain text. training.run.report.page turns them into HTML."""

from __future__ import annotations

import itertools
import json
import math
import shlex
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dnnlib.util import format_time
from training.run.records import Run, number, read_records
from training.run.report.log import Log
from training.run.sessions import FILE_NAME as SESSIONS

RECENT = 20  # ticks from which the pace is taken
OF_EVERY_RUN = ('run_dir', 'resume_', 'data_digest')  # settings that differ between any two runs, and mean nothing


class Facts:
    """run, log: as read so far. given: the run directory as the user wrote it. folder: its path relative to the page."""

    def __init__(self, run: Run, log: Log, given: str, folder: str = '.'):
        self.run, self.log, self.given, self.folder = run, log, given, folder
        self.options = run.options()
        self.sessions = [s for s in read_records(run.path / SESSIONS) if isinstance(s.get('command'), list)]
        self.best = self._best()

    @property
    def session(self) -> dict[str, Any]:
        """The last session; {} for a run of an older revision."""
        return self.sessions[-1] if self.sessions else {}

    @property
    def first_kimg(self) -> float:
        """The position at which the run began, in thousands of images."""
        kimg = number(self.sessions[0].get('kimg')) if self.sessions else 0.0
        return 0.0 if math.isnan(kimg) else kimg

    @property
    def total_kimg(self) -> float:
        return number(self.options.get('total_kimg'))

    @property
    def complete(self) -> bool:
        return self.run.kimg > 0 and self.run.kimg >= self.total_kimg

    def state(self) -> str:
        """'complete', 'failed', 'stopped' or 'training'. A killed run stays at 'training'."""
        if self.log.error is not None:
            return 'failed'
        return 'complete' if self.complete else 'stopped' if self.log.stopped else 'training'

    def domains(self) -> list[str]:
        """Names of the labels, or their numbers; [] if the run has none or nothing is known."""
        names, count = self.session.get('domains'), self.session.get('labels')
        if not self.session.get('one_hot') or not isinstance(count, int):
            return []
        if isinstance(names, list) and len(names) == count:
            return [str(name) for name in names]
        return [f'label {i}' for i in range(count)]

    def key_figures(self) -> dict[str, str]:
        """The key figures. Unknown ones are omitted."""
        pace, p = self._seconds_per_kimg(), self._last('Progress/augment')
        left = (self.total_kimg - self.run.kimg) * pace
        memory = {'process': self._last('Resources/cpu_mem_gb'), 'GPU': self._last('Resources/peak_gpu_mem_gb')}
        rows = {
            'Images seen': f'{self.run.kimg:g} of {self.total_kimg:g} kimg',
            'Speed': f'{1000 / self._last("Timing/sec_per_kimg"):.3g} img/s' if self._last('Timing/sec_per_kimg') > 0 else None,
            'Time left': format_time(left) if left > 0 and self.state() == 'training' else None,
            'Last session': format_time(seconds) if (seconds := self._last('Timing/total_sec')) > 0 else None,
            'Best snapshot': f'{self.best["kimg"]:g} kimg, {self.best["key"]} {self.best["value"]:.4g}' if self.best else None,
            'Augmentation p': f'{p:.3f}' if p > 0 else None,
            'Living style coordinates': f'{n:g}' if (n := self._last('Progress/style_dims')) >= 0 else None,
            'Memory': ', '.join(f'{name} {gib:.3g} GiB' for name, gib in memory.items() if gib > 0) or None,
            'Utilisation': f'{mfu:.1f}% of the peak' if (mfu := self._last('Timing/mfu_percent')) > 0 else None,
        }
        return {name: value for name, value in rows.items() if value is not None}

    def last_metrics(self) -> dict[str, str]:
        """The newest value of each metric, with its kimg."""
        return {key: f'{curve.values[-1]:.4g} ({curve.kimg[-1]:g} kimg)' for key, curve in self.run.metrics.items()}

    def given_options(self) -> dict[str, str]:
        """{option: value} of the given options, from training_options.json, or else from the first command line."""
        if isinstance(noted := self.options.get('options'), dict):
            return {f'--{name}'.replace('_', '-'): text for name, text in flatten(noted).items()}
        words = [str(word) for word in self.sessions[0]['command'][1:]] if self.sessions else []
        given: dict[str, str] = {}
        for i, word in enumerate(words):
            name, equals, value = word.partition('=')
            if word.startswith('--'):
                following = words[i + 1] if i + 1 < len(words) and not words[i + 1].startswith('--') else ''
                given[name.replace('_', '-')] = value if equals else following
        return given

    def commands(self) -> dict[str, str]:
        """{purpose: command} for the next steps with a run."""
        run, snapshots = shlex.quote(self.given), self.snapshots()
        if not snapshots:
            return {}
        network = shlex.quote(f'{self.given}/{self.best["snapshot_pkl"] if self.best else snapshots[-1][1]}')
        metrics = self.options.get('metrics')
        names = ','.join(map(str, metrics)) if isinstance(metrics, list) and metrics else 'fd5k_efficientnet_full'
        return {
            'Resume, exactly where it stopped' if self.sessions else 'Resume: the command of the run, and': self._resume(),
            'Draw images' + (' from the best snapshot' if self.best else ''):
                f'python generate.py --network={network} --seeds=0-15 --outdir=out',
            'Measure all snapshots': f'python calc_metrics.py --network={run} --metrics={shlex.quote(names)} --missing-only',
            'Write this page again': f'python -m training.report {run}',
        }

    def _resume(self) -> str:
        """The last command, to continue in the same directory."""
        words = [str(word) for word in self.session.get('command', ['train.py'])]
        names = ('--resume', '--resume-kimg', '--resume_kimg')
        kept = [word for before, word in zip(['', *words], words, strict=False)
                if before not in names and word.partition('=')[0] not in names]
        torchrun = self.session.get('torchrun')
        program = ['torchrun', *map(str, torchrun)] if isinstance(torchrun, list) else ['python']
        return f'{shlex.join([*program, *kept])} --resume={shlex.quote(self.given)}'

    def snapshots(self) -> list[tuple[int, str]]:
        """(kimg, file) of the network snapshots, in their order."""
        found = {path.stem.rpartition('-')[2]: path.name for path in self.run.path.glob('network-snapshot-*.pkl')}
        return sorted((int(kimg), name) for kimg, name in found.items() if kimg.isdecimal())

    def settings(self) -> dict[str, str]:
        """The configuration: {'loss_kwargs.gamma': '0.1', ...}."""
        return flatten({name: value for name, value in self.options.items() if name != 'options'})

    def environment(self) -> dict[str, str]:
        """The machine and the packages of the last session."""
        s = self.session
        packages = s.get('packages') if isinstance(s.get('packages'), dict) else {}
        rows = {
            'Revision': f'{s["revision"]}{", with changes that are not committed" if s.get("changed") else ""}'
                        if s.get('revision') else None,
            'Device': f'{s.get("ranks")} × {s.get("device")}' if s.get('device') else None,
            'Precision': s.get('precision'), 'Operators': s.get('operators'),
            'Packages': ', '.join(f'{name} {version}' for name, version in packages.items()) or None,
            'Python': s.get('python'), 'System': s.get('system'), 'Processor cores': s.get('cores'),
            'Memory of the machine': f'{s["memory_gib"]} GiB' if s.get('memory_gib') else None,
            'Images': s.get('images'), 'Image shape': s.get('image_shape'),
        }
        return {name: str(value) for name, value in rows.items() if value is not None}

    def _last(self, name: str) -> float:
        curve = self.run.curves.get(name)
        return curve.values[-1] if curve and curve.values else math.nan

    def _seconds_per_kimg(self) -> float:
        """The pace of the last ticks, with the maintenance between them. It is a median, so pauses between sessions do not
        count."""
        ticks = list(zip(self.run.ticks.kimg, self.run.ticks.values, strict=True))[-RECENT - 1:]
        paces = [(t1 - t0) / (k1 - k0) for (k0, t0), (k1, t1) in itertools.pairwise(ticks) if k1 > k0 and t1 > t0]
        return statistics.median(paces) if paces else math.nan

    def _best(self) -> dict[str, Any] | None:
        try:
            best = json.loads((self.run.path / 'best.json').read_text(encoding='utf-8'))
        except (OSError, ValueError, RecursionError):
            return None
        good = isinstance(best, dict) and isinstance(best.get('key'), str) and isinstance(best.get('snapshot_pkl'), str)
        return best if good and not math.isnan(number(best.get('kimg')) + number(best.get('value'))) else None


def utc(seconds: float) -> str:
    """A moment as '2026-11-27 13:05:09 UTC'; '' if it is none."""
    try:
        return time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return ''


def short_names(runs: Sequence[Facts]) -> list[str]:
    """Short labels of several runs: the numbers in their names, or else letters."""
    numbers = [facts.run.name.partition('-')[0] for facts in runs]
    if len(set(numbers)) == len(runs) and all(number.isdecimal() for number in numbers):
        return numbers
    return [chr(ord('A') + i) if i < 26 else str(i) for i in range(len(runs))]


def differences(all_settings: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """{setting: its value in each run} for settings that differ; '' if a run does not have the setting."""
    names = dict.fromkeys(name for settings in all_settings for name in settings if not name.startswith(OF_EVERY_RUN))
    rows = {name: [settings.get(name, '') for settings in all_settings] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def flatten(value: Any, prefix: str = '') -> dict[str, str]:
    """Nested settings as one table."""
    if isinstance(value, dict) and value and len(prefix) < 200:
        inner = [flatten(each, f'{prefix}.{key}' if prefix else str(key)) for key, each in value.items()]
        return {name: text for settings in inner for name, text in settings.items()}
    return {prefix: value if isinstance(value, str) else json.dumps(value)}
