"""`generate.py project` goes on after kill -9 and signals, to the same bytes, and never with another projection's state."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import drawing
from helpers.projecting import QUICK, Quick, enter, npz, picture, run, written

from dnnlib import files, seal
from training.sampling.commands import project
from training.sampling.projection import search_state as state
from training.sampling.projection.search import Projection

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """Unconditional, 16x16, RGB."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'net.pkl', 0)


def test_after_kill_9_it_goes_on_and_ends_with_the_same_bytes(network):
    steps, options = 25, ['--device=cpu', '--save-video=0', '--num-steps=25']
    run(network, f'--num-steps={steps}', '--save-video=0', outdir='whole')
    code = ('import torch; torch.set_num_threads(1)\n'
            'from training.sampling.commands import project; project.SAVE_SECONDS = 0\n'  # after every step
            'import generate; generate.main()')
    process = subprocess.Popen([sys.executable, '-c', code, 'project', f'--network={network}', '--target=target.png',
                                '--outdir=out', *options], env={**os.environ, 'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE)
    try:
        while saved_step() < 5:
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.kill()
        process.communicate()
    at = saved_step()
    assert 5 <= at < steps and not Path('out/projected_w.npz').exists() and process.returncode == -signal.SIGKILL
    Path('out/.projection-state.pt.x.tmp').write_bytes(b'half')
    out = run(network, f'--num-steps={steps}', '--save-video=0')
    assert f'Resuming after step {at} of {steps}' in out.splitlines()
    assert npz() == npz('whole') and written() == ['proj.png', 'projected_w.npz', 'target.png']


def saved_step():
    path = Path('out', state.FILE_NAME)
    return torch.load(path, weights_only=True)['projection']['step'] if path.exists() else -1


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(project, 'Features', Quick)


@pytest.fixture
def stopping(monkeypatch, quick):
    """stopping(k, signal): the next run gets the signal at its k-th step."""
    advance = Projection.advance

    def prepare(at, signum):
        def advance_and_signal(self):
            if self.step == at - 1:
                monkeypatch.setattr(Projection, 'advance', advance)
                os.kill(os.getpid(), signum)
            return advance(self)
        monkeypatch.setattr(Projection, 'advance', advance_and_signal)

    return prepare


def stop_early(network, stopping, *args, at=2, signum=signal.SIGTERM):
    stopping(at, signum)
    out = run(network, '--save-video=0', *args)
    assert written() == [state.FILE_NAME]
    return out


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_says_how_to_go_on(network, stopping, signum):
    out = stop_early(network, stopping, '--num-steps=5', at=3, signum=signum)
    assert out.splitlines()[-1] == 'Stopped after step 3 of 5, which is saved. To continue, repeat the same command'
    assert 'Resuming after step 3 of 5' in run(network, '--num-steps=5', '--save-video=0')
    run(network, '--num-steps=5', '--save-video=0', outdir='whole')
    assert npz() == npz('whole') and written() == written('whole')
    assert 'Resuming' not in run(network, '--num-steps=5', '--save-video=0'), 'it was finished, and begins anew'


def test_a_video_may_be_asked_for_when_it_goes_on(network, stopping):
    pytest.importorskip('imageio_ffmpeg')
    stop_early(network, stopping, '--num-steps=4')
    assert 'Resuming' in run(network, '--num-steps=4') and 'proj.mp4' in written()


@pytest.mark.parametrize('what', ['--seed', '--num-steps', '--target', 'network', '--class', '--features'])
def test_the_state_of_another_projection_is_not_mixed_in(network, stopping, what, tmp_path_factory, monkeypatch):
    if what == '--class':
        network = drawing.save_network('two.pkl', 2)
    changed = network
    options = {'--num-steps': 4, '--seed': 0, '--class': 0}
    stop_early(network, stopping, *(f'{name}={value}' for name, value in options.items()))
    if what in options:
        options[what] = options[what] + 1
    elif what == '--target':
        picture(16, 20).save('target.png')
    elif what == 'network':
        changed = drawing.save_network('other.pkl', 0, importance=None, z_dim=9)
    else:
        digest = project.module_digest
        monkeypatch.setattr(project, 'module_digest', lambda net: digest(net) + net.__class__.__name__[:1])
        what = 'network, --features'  # other weights of either
    arguments = ['--save-video=0', *(f'{name}={value}' for name, value in options.items())]
    out = run(changed, *arguments)
    expected = f'out/{state.FILE_NAME} is of another projection ({what}: not the same); starting from the beginning'
    assert expected in out.splitlines()
    run(changed, *arguments, outdir='fresh')
    assert npz() == npz('fresh') and written() == written('fresh')


def test_a_copy_of_the_network_is_the_same_network(network, stopping):
    stop_early(network, stopping, '--num-steps=3')
    Path('copy.pkl').write_bytes(network.read_bytes())
    picture(20, 16).save('copy.bmp')
    assert 'Resuming after step 2 of 3' in run('copy.pkl', '--num-steps=3', '--save-video=0', target='copy.bmp')


@pytest.mark.parametrize('damage', [lambda data: data[:-300], lambda data: data[:200] + b'x' + data[201:], lambda data: b''])
def test_a_damaged_state_is_passed_over(network, stopping, damage):
    stop_early(network, stopping, '--num-steps=3')
    path = Path('out', state.FILE_NAME)
    path.write_bytes(damage(path.read_bytes()))
    assert f'{path} is damaged; starting from the beginning' in run(network, '--num-steps=3', '--save-video=0')
    run(network, '--num-steps=3', '--save-video=0', outdir='fresh')
    assert npz() == npz('fresh')


class Evil:
    def __reduce__(self):
        return Path.mkdir, (Path('done'),)


@pytest.mark.parametrize('content', [Evil(), {'marks': Evil()}, [1, 2], {'marks': None}], ids=['code', 'hidden', 'list', 'none'])
def test_a_state_that_is_something_else_is_refused_and_not_executed(network, content, quick):
    Path('out').mkdir()
    with open(f'out/{state.FILE_NAME}', 'w+b') as f:
        torch.save(content, f)
        seal.seal(f, zipped=True)
    status, _, err = drawing.run('project', f'--network={network}', '--device=cpu', '--target=target.png', '--outdir=out', *QUICK)
    assert status == 1 and err == f'Error: out/{state.FILE_NAME}: not the state of a projection; move it away\n'
    assert not Path('done').exists() and written() == [state.FILE_NAME]


@pytest.mark.parametrize('when', ['before', 'after'])
def test_a_full_disk_is_said_in_one_line(network, when, quick):
    def full(path, *args):
        if (Path(path).name == state.FILE_NAME) == (when == 'before'):
            raise OSError(28, 'No space left on device')
        return atomic_open(path, *args)

    atomic_open = files.atomic_open
    args = f'--network={network}', '--device=cpu', '--target=target.png', '--outdir=out', *QUICK
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, 'atomic_open', full)
        status, _, err = drawing.run('project', *args)
    assert status == 1 and err.count('\n') == 1 and 'no space left on device' in err.lower() and 'out' in err
    if when == 'after':
        assert 'Resuming after step 2 of 2' in run(network, *QUICK)
