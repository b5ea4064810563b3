"""docs/first-hour.ipynb: its cells are run in this process, shortened, without Jupyter; and the outputs in it are whole."""

import base64
import json
import os
import re
import sys
import types
from pathlib import Path

import PIL.Image
import pytest
from helpers.documented import ROOT, parse_line, run, stop_runs_after

NOTEBOOK = ROOT / 'docs' / 'first-hour.ipynb'
SHORT = dict(KIMG=1, METRICS='jacobian', STEPS=2)
LARGEST = 1 << 20  # bytes of the file


def cells():
    """(source, tags, outputs) of the code cells."""
    return [(''.join(cell['source']), cell['metadata'].get('tags', []), cell['outputs'])
            for cell in json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells'] if cell['cell_type'] == 'code']


class Session:
    """Runs cells as IPython does: `!command {variable}` is given to `shell`; displayed pictures are opened."""

    def __init__(self, monkeypatch, shell):
        self.names, self.pictures = {'shell': shell}, []
        stand_in = types.ModuleType('IPython.display')
        stand_in.Image = lambda filename, width: PIL.Image.open(filename).size
        stand_in.display = lambda *sizes: self.pictures.extend(sizes)
        monkeypatch.setitem(sys.modules, 'IPython.display', stand_in)
        monkeypatch.setenv('PATH', os.environ['PATH'])  # which the notebook changes

    def run(self, source):
        exec(re.sub(r'^( *)!(.*)$', r"\1shell(f'''\2''')", source, flags=re.M), self.names)


def run_line(line):
    command = parse_line(line)
    status, out = run(command.program, command.args)
    assert status == 0, f'{line}\n{out[-2000:]}'


def test_it_runs_from_the_first_cell_to_the_last(tmp_path, monkeypatch):
    (tmp_path / 'train.py').touch()  # as in a clone
    monkeypatch.chdir(tmp_path)
    stop_runs_after(2, monkeypatch)
    session = Session(monkeypatch, run_line)
    for source, tags, _ in cells():
        session.run(source)
        session.names.update(SHORT if 'parameters' in tags else {})
    assert len(session.pictures) == 6 and Path('datasets/glyphs.zip').is_file()
    assert {path.name.split('-')[0] for path in session.names['RUN'].glob('metric-*.jsonl')} == {'metric'}
    assert SHORT.keys() <= session.names.keys()


def test_elsewhere_it_clones_and_keeps_what_is_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = []

    def shell(line):
        lines.append(line)
        if line.startswith('git clone'):
            Path(line.split()[-1]).mkdir()
            Path(line.split()[-1], 'requirements.txt').write_text((ROOT / 'requirements.txt').read_text())

    session = Session(monkeypatch, shell)
    parameters, first = (source for source, _, _ in cells()[:2])
    session.run(parameters)
    with pytest.raises(ValueError, match='set REPOSITORY'):
        session.run(first)
    session.names['REPOSITORY'] = 'https://example.org/project.git'
    session.run(first)
    assert lines[0] == 'git clone --quiet --depth=1 https://example.org/project.git project' and Path.cwd().name == 'project'
    assert re.fullmatch(r'pip install --quiet( [\w-]+)+', lines[1]) and {'torch', 'numpy', 'pooch'} < set(lines[1].split())


def test_it_is_committed_with_its_outputs():
    assert NOTEBOOK.stat().st_size < LARGEST
    outputs = [output for _, _, of_cell in cells() for output in of_cell]
    assert not [output for output in outputs if output['output_type'] == 'error']
    text = ''.join(''.join(output['text']) for output in outputs if output['output_type'] == 'stream')
    assert 'Error' not in text and str(Path.home()) not in text and '/tmp/' not in text
    pictures = [output['data']['image/png'] for output in outputs if 'image/png' in output.get('data', {})]
    assert len(pictures) == 6 and all(base64.b64decode(picture).startswith(b'\x89PNG') for picture in pictures)
