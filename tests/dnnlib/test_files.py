"""atomic_open: whatever happens while a file is written, the old content or the new one is there, never half of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dnnlib.errors import UserError
from dnnlib.files import atomic_open, lock, open_output, remove_leftovers

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name != 'posix', reason='needs POSIX')


def run(code, *args):
    """Run `code` in a Python process of its own."""
    code = 'import os, signal, sys\nfrom dnnlib.files import atomic_open\n' + code
    return subprocess.run([sys.executable, '-c', code, *map(str, args)], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize('mode, content', [('wb', b'\x00\r\n\xff'), ('w', 'zwölf Äpfel\n')])
def test_writes_a_file_in_a_new_folder(tmp_path, mode, content):
    path = tmp_path / 'a' / 'b' / 'file'
    with atomic_open(path, mode) as f:
        f.write(content)
        assert not path.exists()
    assert path.read_bytes() == (content if mode == 'wb' else content.encode('utf-8'))
    assert os.listdir(path.parent) == ['file']


def test_replaces_the_old_content(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'a longer old content')
    with atomic_open(str(path)) as f:
        f.write(b'new')
        f.flush()
        assert path.read_bytes() == b'a longer old content'
    assert path.read_bytes() == b'new'


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize('old', [b'old', None])
def test_an_exception_leaves_the_old_state(tmp_path, error, old):
    path = tmp_path / 'file'
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error), atomic_open(path) as f:
        f.write(b'new' * 100_000)
        raise error
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if old is None else [old])


@posix
@pytest.mark.parametrize('old', [b'old', None])
def test_kill_in_the_middle_leaves_the_old_state(tmp_path, old):
    path = tmp_path / 'file'
    if old is not None:
        path.write_bytes(old)
    result = run('''
with atomic_open(sys.argv[1]) as f:
    f.write(b'new' * 100_000)
    f.flush()
    os.kill(os.getpid(), signal.SIGKILL)
''', path)
    assert result.returncode == -signal.SIGKILL
    assert (path.read_bytes() if path.exists() else None) == old
    left = [p for p in tmp_path.iterdir() if p != path]
    assert [(p.name[:6], p.suffix) for p in left] == [('.file.', '.tmp')], 'it was not killed in the middle'
    with atomic_open(path) as f:
        f.write(b'next')
    assert path.read_bytes() == b'next'


@posix
@pytest.mark.parametrize('size', [5_000, 500_000])  # fails when the buffer is flushed; fails in write
def test_a_file_that_cannot_grow_leaves_the_old_content(tmp_path, size):
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    result = run('''
import errno, resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
try:
    with atomic_open(sys.argv[1]) as f:
        f.write(bytes(int(sys.argv[2])))
except OSError as err:
    sys.exit(7 if err.errno == errno.EFBIG else 1)
''', path, size)
    assert result.returncode == 7, result.stderr
    assert os.listdir(tmp_path) == ['file'] and path.read_bytes() == b'old'


@posix
@pytest.mark.parametrize('mask', [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, mask):
    previous = os.umask(mask)
    try:
        with atomic_open(tmp_path / 'file') as f:
            f.write(b'x')
        assert os.umask(mask) == mask
    finally:
        os.umask(previous)
    assert (tmp_path / 'file').stat().st_mode & 0o777 == 0o666 & ~mask


def test_the_umask_is_not_touched_as_other_threads_share_it(tmp_path, monkeypatch):
    def changed(mask):
        raise AssertionError(mask)
    monkeypatch.setattr(os, 'umask', changed)
    with atomic_open(tmp_path / 'file') as f:
        f.write(b'x')
    assert os.listdir(tmp_path) == ['file']


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / 'file').mkdir()
    with pytest.raises(OSError), atomic_open(tmp_path / 'file') as f:
        f.write(b'x')
    assert os.listdir(tmp_path) == ['file'] and os.listdir(tmp_path / 'file') == []


def test_a_rename_is_flushed_with_its_directory(tmp_path, monkeypatch):
    flushed = []
    plain = os.fsync
    monkeypatch.setattr(os, 'fsync', lambda fd: flushed.append(os.readlink(f'/proc/self/fd/{fd}')) or plain(fd))
    if not os.path.isdir('/proc/self/fd'):
        pytest.skip('needs Linux')
    with atomic_open(tmp_path / 'file') as f:
        f.write(b'x')
    assert len(flushed) == 2 and flushed[1] == str(tmp_path.resolve()) and '.file.' in flushed[0]


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    for name in ('.a.pkl.x1_y.tmp', '.b.tmp', 'c.tmp', '.lock', 'd.pkl'):
        (tmp_path / name).write_text('')
    (tmp_path / '.folder.tmp').mkdir()
    remove_leftovers(tmp_path, 'a.p')
    assert sorted(os.listdir(tmp_path)) == ['.b.tmp', '.folder.tmp', '.lock', 'c.tmp', 'd.pkl']
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ['.folder.tmp', '.lock', 'c.tmp', 'd.pkl']


HOLDER = '''
from dnnlib.files import lock
import time
held = lock(sys.argv[1])
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
time.sleep(60)
'''


@posix
def test_a_lock_is_held_against_other_processes_and_ends_with_its_process(tmp_path):
    """However it ends, and though a child of it, such as a worker that reads images, lives on."""
    path = tmp_path / '.lock'
    code = 'import os, sys\n' + HOLDER
    holder = subprocess.Popen([sys.executable, '-c', code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(BlockingIOError, match=r'\.lock'):
            lock(path)
        holder.kill()
        holder.wait()
        os.kill(child, 0)
        with lock(path):
            os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        holder.stdout.close()


def test_where_nothing_can_be_written_there_is_no_lock(tmp_path):
    with pytest.raises(OSError):
        lock(tmp_path / 'no-such' / '.lock')


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs a full disk')
def test_outputs_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(UserError, match=r'out\.png: cannot be written \(no space left on device\); free some space'), \
            open_output(tmp_path / 'out.png'), open('/dev/full', 'wb') as full:
        full.write(b'x' * 100_000)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match=r'file/out\.png: cannot be written'), open_output(tmp_path / 'file' / 'out.png'):
        pass
