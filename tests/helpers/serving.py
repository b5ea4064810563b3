"""A web server on this machine, for downloads."""

import contextlib
import http.server
import threading


@contextlib.contextmanager
def serving(handler, monkeypatch, cache, path, **state):
    """Serve by a handler class while active. state: attributes of the server that it yields; `url`: where `path` is.

    Downloads go to the directory `cache`, and don't wait between attempts.
    """
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(cache))
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        server.daemon_threads = False
        server.handle_error = lambda *args: None  # clients that hang up are part of the tests
        server.url = f'http://127.0.0.1:{server.server_port}/{path}'
        for name, value in state.items():
            setattr(server, name, value)
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
