"""open_url: goes on where it was interrupted, checks what it kept, and says where to put a file by hand."""

import hashlib
import http.server
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
    """Serves server.content with server.version = (header, value) or None; hangs up after so many bytes as server.cuts says."""

    def do_GET(self):
        s = self.server
        s.asked.append({k: v for k, v in self.headers.items() if k in ('Range', 'If-Range')})
        s.arrived.release()
        s.go_on.wait()
        start, status = 0, 200
        match = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        if match and s.ranges and s.version and self.headers.get('If-Range', s.version[1]) == s.version[1]:
            start, status = int(match[1]), 206
        if start >= len(s.content):
            status = 416
        self.send_response(status)
        if status == 206:
            first = start + s.shift
            self.send_header('Content-Range', f'bytes {first}-{len(s.content) - 1}/{len(s.content)}')
        if status == 416:
            self.send_header('Content-Range', f'bytes */{len(s.content)}')
        if s.version:
            self.send_header(*s.version)
        self.send_header('Content-Length', str(len(s.content) - start if status != 416 else 0))
        self.end_headers()
        self.wfile.write(s.content[start:start + (s.cuts.pop(0) if s.cuts else len(s.content))])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    with serving(Handler, monkeypatch, tmp_path / 'cache', 'net.pkl', content=OLD, version=('ETag', '"one"'), ranges=True,
                 shift=0, cuts=[], asked=[], arrived=threading.Semaphore(0), go_on=threading.Event()) as server:
        server.go_on.set()
        yield server
        server.go_on.set()


def read(url, verbose=False, **kwargs):
    with open_url(url, verbose=verbose, **kwargs) as f:
        return f.read()


def interrupted(server):
    """Leave a download that stopped in the middle."""
    server.cuts = [1_500_000]
    with pytest.raises(UserError, match='what has arrived is kept') as caught:
        read(server.url, num_attempts=1)
    assert '\n' not in str(caught.value)
    server.asked.clear()


def names():
    return sorted(path.name.partition('_')[2] for path in cache_dir('downloads').iterdir())


# Resuming.

@pytest.mark.parametrize('version', [('ETag', '"one"'), ('Last-Modified', 'Wed, 21 Oct 2015 07:28:00 GMT')])
def test_an_interrupted_download_goes_on_where_it_stopped(server, version):
    server.version = version
    interrupted(server)
    assert names() == ['net.pkl.part', 'net.pkl.part.version']
    assert read(server.url) == OLD
    asked, = server.asked
    assert asked['If-Range'] == version[1] and 1_400_000 < int(asked['Range'][len('bytes='):-1]) <= 1_500_000
    assert names() == ['net.pkl', 'net.pkl.sha256']


def test_trouble_in_the_middle_does_not_start_over(server):
    server.cuts = [600_000] * 3
    assert read(server.url) == OLD
    starts = [int(asked.get('Range', 'bytes=0-')[len('bytes='):-1]) for asked in server.asked]
    assert len(starts) == 4 and starts == sorted(set(starts))


def test_two_versions_are_not_glued_together(server):
    interrupted(server)
    server.content, server.version = NEW, ('ETag', '"two"')
    assert read(server.url) == NEW
    assert server.asked == [{'Range': server.asked[0]['Range'], 'If-Range': '"one"'}]


def test_a_server_without_ranges_sends_it_all_again(server):
    interrupted(server)
    server.ranges = False
    assert read(server.url) == OLD and len(server.asked) == 1


@pytest.mark.parametrize('version', [None, ('ETag', 'W/"weak"')])
def test_without_a_strong_version_nothing_is_kept(server, version):
    server.version, server.cuts = version, [1_500_000]
    with pytest.raises(UserError) as caught:
        read(server.url, num_attempts=1)
    assert 'kept' not in str(caught.value) and names() == []
    server.asked.clear()
    assert read(server.url) == OLD and server.asked == [{}]


