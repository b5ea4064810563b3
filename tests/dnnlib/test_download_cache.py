"""open_url: the digest of the first download is recorded and checked, and processes that want the same file wait."""

import contextlib
import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers.serving import serving

from dnnlib import UserError
from dnnlib.download import cache_dir, cached_path, open_url

ROOT = Path(__file__).parents[2]
OLD, NEW = bytes(range(256)) * 8000, bytes(range(255, -1, -1)) * 9000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves server.content, once server.go_on is set."""

    def do_GET(self):
        s = self.server
        s.asked.append(self.path)
        s.arrived.release()
        s.go_on.wait()
        self.send_response(200)
        self.send_header('Content-Length', str(len(s.content)))
        self.end_headers()
        self.wfile.write(s.content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    with serving(Handler, monkeypatch, tmp_path / 'cache', 'net.pkl', content=OLD, asked=[], arrived=threading.Semaphore(0),
                 go_on=threading.Event()) as server:
        server.go_on.set()
        yield server
        server.go_on.set()


def read(url, verbose=False, **kwargs):
    with open_url(url, verbose=verbose, **kwargs) as f:
        return f.read()


def names():
    return sorted(path.name.partition('_')[2] for path in cache_dir('downloads').iterdir())


# Digests.

def test_the_digest_is_recorded_beside_the_file(server):
    read(server.url)
    path = cached_path(server.url)
    assert path.with_name(path.name + '.sha256').read_text() == f'{hashlib.sha256(OLD).hexdigest()}  {path.name}\n'
    assert names() == ['net.pkl', 'net.pkl.sha256']


def test_others_may_read_what_the_umask_lets_them_read(server):
    before = os.umask(0o022)
    try:
        read(server.url)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in cache_dir('downloads').iterdir()} == {0o644}


@pytest.mark.parametrize('sha256', [None, hashlib.sha256(OLD).hexdigest()[:8]])
@pytest.mark.parametrize('damage', [lambda data: data[:-1], lambda data: b'', lambda data: data[:9] + b'?' + data[10:]])
def test_a_corrupt_file_is_downloaded_again(server, damage, sha256, capsys):
    read(server.url)
    path = cached_path(server.url)
    path.write_bytes(damage(OLD))
    assert read(server.url, verbose=True, sha256=sha256) == OLD
    assert f'{path} is corrupt' in capsys.readouterr().err
    assert len(server.asked) == 2 and path.read_bytes() == OLD


def test_another_file_than_the_first_is_not_taken_in_silence(server):
    read(server.url)
    path = cached_path(server.url)
    path.write_bytes(OLD[:-1])
    server.content = NEW
    for _ in range(2):
        with pytest.raises(UserError, match=rf'not the expected file .*remove {re.escape(str(path))}') as caught:
            read(server.url)
        assert '\n' not in str(caught.value)
    path.unlink()
    assert read(server.url) == NEW
    server.content = OLD
    assert read(server.url) == NEW and read(server.url, cache=False) == OLD


def test_the_first_digits_of_a_digest_do_not_replace_the_recorded_one(server):
    read(server.url)
    path = cached_path(server.url)
    digest = hashlib.sha256(OLD).hexdigest()
    same_beginning = next(data for data in (b'%d' % i for i in range(10_000)) if hashlib.sha256(data).hexdigest()[0] == digest[0])
    path.write_bytes(same_beginning)
    assert read(server.url, sha256=digest[0]) == OLD


def test_an_expected_digest_holds_for_the_cache_too(server):
    read(server.url)
    server.content = NEW
    assert read(server.url, sha256=hashlib.sha256(OLD).hexdigest().upper()) == OLD
    assert read(server.url, sha256=hashlib.sha256(NEW).hexdigest()) == NEW and len(server.asked) == 2
    with pytest.raises(UserError, match=r'not the expected file .*pass a local file'):
        read(server.url, sha256='0' * 64)
    assert read(server.url) == NEW and names() == ['net.pkl', 'net.pkl.sha256']


@pytest.mark.parametrize('content', [b'', b'\xff' * 64, b'no digest'])
def test_a_corrupt_digest_is_no_digest(server, content):
    read(server.url)
    path = cached_path(server.url)
    path.with_name(path.name + '.sha256').write_bytes(content)
    assert read(server.url) == OLD and len(server.asked) == 1


# Without a network.

def test_offline_it_says_where_to_put_the_file(server):
    url = server.url.replace(str(server.server_port), '1')
    path = cached_path(url)
    with pytest.raises(UserError) as caught:
        read(url, num_attempts=2)
    assert str(caught.value).startswith(f'{url}: download failed (ConnectionError); ')
    assert str(caught.value).endswith(f'put it at {path}')
    assert names() == []
    path.write_bytes(NEW)
    assert read(url) == NEW and names() == ['net.pkl']


def test_a_read_only_cache_needs_no_network(server):
    read(server.url)
    server.server_close()
    folder = cache_dir('downloads')
    folder.chmod(0o555)
    try:
        assert read(server.url) == OLD
    finally:
        folder.chmod(0o755)


def test_the_library_is_imported_only_for_a_download():
    code = 'import sys; from dnnlib.util import open_url; open_url(sys.executable).close(); ' \
           'print({"pooch", "requests", "tqdm"} & sys.modules.keys())'
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, text=True, capture_output=True).stdout == 'set()\n'


# Several processes.

def start(url):
    script = f'from dnnlib import files, util; files.SILENT_WAIT = 0; print(len(util.open_url({url!r}).read()))'
    return subprocess.Popen([sys.executable, '-c', script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_two_processes_download_once(server):
    server.go_on.clear()
    first = start(server.url)
    assert server.arrived.acquire(timeout=30)
    second = start(server.url)
    assert b'Waiting for another process' in second.stderr.readline()
    server.go_on.set()
    for process in (first, second):
        out, _ = process.communicate(timeout=30)
        assert (process.returncode, int(out)) == (0, len(OLD))
    assert len(server.asked) == 1 and names() == ['net.pkl', 'net.pkl.sha256']


def test_one_that_waits_takes_over_from_one_that_is_killed(server):
    server.go_on.clear()
    with start(server.url) as first:
        assert server.arrived.acquire(timeout=30)
        first.kill()
    server.go_on.set()
    assert read(server.url) == OLD and {'net.pkl', 'net.pkl.sha256'} <= set(names())


def test_without_locks_two_at_once_leave_one_whole_file(server, monkeypatch):
    monkeypatch.setattr('dnnlib.download.lock', lambda path, **kwargs: contextlib.nullcontext())
    server.go_on.clear()
    results = []
    threads = [threading.Thread(target=lambda: results.append(read(server.url))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert server.arrived.acquire(timeout=30)
    server.go_on.set()
    for thread in threads:
        thread.join()
    assert results == [OLD, OLD] and names() == ['net.pkl', 'net.pkl.sha256']


# What is shown.

def test_a_log_file_gets_a_line_and_a_terminal_a_bar(server, capsys, monkeypatch):
    read(server.url, verbose=True)
    assert capsys.readouterr().err == f'Downloading {server.url} ...\n'
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    read(server.url, verbose=True, cache=False)
    assert '2.05M' in capsys.readouterr().err
