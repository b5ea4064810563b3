"""Code of the user's own by path or dotted name: imported once, found again by other processes, refused in one line."""

import pickle
import subprocess
import sys
from typing import Protocol

import pytest

from dnnlib import plugins
from dnnlib.errors import UserError

CODE = '''
from fractions import Fraction
class Thing:
    def __init__(self, size): self.size = size
    def __reduce__(self):
        from dnnlib import plugins
        return plugins.remake, (plugins.location(type(self)), self.__dict__)
class _Hidden: pass
counted = []
'''


@pytest.fixture
def file(tmp_path):
    (tmp_path / 'my-code.py').write_text(CODE)
    return tmp_path / 'my-code.py'


def test_a_file_is_imported_once_however_its_path_is_written(file, monkeypatch):
    module = plugins.load_module(file)
    monkeypatch.chdir(file.parent)
    assert plugins.load_module('my-code.py') is plugins.load_module(f'{file.parent}/../{file.parent.name}/my-code.py') is module
    assert plugins.load_object('my-code.py:Thing') is module.Thing
    assert sys.modules[plugins.module_name(file)] is module


def test_files_of_one_name_are_different_modules(tmp_path):
    for folder in 'ab':
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'x.py').write_text(f'where = "{folder}"')
    assert [plugins.load_object(f'{tmp_path}/{folder}/x.py:where') for folder in 'ab'] == ['a', 'b']


def test_files_of_a_folder_import_each_other(tmp_path):
    (tmp_path / '__init__.py').write_text('from .other import value')
    (tmp_path / 'other.py').write_text('value = 7')
    assert plugins.load_module(tmp_path).value == 7


def test_dotted_names():
    from fractions import Fraction
    assert plugins.load_object('fractions.Fraction') is Fraction


@pytest.mark.parametrize('name, text', [
    ('no_such_package.X', 'cannot be imported'), ('X', 'cannot be imported'), ('fractions.X', 'fractions has no X'),
    ('no/such.py:X', 'neither a .py file nor a folder'), ('{file}:X', 'has no X'), ('{file.parent}:X', 'neither a .py file')])
def test_what_is_not_there_is_one_line(file, name, text):
    with pytest.raises(UserError) as caught:
        plugins.load_object(name.format(file=file))
    assert text in str(caught.value) and '\n' not in str(caught.value)


def test_an_error_in_the_code_is_its_own_and_the_next_import_tries_again(tmp_path):
    path = tmp_path / 'x.py'
    path.write_text('1 / 0')
    with pytest.raises(ZeroDivisionError):
        plugins.load_module(path)
    path.write_text('y = 10')
    assert plugins.load_module(path).y == 10


def test_names_of_a_class_in_files(file):
    thing = plugins.load_object(f'{file}:Thing')
    assert plugins.public_name(thing) == 'my-code.Thing'
    assert plugins.location(thing) == f'{file.resolve()}:Thing' == plugins.absolute(plugins.location(thing))
    assert plugins.load_object(plugins.location(thing)) is thing
    assert plugins.public_name(UserError) == plugins.location(UserError) == 'dnnlib.errors.UserError'
    assert plugins.absolute('dnnlib.errors.UserError') == 'dnnlib.errors.UserError'


def test_absolute_paths_do_not_depend_on_the_working_directory(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert plugins.absolute('my-code.py:Thing') == f'{file.resolve()}:Thing'


def test_the_public_classes_that_a_file_defines(file):
    assert [cls.__name__ for cls in plugins.classes_in(plugins.load_module(file))] == ['Thing']


def test_another_process_unpickles_an_instance(file, tmp_path):
    path = tmp_path / 'thing.pkl'
    path.write_bytes(pickle.dumps(plugins.load_object(f'{file}:Thing')(5)))
    code = 'import pickle, sys; print(pickle.load(open(sys.argv[1], "rb")).size)'
    assert subprocess.check_output([sys.executable, '-c', code, str(path)], text=True) == '5\n'


class Inner(Protocol):
    depth: int


class Wanted(Protocol):
    size: int
    inner: Inner

    def draw(self, x: int, mode: str) -> int:
        """Some method."""

    def __len__(self) -> int:
        """Some length."""


class Complete:
    def __init__(self):
        self.size, self.inner, self.inner.depth = 1, type('', (), {})(), 2

    def draw(self, x, mode='a'):
        return x

    def __len__(self):
        return 0


def test_what_an_object_lacks_of_a_protocol():
    value = Complete()
    assert plugins.lacks(value, Wanted) == []
    value.draw = lambda x, **kwargs: x
    assert plugins.lacks(value, Wanted) == []
    value.draw = lambda x: x
    del value.size, value.inner.depth
    assert plugins.lacks(value, Wanted) == ['size', 'inner.depth', 'draw(mode)']
    assert plugins.lacks(object(), Wanted) == ['size', 'inner', 'draw()', '__len__()']