def test_a_part_of_unknown_origin_is_not_used(server):
    part = cached_path(server.url).with_name(cached_path(server.url).name + '.part')
    part.parent.mkdir(parents=True)
    part.write_bytes(NEW[:1000])
    assert read(server.url) == OLD and server.asked == [{}]


def test_a_wrong_part_is_not_glued_on(server):
    interrupted(server)
    server.shift = 5
    with pytest.raises(UserError, match='another part of the file'):
        read(server.url, num_attempts=1)
    server.shift = 0
    assert read(server.url) == OLD


def test_a_file_that_became_shorter_is_fetched_anew(server):
    interrupted(server)
    server.content = OLD[:1000]  # under the same name of a version
    assert read(server.url) == OLD[:1000] and len(server.asked) == 2


def test_a_download_that_had_all_but_its_name_is_not_repeated(server):
    interrupted(server)
    part, = cache_dir('downloads').glob('*.part')
    part.write_bytes(OLD)
    assert read(server.url) == OLD and len(server.asked) == 1


# Checksums.

def test_the_checksum_is_kept_beside_the_file(server):
    read(server.url)
    path = cached_path(server.url)
    assert path.with_name(path.name + '.sha256').read_text() == f'{hashlib.sha256(OLD).hexdigest()}  {path.name}\n'


@pytest.mark.parametrize('damage', [lambda data: data[:-1], lambda data: b'', lambda data: data[:9] + b'?' + data[10:]])
def test_a_file_that_was_damaged_is_downloaded_again(server, damage, capsys):
    read(server.url)
    path = cached_path(server.url)
    path.write_bytes(damage(OLD))
    assert read(server.url, verbose=True) == OLD
    assert f'{path} is damaged' in capsys.readouterr().err
    assert len(server.asked) == 2 and path.read_bytes() == OLD


def test_an_expected_checksum_holds_for_the_cache_too(server):
    read(server.url)
    server.content, server.version = NEW, ('ETag', '"two"')
    assert read(server.url, sha256=hashlib.sha256(OLD).hexdigest().upper()) == OLD
    assert read(server.url, sha256=hashlib.sha256(NEW).hexdigest()) == NEW and len(server.asked) == 2
    with pytest.raises(UserError, match='not the expected file'):
        read(server.url, sha256='0' * 64)
    assert read(server.url) == NEW and names() == ['net.pkl', 'net.pkl.sha256']


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


def test_what_is_in_the_cache_needs_no_network(server):
    read(server.url)
    server.server_close()
    assert read(server.url) == OLD


# Two at once.

def test_two_processes_download_once(server):
    server.go_on.clear()
    script = f'from dnnlib import util; print(len(util.open_url({server.url!r}).read()), flush=True)'
    first = subprocess.Popen([sys.executable, '-c', script], cwd=ROOT, stdout=subprocess.PIPE)
    assert server.arrived.acquire(timeout=20)
    second = subprocess.Popen([sys.executable, '-c', script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b'Waiting for another process' in second.stderr.readline()
    server.go_on.set()
    for process in (first, second):
        out, _ = process.communicate(timeout=20)
        assert (process.returncode, int(out)) == (0, len(OLD))
    assert len(server.asked) == 1 and names() == ['net.pkl', 'net.pkl.sha256']


def test_one_that_waits_takes_over_from_one_that_is_killed(server):
    server.go_on.clear()
    script = f'from dnnlib import util; util.open_url({server.url!r}, verbose=False)'
    with subprocess.Popen([sys.executable, '-c', script], cwd=ROOT) as first:
        assert server.arrived.acquire(timeout=20)
        first.kill()
    server.go_on.set()
    assert read(server.url) == OLD and names() == ['net.pkl', 'net.pkl.sha256']


# What is shown.

def test_a_log_file_gets_a_line_and_a_terminal_a_bar(server, capsys, monkeypatch):
    read(server.url, verbose=True)
    assert capsys.readouterr().err == f'Downloading {server.url} ...\n'
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    read(server.url, verbose=True, cache=False)
    assert '2.05M [00:00<' in capsys.readouterr().err
