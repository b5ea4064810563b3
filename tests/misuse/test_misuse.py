"""Every case of the corpus ends with its status and one line, without a traceback, and leaves every folder as it was."""

import tempfile

import corpus
import pytest
import world

from training import training_loop


@pytest.fixture(scope='module')
def here(tmp_path_factory):
    """The folder where all cases run, which has the user's home, caches and temporary files, too."""
    root = tmp_path_factory.mktemp('misuse')
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in (('HOME', 'home'), ('DNNLIB_CACHE_DIR', 'home/cache'), ('TMPDIR', 'tmp')):
            patch.setenv(name, str(root / folder))
            (root / folder).mkdir()
        patch.setattr(tempfile, 'tempdir', str(root / 'tmp'))
        for name in ('MPLCONFIGDIR', 'TORCHINDUCTOR_CACHE_DIR'):  # of libraries, which make them when they are imported
            patch.setenv(name, str(tmp_path_factory.mktemp('libraries')))
        world.make(root)
        patch.chdir(root)
        patch.setattr(training_loop, 'training_loop', begins_to_train)
        yield root


def begins_to_train(*args, **kwargs):
    pytest.fail('it begins to train')


@pytest.mark.parametrize('path', corpus.CORPUS, ids=lambda path: path.stem)
def test_misuse_ends_in_one_line_and_leaves_nothing(path, here):
    wrong = [f'{case.place}: $ {case.command}\n  {trouble}' for case in corpus.cases(path) for trouble in troubles(case, here)]
    assert not wrong, '\n'.join(wrong)


def troubles(case, root):
    """What is wrong with how a case ends."""
    before = corpus.contents(root)
    try:
        status, _, err = corpus.run(case.command)
    except Exception as error:
        yield f'traceback: {error!r}'
        return
    *usage, last = err.splitlines() or ['']
    if (status, last.startswith('Error: '), case.says in last) != (case.status, True, True):
        yield f'{status} {last}'
    if usage and not usage[0].startswith('Usage: '):
        yield f'more than one line: {usage}'
    after = corpus.contents(root)
    if after != before:
        yield f'left or changed: {sorted(set(after.items()) ^ set(before.items()))[:4]}'


def test_there_are_cases_of_every_command():
    commands = [command for path in corpus.CORPUS for case in corpus.cases(path)
                for command in [name for name in corpus.PROGRAMS if case.command.startswith(name)]]
    assert len(commands) >= 150 and set(commands) == set(corpus.PROGRAMS)
    subcommands = {case.command.split()[1] for path in corpus.CORPUS for case in corpus.cases(path)
                   if case.command.startswith('generate.py ')}
    assert {'mix', 'video', 'domains', 'project', 'translate', 'traverse', 'explore'} <= subcommands
