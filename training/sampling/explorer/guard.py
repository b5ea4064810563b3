"""Protects a server on this machine from other web pages: an ASGI application around another one.

A page of any site that is open in the same browser can send requests to 127.0.0.1. By DNS rebinding, it can even read the answers
under its own name. A request must therefore address this machine by name or address (Host). If a page sent it, that page must
come from this server (Origin, Sec-Fetch-Site). A user's click on an external link to this server is allowed.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Scope = dict[str, Any]
Messages = Callable[..., Awaitable[Any]]
App = Callable[[Scope, Messages, Messages], Awaitable[None]]

FRAMES = [(b'x-frame-options', b'DENY'), (b'content-security-policy', b"frame-ancestors 'none'")]


class Guard:
    """Answers 403 to requests of other pages, else calls `app`.

    host: the name or address of the server. everywhere: whether the server listens on all addresses. Then any address is allowed,
    but still only the names of this machine.
    """

    def __init__(self, app: App, host: str, everywhere: bool = False):
        self._app, self._everywhere = app, everywhere
        here = (socket.gethostname(), socket.getfqdn()) if everywhere else ()
        self._names = {name.lower() for name in ('localhost', host, *here)}

    async def __call__(self, scope: Scope, receive: Messages, send: Messages) -> None:
        if scope['type'] not in ('http', 'websocket'):  # the start and the end of the server
            await self._app(scope, receive, send)
        elif not self.allows(scope):
            await _refuse(scope, send)
        else:
            await self._app(scope, receive, _with_headers(send) if scope['type'] == 'http' else send)

    def allows(self, scope: Scope) -> bool:
        """Whether a request is for this machine and comes from a page of this server, or from none."""
        headers = _headers(scope['headers'])
        host = headers.get('host')
        if host is None or not self._is_here(host):
            return False
        origin = headers.get('origin')
        if origin is not None:
            return urllib.parse.urlsplit(origin).netloc == host
        if headers.get('sec-fetch-site', 'none') not in ('none', 'same-origin'):
            return headers.get('sec-fetch-mode') == 'navigate' and headers.get('sec-fetch-dest') == 'document'
        return True

    def _is_here(self, host: str) -> bool:
        """host: a name or address, with or without a port."""
        try:
            name = urllib.parse.urlsplit(f'//{host}').hostname
        except ValueError:
            return False
        if name is None:
            return False
        try:
            address = ipaddress.ip_address(name.partition('%')[0])
        except ValueError:
            return name in self._names
        return self._everywhere or address.is_loopback or name in self._names


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case names; the value of a name that occurs twice is empty, which fits nothing."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key = name.decode('latin-1').lower()
        found[key] = '' if key in found else value.decode('latin-1')
    return found


async def _refuse(scope: Scope, send: Messages) -> None:
    if scope['type'] == 'websocket':
        await send({'type': 'websocket.close', 'code': 1008})  # before it is accepted: the server answers 403
        return
    body = b'This server answers only its own pages, under the address that it printed at the start.\n'
    await send({'type': 'http.response.start', 'status': 403, 'headers': [(b'content-type', b'text/plain')]})
    await send({'type': 'http.response.body', 'body': body})


def _with_headers(send: Messages) -> Messages:
    """Adds the headers that keep other pages from showing this one in a frame."""
    async def sending(message: dict[str, Any]) -> None:
        if message['type'] == 'http.response.start':
            message = {**message, 'headers': [*message.get('headers', ()), *FRAMES]}
        await send(message)
    return sending
