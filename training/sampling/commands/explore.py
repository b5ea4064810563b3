"""`generate.py explore`: a page in the browser, with sliders."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
import threading
import urllib.parse
import warnings
import webbrowser
from types import ModuleType

import click

from dnnlib import cli
from dnnlib.signals import StopOnSignal
from dnnlib.util import OptionError, UserError
from training.sampling import drawing, options
from training.sampling.commands import domains
from training.sampling.explorer.explorer import Explorer, State
from training.sampling.explorer.guard import App, Guard

FIRST_PORT, PORTS_TRIED = 8080, 100
EXAMPLES = """\b
Examples:
  # Prints the address of the page, and opens it; Ctrl-C ends
  python generate.py explore --network=network-snapshot-000280.pkl
\b
  # With the names of the domains
  python generate.py explore --data=datasets/mnist.zip --network=network-snapshot-000280.pkl
\b
  # On another machine, through ssh; then open http://127.0.0.1:8080 here
  ssh -L 8080:127.0.0.1:8080 HOST 'python generate.py explore --port=8080 --network=network-snapshot-000280.pkl'
"""


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@click.option('--data', type=cli.PATH, help='A dataset, whose dataset.json names the domains.', metavar='PATH')
@click.option('--host', help='Address to serve at. Only this machine can reach the default.', default='127.0.0.1',
              show_default=True, metavar='ADDRESS')
@click.option('--port', help=f'Port to serve at.  [default: {FIRST_PORT}, or the next that is free]',
              type=click.IntRange(1, 65535), metavar='INT')
@cli.bool_option('--open', 'open_browser', default=None, help='Open the page in the browser.  [default: 1 on a terminal with a '
                 'display]')
@options.device
@options.ops
def command(network: str, data: str | None, host: str, port: int | None, open_browser: bool | None, device: str,
            ops: str) -> None:
    """Explore a network in the browser: sliders for truncation and style coordinates, seeds, domains, style mixing.

    The page shows the image, the same latent in every domain, and the command that draws the same picture. Nothing
    leaves this machine. Each tab has its own settings. Needs nicegui: pip install -r requirements-extras.txt
    """
    page = import_page()
    where = options.start_on(device, ops)
    with listen(host, port) as sock:  # before the network is loaded, because that is slow and this may fail
        address = url_of(host, sock)
        if not is_loopback(sock):
            print(f'warn: anyone who can reach {address} can use this page; without --host, this machine alone can')
        G = drawing.open_generator(network, where)
        if data is not None and G.c_dim == 0:
            raise UserError(f'{network}: has no domains (trained without --cond=1); leave --data out')
        names = domains.domain_names(data, G.c_dim)
        extra = [f'--{name}={value}' for name, value in (('device', device), ('ops', ops)) if value != 'auto']
        explorer = Explorer(G, network, names, extra)
        explorer.draw(State())  # errors appear here, not in the browser
        if open_browser is None:
            open_browser = sys.stdout.isatty() and has_display()
        serve(page.make_app(explorer), sock, address, open_browser)


def import_page() -> ModuleType:
    """The module of the page. Raises UserError if nicegui is missing."""
    try:
        from training.sampling.explorer import page
    except ModuleNotFoundError as err:
        if err.name is None or err.name.partition('.')[0] != 'nicegui':
            raise
        raise UserError('generate.py explore needs nicegui; pip install -r requirements-extras.txt') from err
    return page


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens at a port, or at the first free one. Raises OptionError if that is not possible."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as err:
        raise OptionError(f'--host: {host!r} is no address; 127.0.0.1 is that of this machine alone') from err
    for candidate in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED) if port is None else [port]:
        try:
            return socket.create_server((where[0], candidate, *where[2:]), family=family)
        except OSError as err:
            if err.errno == errno.EADDRINUSE:
                continue
            if err.errno == errno.EADDRNOTAVAIL:
                raise OptionError(f'--host: {host} is not an address of this machine') from err
            raise OptionError(f'--port: cannot listen at port {candidate} of {host} ({err.strerror}); choose another') from err
    if port is None:
        raise OptionError(f'ports {FIRST_PORT} to {candidate} of {host} are taken; choose another with --port')
    raise OptionError(f'--port: {port} is taken at {host}; choose another, or leave --port out for the next that is free')


def is_loopback(sock: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(sock.getsockname()[0].partition('%')[0]).is_loopback


def is_everywhere(sock: socket.socket) -> bool:
    """Whether it listens on all addresses of this machine."""
    return ipaddress.ip_address(sock.getsockname()[0].partition('%')[0]).is_unspecified


def url_of(host: str, sock: socket.socket) -> str:
    """The address for a browser on this machine."""
    if is_everywhere(sock):
        host = socket.gethostname()
    return f'http://{f"[{host}]" if ":" in host else host}:{sock.getsockname()[1]}'


def has_display() -> bool:
    """Whether a browser can run here."""
    return sys.platform in ('win32', 'darwin') or bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))


def serve(app: App, sock: socket.socket, address: str, open_browser: bool) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            with warnings.catch_warnings():  # nicegui inspects all objects, and some of torch's are deprecated
                warnings.simplefilter('ignore', FutureWarning)
                await super().startup(sockets)
            print(f'Explore the network at {address} (Ctrl-C ends)', flush=True)
            if open_browser:
                threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()

    guard = Guard(app, urllib.parse.urlsplit(address).hostname, is_everywhere(sock))
    server = Server(uvicorn.Config(guard, log_level='warning', ws='wsproto', timeout_graceful_shutdown=2))
    with StopOnSignal(quiet=True):  # uvicorn ends at a signal, and then sends it once more
        server.run(sockets=[sock])
