"""open_url: paths, file: and https: alike; downloads are cached whole or not at all, and come over https only."""

import hashlib
import http.server
from pathlib import Path

import pytest
from helpers.serving import serving

from dnnlib import UserError, download
from dnnlib.download import cache_dir, cached_path, is_url, open_url

CONTENT = bytes(range(256)) * 5000  # more than one block


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        status, content, length = self.server.answers.pop(0) if self.server.answers else (200, CONTENT, len(CONTENT))
        self.send_response(status)
        self.send_header('Location' if status == 302 else 'Content-Length', str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server on this machine. It answers CONTENT, after the (status, content, Content-Length or target) in `answers`."""
    with serving(Handler, monkeypatch, tmp_path / 'cache', 'some/net%20work.pkl?version=1', asked=[], answers=[]) as server:
        yield server


def cached_files():
    """What the cache holds, besides the checksums."""
    return [p for p in cache_dir().rglob('*') if p.is_file() and p.suffix != '.sha256']


def read(url, **kwargs):
    with open_url(url, verbose=False, **kwargs) as f:
        return f.read()


def refused(message, url, **kwargs):
    with pytest.raises(UserError) as caught:
        read(url, **kwargs)
    assert message in str(caught.value) and '\n' not in str(caught.value)
    assert caught.value.exit_status == 1


def test_a_download_is_kept(server):
    assert [read(server.url) for _ in range(3)] == [CONTENT] * 3
    assert len(server.asked) == 1
    file, = cached_files()
    digest = hashlib.md5(server.url.encode()).hexdigest()
    assert file == cached_path(server.url) == cache_dir('downloads', f'{digest}_net_20work.pkl')
    assert read(server.url + '&other') == CONTENT
    assert len(server.asked) == len(cached_files()) == 2


def test_without_cache_it_is_fetched_anew_and_replaced(server):
    read(server.url)
    server.answers = [(200, b'newer', 5)]
    assert read(server.url, cache=False) == b'newer'
    assert len(server.asked) == 2
    assert read(server.url) == b'newer'
    assert len(server.asked) == 2


def test_the_file_can_be_searched(server):
    with open_url(server.url, verbose=False) as f:
        f.seek(-2, 2)
        assert f.read() == CONTENT[-2:]


def test_a_digest_is_checked_and_a_mismatch_leaves_nothing(server):
    refused('what arrived is not the expected file', server.url, sha256='0' * 64)
    assert cached_files() == [] and len(server.asked) == 1
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert read(server.url, sha256=digest) == read(server.url, sha256=digest[:8].upper()) == CONTENT
    assert len(server.asked) == 2
    refused('what arrived is not the expected file', server.url, sha256=f'{digest[:7]}g')


def test_a_truncated_download_fails_and_leaves_nothing(server):
    server.answers = [(200, CONTENT, len(CONTENT) + 1)]
    refused(f'{server.url}: download failed', server.url, num_attempts=1)
    assert cached_files() == []


def test_a_truncated_download_keeps_what_was_cached(server):
    read(server.url)
    server.answers = [(200, CONTENT[:100], len(CONTENT))]
    refused('download failed', server.url, cache=False, num_attempts=1)
    assert [p.read_bytes() for p in cached_files()] == [CONTENT]


def test_trouble_is_tried_again(server):
    server.answers = [(503, b'', 0), (200, CONTENT[:9], len(CONTENT)), (429, b'', 0)]
    assert read(server.url, num_attempts=4) == CONTENT
    assert len(server.asked) == 4
    server.answers = [(503, b'', 0)] * 5
    refused('HTTP status 503', server.url, num_attempts=3, cache=False)
    assert len(server.asked) == 7


def test_an_address_that_does_not_exist_is_not_tried_again(server):
    server.answers = [(404, b'nothing here', 12)] * 5
    refused(f'{server.url}: download failed (HTTP status 404)', server.url)
    assert len(server.asked) == 1 and cached_files() == []


# What is never opened: there is no server behind these names, and none is asked.

@pytest.mark.parametrize('url', ['http://example.invalid/net.pkl', 'http://127.0.0.1.example.invalid/net.pkl'])
def test_plain_http_is_refused(url, monkeypatch, tmp_path):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    refused(f'{url}: not https; use an https address, or download the file yourself and pass its path', url)
    assert not cache_dir().exists()


def test_a_redirect_to_plain_http_is_refused_and_others_are_followed(server):
    server.answers = [(302, b'', 'http://example.invalid/net.pkl')]
    refused(f'{server.url}: redirects to http://example.invalid/net.pkl, which is not https', server.url)
    assert len(server.asked) == 1 and cached_files() == []
    server.answers = [(302, b'', '/elsewhere/net.pkl')]
    assert read(server.url) == CONTENT and server.asked[1:] == [server.asked[0], '/elsewhere/net.pkl']


def test_a_file_that_is_too_large_is_refused(server, monkeypatch):
    monkeypatch.setattr(download, 'LARGEST', len(CONTENT) - 1)
    refused('larger than', server.url)
    assert len(server.asked) == 1 and cached_files() == []
    monkeypatch.setattr(download, 'LARGEST', len(CONTENT))
    assert read(server.url) == CONTENT


def test_a_server_that_does_not_answer_is_named(server):
    url = server.url
    server.server_close()
    refused(f'{url}: download failed', url, num_attempts=2)


def test_a_cache_that_cannot_be_written_is_named(server, monkeypatch, tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'file'))
    refused(str(tmp_path / 'file' / 'downloads'), server.url)
    assert len(server.asked) <= 1


def test_it_says_what_it_downloads(server, capsys):
    for verbose in (True, False):
        open_url(server.url, cache=False, verbose=verbose).close()
    out, err = capsys.readouterr()
    assert (out, err) == ('', f'Downloading {server.url} ...\n')


def test_paths_and_file_urls_are_opened(tmp_path):
    path = tmp_path / 'a file.bin'
    path.write_bytes(b'content')
    assert '%20' in path.as_uri()
    assert [read(name) for name in (path, str(path), path.as_uri())] == [b'content'] * 3


@pytest.mark.parametrize('name', [lambda p: str(p), lambda p: p.as_uri()])
def test_a_missing_file_is_named(tmp_path, name):
    path = tmp_path / 'gone.pkl'
    refused(f'{path}: no such file or directory', name(path))
    refused(f'{tmp_path}: is a directory', name(tmp_path))


def test_only_http_is_a_url():
    assert is_url('http://x/y') and is_url('HTTPS://x')
    assert not any(is_url(name) for name in ('file:///x', '/x', 'x', 'C:\\x', Path('x'), ''))


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    assert cache_dir('a', 'b') == tmp_path / 'a' / 'b'
    monkeypatch.delenv('DNNLIB_CACHE_DIR')
    monkeypatch.setattr(Path, 'home', lambda: tmp_path / 'me')
    assert cache_dir('a') == tmp_path / 'me' / '.cache' / 'dnnlib' / 'a'
    assert not (tmp_path / 'me').exists()
