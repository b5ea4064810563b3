"""Requests that other web pages forge do not reach the explorer."""

import asyncio

import pytest

from training.sampling.explorer.guard import Guard

HERE = '127.0.0.1:8600'


def answer(headers, kind='http', host='127.0.0.1', everywhere=False):
    """What a request gets: the messages of the application, which says yes, or of its guard."""
    sent = []

    async def app(scope, receive, send):
        yes = {'type': 'http.response.start', 'status': 200, 'headers': [(b'x', b'y')]}
        await send(yes if kind == 'http' else {'type': 'yes'})

    async def send(message):
        sent.append(message)

    pairs = [(name.encode(), value.encode('latin-1')) for name, value in headers]
    asyncio.run(Guard(app, host, everywhere)({'type': kind, 'headers': pairs}, None, send))
    return sent


def allowed(*headers, **kwargs):
    found = [answer(headers, kind, **kwargs)[0] for kind in ('http', 'websocket')]
    assert found[0].get('status') in (200, 403) and found[1]['type'] in ('yes', 'websocket.close')
    assert (found[0]['status'] == 200) is (found[1]['type'] == 'yes')
    return found[0]['status'] == 200


@pytest.mark.parametrize('host', [HERE, 'localhost:8600', 'LOCALHOST', '[::1]:8600', '127.0.0.2:9000'])
def test_this_machine_is_let_in_under_its_names_and_through_tunnels(host):
    assert allowed(('host', host))
    assert allowed(('host', host), ('origin', f'http://{host}'), ('sec-fetch-site', 'same-origin'))


@pytest.mark.parametrize('host', ['evil.example', 'evil.example:8600', '127.0.0.1.evil.example', '192.168.1.5:8600', '', ':8600',
                                  '[::1', 'localhost.evil.example', '127.0.0.1@evil.example'])
def test_other_hosts_are_refused(host):
    """DNS rebinding: the name of another site that leads to this machine."""
    assert not allowed(('host', host))


def test_a_request_without_a_host_or_with_two_is_refused():
    assert not allowed() and not allowed(('host', HERE), ('host', 'evil.example'))


@pytest.mark.parametrize('origin', ['http://evil.example', 'https://evil.example:8600', 'null', 'http://127.0.0.1:9999', '', 'file://'])
def test_other_pages_are_refused(origin):
    """Also the page of another server on this machine."""
    assert not allowed(('host', HERE), ('origin', origin))


@pytest.mark.parametrize('mode, dest, let_in', [
    ('navigate', 'document', True), ('navigate', 'iframe', False), ('no-cors', 'image', False), ('cors', 'empty', False),
    ('websocket', 'websocket', False)])
@pytest.mark.parametrize('site', ['cross-site', 'same-site'])
def test_only_a_click_leads_here_from_elsewhere(site, mode, dest, let_in):
    headers = ('host', HERE), ('sec-fetch-site', site), ('sec-fetch-mode', mode), ('sec-fetch-dest', dest)
    assert allowed(*headers) is let_in


def test_a_server_for_everybody_is_called_by_addresses_and_its_own_names(monkeypatch):
    monkeypatch.setattr('socket.gethostname', lambda: 'Box')
    monkeypatch.setattr('socket.getfqdn', lambda: 'box.lab')
    for host, let_in in (('192.168.1.5:8600', True), ('[fe80::1%eth0]:8600', True), ('box:8600', True), ('box.lab', True),
                         ('evil.example', False)):
        assert allowed(('host', host), host='Box', everywhere=True) is let_in


def test_answers_cannot_be_framed_and_the_rest_of_the_protocol_passes():
    [start] = answer([('host', HERE)])
    assert start['headers'] == [(b'x', b'y'), (b'x-frame-options', b'DENY'),
                                (b'content-security-policy', b"frame-ancestors 'none'")]
    assert answer([], kind='lifespan') == [{'type': 'yes'}]
