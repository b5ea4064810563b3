"""A working directory for the commands of a page. What they take is put there under the page's own names, and is small."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from glob import glob
from pathlib import Path

import numpy as np
import PIL.Image

from helpers.documented import ROOT, Command, run

SMALL = {  # options that do not change the names of runs
    'train.py': '--cbase=64 --cmax=16 --z-dim=16 --map-depth=1 --workers=1 --metrics=none --device=cpu',
    'calc_metrics.py': '--device=cpu',
    'generate.py': '--device=cpu',
    '-m training.encoder': '--device=cpu --kimg=0.1',
    '-m training.calibration': '--device=cpu --num=20',
    'docs/experiments/identifiability/supervised.py': '--images=500 --epochs=1',
}
RUNS = {  # the kinds of networks that are there
    'plain': '--post-hoc-ema=1',
    'cond': '--cond=1',
    'domains': '--method=cg-gan,clr-gan --i-dim=8',
}
CHARACTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789ΓΔΘΛΞΠΣΦΨΩ'
INPUTS = ('--data', '--eval-data', '--images', '--source', '--check', '--target')  # options that name images
PLACEHOLDERS = r'\$PKL|<snapshot>|NETWORK|…|\.\.\.'
RUN_NAME = r'runs/(\d{5})-[^/]+'


def written_in_pages() -> dict[str, str]:
    """{file: text} of what the pages let their reader write: a method, networks, options."""
    method, networks, configuration = ((ROOT / 'docs' / page).read_text(encoding='utf-8')
                                       for page in ('adding-a-method.md', 'own-networks.md', 'configuration.md'))
    options = re.search(r'## The file\n\n((?: {4}.*\n)+)', configuration)[1]
    return {**dict(re.findall(r'`(my_method/\w+\.py)`.*?```python\n(.*?)```', method, re.S)),
            **dict(re.findall(r'`(dcgan\.py)`.*?```python\n(.*?)```', networks, re.S)),
            'faces.yaml': re.sub('^    ', '', options, flags=re.M)}


def write_text(path: Path | str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding='utf-8')


class Templates:
    """A dataset of letters in three typefaces, and runs of the few steps after which train.py is made to stop. Each is made when
    it is first needed."""

    def __init__(self, folder: Path):
        self.folder, self.data = folder, folder / 'data.zip'

    def images(self) -> Path:
        if not self.data.exists():
            write_text(self.folder / 'letters.txt', CHARACTERS)
            done(run('dataset_tool.py', ['--source=glyphs', f'--chars={self.folder / "letters.txt"}', '--paired', '--mode=rgb',
                                         '--resolution=16x16', '--workers=1', f'--dest={self.data}']))
        return self.data

    def run_dir(self, kind: str) -> Path:
        """kind: of RUNS."""
        if not (self.folder / kind).exists():
            done(run('train.py', [f'--data={self.images()}', f'--outdir={self.folder / "runs"}', *SMALL['train.py'].split(),
                                  *RUNS[kind].split()]))
            max((self.folder / 'runs').glob('*')).rename(self.folder / kind)
        return self.folder / kind


def done(result: tuple[int, str]) -> None:
    assert result[0] == 0, result[1][-2000:]


class Place:
    """The working directory, which is the current one. put: what was put there, by its name."""

    def __init__(self, templates: Templates):
        self.templates, self.put = templates, set()
        for name, text in written_in_pages().items():
            write_text(name, text)
        write_text('letters.txt', CHARACTERS[:24])

    def arguments(self, command: Command) -> list[str]:
        """The arguments of a command as they are here, with more of them that make it short. Later ones win."""
        words = [word for word in command.args if not word.startswith('--fonts=...')]
        for word in words:
            option, _, value = word.partition('=')
            if option in INPUTS and not Path(value).exists():
                self.put_images(value)
        words = [new for word in words for new in self.as_it_is_here(word, command)]
        return [*words, *shortening(command)]

    def as_it_is_here(self, word: str, command: Command) -> list[str]:
        """A network by its name here; a pattern of several, as the shell expands it."""
        option, _, value = word.partition('=')
        if option in ('--network', '--resume', '--like'):
            return [f'{option}={path}' for path in self.networks(value, command)]
        return self.networks(word, command) if word.startswith(('runs/', '<run>')) else [word]

    def networks(self, value: str, command: Command) -> list[str]:
        """Snapshots and run directories. A run of the page is found by its number, and its newest snapshot: the page has other
        options, or leaves out a part of the name."""
        if value == '<run>':
            value = 'runs/00000-faces-auto1'
        if value.endswith('*'):
            return glob(value) or self.networks(value.replace('*', 'mnist-cond-auto1'), command)
        if re.fullmatch(PLACEHOLDERS, value) or (re.match(r'(glyphs|two-color-mnist)/', value) and self.compares(command)):
            value = 'network.pkl'
        if not (number := re.match(RUN_NAME, value)):
            if value.endswith('.pkl') and not Path(value).exists():
                self.put_network(value, command)
            return [value]
        run_dir = next(Path('runs').glob(f'{number[1]}-*'), None) or self.put_run(Path(number[0]))
        newest = max(run_dir.glob('network-snapshot-*.pkl')).name
        return [re.sub(r'network-snapshot-.*\.pkl', newest, value.replace(number[0], str(run_dir)))]

    def compares(self, command: Command) -> bool:
        """Whether images that were put here, which networks of models/ do not draw, are among the arguments."""
        return any(word.partition('=')[2] in self.put for word in command.args)

    def put_network(self, path: str, command: Command) -> None:
        """The page's own newest one; else one without labels, for faces and the published programs, or with domains."""
        own = [found for found in glob('runs/*/network-snapshot-*.pkl') if Path(found).parts[1] not in self.put]
        kind = 'plain' if {'--to=stylegan2-ada', '--outdir=faces'} & set(command.args) else 'domains'
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(max(own) if own else max(self.templates.run_dir(kind).glob('network-snapshot-*.pkl')), path)
        self.put.add(path)

    def put_run(self, path: Path) -> Path:
        """A run without labels, or with them."""
        shutil.copytree(self.templates.run_dir('cond' if '-cond' in path.name else 'plain'), path)
        options = json.loads((path / 'training_options.json').read_text())
        options['options'] = dict(outdir='runs', data=str(self.templates.images()), mirror=True)
        write_text(path / 'training_options.json', json.dumps(options))
        self.put.add(path.name)
        return path

    def put_images(self, path: str) -> None:
        """A photograph, a folder of twelve, or the letters."""
        if path in ('glyphs', 'synthetic', 'mnist', 'mnist-test', 'emoji'):
            return
        rng = np.random.default_rng(0)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(('.jpg', '.png')):
            PIL.Image.fromarray(rng.integers(0, 256, (150, 140, 3), dtype=np.uint8)).save(path)
        elif path.endswith('.zip'):
            shutil.copy(self.templates.images(), path)
        elif path == 'photos':
            for i in range(12):
                self.put_images(f'photos/{i}.jpg')
        else:
            zipfile.ZipFile(self.templates.images()).extractall(path)
        self.put.add(path)


def shortening(command: Command) -> list[str]:
    """Options that keep a command from taking long."""
    text, program = ' '.join(command.args), command.program
    more = SMALL.get(program, '').split()
    if '--help' in text:
        return []
    if program == 'train.py' and re.search('i-stylegan|cg-gan|csdi|cond_mode=flow', text):
        more += ['--i-dim=8']
    if program == 'dataset_tool.py' and '--check' not in text:
        more += ['--workers=1', '--resolution=16x16'] if '=glyphs' not in text else ['--workers=1', '--chars=letters.txt']
        more += ['--resolution=16x16', '--mode=rgb', '--chars=common'] if '--fonts=...' in text else []
        more += ['--max-images=2100', '--domains=3'] if '=synthetic' in text else []
    if program == 'calc_metrics.py':
        number = 200 if 'identifiability' in text else 120 if '=nn' in text else 12
        more += [f'--num={number}'] if '=jacobian' not in text else []
        more += ['--steps=1'] if re.search('truth|tfid|translation', text) else []
    return more + {'project': ['--num-steps=2'], 'translate': ['--steps=1'],
                   'video': ['--w-frames=2']}.get(' '.join(command.args[:1]), [])
