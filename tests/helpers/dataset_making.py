"""What the tests of dataset_tool.py share: making images, running the command, seeing it refuse."""

import json
import zipfile

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import dataset_tool
from dnnlib import UserError


def picture(i, shape=(8, 8, 3)):
    return np.random.RandomState(i).randint(0, 256, size=shape, dtype=np.uint8)


def save(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = PIL.Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)


def make_folder(root, names):
    for i, name in enumerate(names):
        save(root / name, picture(i))
    return root


def tool(*args):
    """Run the command in this process; returns what it printed. A UserError comes through."""
    result = CliRunner().invoke(dataset_tool.main, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def content(path):
    with zipfile.ZipFile(path) as z:
        return json.loads(z.read('dataset.json'))


def refused(tmp_path, message, *args):
    """The command ends with one line that contains `message`, and leaves nothing new behind."""
    before = sorted(tmp_path.rglob('*'))
    for dest in (tmp_path / 'refused.zip', tmp_path / 'refused'):
        with pytest.raises(UserError) as caught:
            tool(*args, '--dest', dest)
        assert message in str(caught.value) and '\n' not in str(caught.value)
    assert sorted(tmp_path.rglob('*')) == before
