"""`generate.py explore`: its pixels are those of the other commands, its options, and the page in a browser."""

import contextlib
import errno
import http.client
import io
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import drawing
from helpers.drawing import assert_close, cells_of, draw, one_hot, pixels, seed_latent

from training.sampling import drawing as common
from training.sampling.commands import explore
from training.sampling.explorer.explorer import Explorer, State, encode_png, layer_groups

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)

pytestmark = pytest.mark.usefixtures('in_tmp_path')


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """Two domains, 16x16, RGB. Of six style coordinates, 4, 0 and 3 live, in this order of importance."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'flow.pkl', 2, cond_mode='flow', i_dim=6,
                                importance=[0.8, -2.0, 0.05, 0.2, 1.5, -0.01])


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'plain.pkl', 0, resolution=8, channels=1)


def explorer_of(network, **kwargs):
    G = drawing.load(network)
    return Explorer(G, str(network), [str(domain) for domain in range(G.c_dim)], **kwargs)


# Pixels.

@pytest.mark.parametrize('noise_mode', ['const', 'none'])
def test_an_image_is_that_of_images(network, plain, noise_mode):
    for name, options, psi, domain in ((network, ['--class=1'], 1, 1), (plain, ['--trunc=0.6'], 0.6, 0), (plain, [], 1, 0)):
        outdir = f'{name.stem}{psi}'
        expected, = draw('images', name, '--seeds=5', f'--noise-mode={noise_mode}', *options, outdir=outdir).values()
        state = State(seed=5, domain=domain, psi=psi, noise_mode=noise_mode)
        np.testing.assert_array_equal(explorer_of(name).draw(state), expected)


def test_truncation_is_towards_the_mean_of_the_domain_as_with_domains(network):
    expected = cells_of(draw('domains', network, '--seeds=5,9', '--trunc=0.4')['domains.png'], 2, 2)
    explorer = explorer_of(network)
    for i, j in np.ndindex(2, 2):
        np.testing.assert_array_equal(explorer.draw(State(seed=[5, 9][i], domain=j, psi=0.4)), expected[i, j])


def test_the_mean_of_a_domain_is_computed_when_it_is_needed_and_once(network, monkeypatch):
    computed = []
    monkeypatch.setattr(common, 'domain_w_mean', lambda G, label: computed.append(label.argmax().item()) or torch.zeros(G.w_dim))
    explorer = explorer_of(network)
    explorer.draw(State())
    assert computed == []
    for psi in (0.5, 0.7, 1.5):
        explorer.draw(State(domain=1, psi=psi))
    assert computed == [1]
    explorer.draw(State(domain=0, psi=0))
    assert computed == [1, 0]


def test_coordinates_move_as_with_traverse(network):
    args = '--class=1', '--seeds=3', '--steps=3', '--span=1.25', '--coordinates=4,0', '--trunc=0.8', '--labels=0'
    row4, row0 = cells_of(draw('traverse', network, *args)['traverse-seed0003.png'], 2, 4)
    explorer = explorer_of(network)
    assert np.abs(row4[0].astype(int) - row4[2]).max() > 10
    for j, row in ((4, row4), (0, row0)):
        for offset, expected in ((-1.25, row[0]), (0, row[1]), (1.25, row[2])):
            assert_close(explorer.draw(State(seed=3, domain=1, psi=0.8, offsets={j: offset})), expected)


def test_several_coordinates_move_together(network):
    G = drawing.load(network)
    u = G.mapping.latent(seed_latent(3), one_hot(G, 1)).detach()
    u[0, 4] += 1
    u[0, 0] -= 2
    state = State(seed=3, domain=1, offsets={4: 1.0, 0: -2.0})
    assert_close(explorer_of(network).draw(state), pixels(G, G.mapping.map_latent(u)))


def test_style_mixing_swaps_exactly_the_layers(network):
    G, explorer = drawing.load(network), explorer_of(network)
    u = G.mapping.latent(seed_latent(3), one_hot(G, 1)).detach()
    u[0, 4] += 1.5  # moves the first seed only
    ws, other = G.mapping.map_latent(u), G.mapping(seed_latent(7), one_hot(G, 1))
    images = []
    for layers in ([0], [2, 3], [1, 5], range(6)):
        mixed = ws.clone()
        mixed[:, list(layers)] = other[:, list(layers)]
        state = State(seed=3, domain=1, offsets={4: 1.5}, mix_seed=7, mix_layers=frozenset(layers))
        images.append(explorer.draw(state))
        assert_close(images[-1], pixels(G, mixed))
    np.testing.assert_array_equal(images[-1], explorer.draw(State(seed=7, domain=1)))
    assert min(np.abs(images[0].astype(int) - image).max() for image in images[1:]) > 2


def test_groups_of_layers_are_all_layers_with_their_resolutions(network, plain):
    assert [(g.level, g.caption()) for g in explorer_of(network).groups] == [
        (4, 'coarse, layer 0'), (8, 'coarse, layers 1–2'), (16, 'middle, layers 3–5')]
    assert [(g.level, g.layers) for g in explorer_of(plain).groups] == [(4, range(0, 1)), (8, range(1, 4))]
    large = layer_groups(SimpleNamespace(img_resolution=1024, num_ws=18))
    assert [g.level for g in large] == [4, 8, 16, 32, 64, 128, 256, 512, 1024]
    assert [i for g in large for i in g.layers] == list(range(18)) and large[-1].caption() == 'fine, layers 15–17'
    wide = layer_groups(SimpleNamespace(img_resolution=(48, 64), num_ws=10))
    assert [(g.level, g.size) for g in wide] == [(4, '4×3'), (8, '8×6'), (16, '16×12'), (32, '32×24'), (64, '64×48')]


def test_pages_share_the_network_one_at_a_time(network, monkeypatch):
    explorer, inside, most, lock = explorer_of(network), 0, 0, threading.Lock()
    states = [State(seed=seed, domain=seed % 2, offsets={4: seed / 2}) for seed in range(6)]
    expected = [explorer.draw(state) for state in states]
    render = common.render

    def slow(*args):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        result = render(*args)
        with lock:
            inside -= 1
        return result

    monkeypatch.setattr(common, 'render', slow)
    drawn = [None] * 6
    threads = [threading.Thread(target=lambda i=i: drawn.__setitem__(i, explorer.draw(states[i]))) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(drawn, expected)
    assert most == 1


@pytest.mark.parametrize('channels', [1, 3])
def test_png_keeps_the_pixels(channels):
    image = np.random.RandomState(0).randint(0, 256, (16, 16, channels), dtype=np.uint8)
    for fast in (True, False):
        np.testing.assert_array_equal(decode(encode_png(image, fast=fast)), image)
    assert decode(encode_png(image, at_most=8)).shape == (8, 8, channels)
    assert decode(encode_png(image[:12], at_most=8)).shape == (6, 8, channels)
    assert decode(encode_png(image[:, :12], at_most=8)).shape == (8, 6, channels)


def decode(png):
    with PIL.Image.open(io.BytesIO(png)) as image:
        assert image.format == 'PNG'
        return np.atleast_3d(np.array(image))


# What the page says.

STATES = [State(seed=4), State(seed=4, domain=1, noise_mode='none'), State(seed=4, domain=1, psi=0.55),
          State(psi=0.7, noise_mode='none'), State(seed=2, domain=1, offsets={4: 1.5, 0: 0.0}),
          State(seed=2, psi=0.8, offsets={0: -0.35}), State(mix_seed=9),
          State(seed=4, mix_seed=9, mix_layers=frozenset([2, 1, 3])),
          State(seed=4, domain=1, noise_mode='none', mix_seed=9, mix_layers=frozenset([0]))]


@pytest.mark.parametrize('state', STATES)
def test_the_command_draws_the_picture(network, plain, state):
    for path in (network, plain):
        if path == plain and (state.domain or (state.psi != 1 and state.moved())):
            continue
        explorer = explorer_of(path, extra=['--device=cpu'])
        command, remark = explorer.command(state)
        program, *args = shlex.split(command)
        assert (program, args.pop(0)) == ('python', 'generate.py')
        status, _, err = drawing.run(*(f'--outdir=out-{path.stem}' if arg == '--outdir=out' else arg for arg in args))
        assert (status, err) == (0, '')
        files = {file.name: decode(file.read_bytes()) for file in Path(f'out-{path.stem}').iterdir()}
        name = re.search(r'\S+\.png|$', remark)[0] or min(files)
        assert len(files) == 1 or args[0] == 'mix'
        picture = files[name]
        if args[0] == 'traverse':
            picture = cells_of(picture, 1, 4)[0][dict(first=0, third=2)[remark.split()[3]]]
        assert_close(explorer.draw(state), picture)


@pytest.mark.parametrize('state, why', [
    (State(mix_layers=frozenset([1]), psi=0.5), 'all domains'),
    (State(mix_layers=frozenset([1]), offsets={0: 1.0}), 'moved, and layers mixed'),
    (State(offsets={0: 1.0, 4: 1.0}), 'moved together'),
    (State(offsets={0: 1.0}, noise_mode='none'), 'own noise')])
def test_where_no_command_draws_the_picture_it_is_said_why(network, state, why):
    command, remark = explorer_of(network).command(state)
    assert command is None and why in remark


def test_file_names(network, plain):
    explorer = explorer_of(network)
    assert explorer.file_name(State(seed=3, domain=1, mix_seed=5, offsets={4: 0})) == 'seed0003-class1.png'
    for edit in (dict(psi=0.5), dict(noise_mode='none'), dict(offsets={4: 1.0}), dict(mix_layers=frozenset([1]))):
        assert explorer.file_name(State(seed=3, **edit)) == 'seed0003-class0-edited.png'
    assert explorer_of(plain).file_name(State(seed=70_000)) == 'seed70000.png'


def test_the_coordinates_that_are_offered(network, plain, tmp_path):
    explorer = explorer_of(network)
    assert explorer.coordinates == [4, 0, 3] and explorer.caption(4) == 'importance 1.50'
    assert explorer.coordinates_note().startswith('All 3 living style coordinates')
    assert '16×16 RGB, 2 domains' in explorer.summary() and '3 of 6 style coordinates alive' in explorer.summary()

    many = explorer_of(drawing.save_network(tmp_path / 'many.pkl', 2, resolution=8, z_dim=24, cond_mode='mlp', i_dim=20,
                                            importance=torch.linspace(1, 2, 20).tolist()))
    assert many.coordinates == list(range(19, 3, -1))
    assert many.coordinates_note().startswith('The 16 most important of 20')

    dead = explorer_of(drawing.save_network(tmp_path / 'dead.pkl', 2, resolution=8, cond_mode='flow', i_dim=3,
                                            importance=[0.1, -3.0, 0.0]))
    assert dead.coordinates == list(range(8)) and dead.coordinates_note().startswith('No style coordinate')

    without = explorer_of(plain)
    assert without.coordinates == list(range(8)) and without.caption(0) == ''
    assert without.coordinates_note().startswith('This network has no style coordinates; these are the first 8 of the 8')


# Options.

@pytest.fixture
def served(monkeypatch):
    """What would be served: the calls of `serve`, by a page that needs no nicegui."""
    calls = []
    monkeypatch.setattr(explore, 'import_page', lambda: SimpleNamespace(make_app=lambda explorer: explorer))
    monkeypatch.setattr(explore, 'serve', lambda *args: calls.append(args))
    return calls


def run(network, *args):
    return drawing.run('explore', f'--network={network}', '--device=cpu', *args)


@pytest.fixture
def taken():
    """A port that is taken on this machine."""
    with socket.create_server(('127.0.0.1', 0)) as sock:
        yield sock.getsockname()[1]


def test_a_port_that_is_taken(served, taken, monkeypatch):
    status, out, err = run('missing.pkl', f'--port={taken}')
    assert (status, out, err) == (2, '', f'Error: --port: {taken} is taken at 127.0.0.1; choose another, or leave --port out for '
                                         'the next that is free\n')
    monkeypatch.setattr(explore, 'FIRST_PORT', taken)
    with explore.listen('127.0.0.1', None) as sock:
        assert taken < sock.getsockname()[1] < taken + explore.PORTS_TRIED
    monkeypatch.setattr(explore, 'PORTS_TRIED', 1)
    status, _, err = run('missing.pkl')
    assert status == 2 and err == f'Error: ports {taken} to {taken} of 127.0.0.1 are taken; choose another with --port\n'


@pytest.mark.parametrize('host', ['no.such.host.invalid', 'a..b', '', '203.0.113.7'])
def test_a_bad_host(served, host):
    status, out, err = run('missing.pkl', f'--host={host}')
    assert (status, out) == (2, '') and err.count('\n') == 1 and err.startswith('Error: --host: ')


def test_a_port_that_one_may_not_open(served, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, 'Permission denied')
    monkeypatch.setattr(socket, 'create_server', refuse)
    status, _, err = run('missing.pkl', '--port=80')
    assert status == 2 and err == 'Error: --port: cannot listen at port 80 of 127.0.0.1 (Permission denied); choose another\n'


def test_only_this_machine_unless_told(served, network):
    status, out, err = run(network)
    assert (status, err) == (0, '') and 'warn' not in out
    status, out, err = run(network, '--host=0.0.0.0')
    assert (status, err) == (0, '') and out.count('warn: anyone who can reach http://') == 1
    assert served[0][2].startswith('http://127.0.0.1:80') and '0.0.0.0' not in served[1][2]


def test_addresses():
    with socket.create_server(('127.0.0.1', 0)) as sock:
        port = sock.getsockname()[1]
        assert explore.url_of('127.0.0.1', sock) == f'http://127.0.0.1:{port}'
        assert explore.url_of('localhost', sock) == f'http://localhost:{port}'
        assert explore.url_of('::1', sock) == f'http://[::1]:{port}'


def test_the_browser_opens_on_a_terminal_with_a_display(served, network, monkeypatch):
    run(network)
    run(network, '--open=1')
    monkeypatch.setattr(explore, 'has_display', lambda: True)
    run(network)  # whose output is no terminal
    run(network, '--open=0')
    assert [call[3] for call in served] == [False, True, False, False]


def test_names_of_domains(served, network, plain, tmp_path):
    folder = tmp_path / 'data'
    folder.mkdir()
    (folder / 'dataset.json').write_text('{"labels": [["a.png", 0]], "domains": ["ink", "paint"]}')
    PIL.Image.new('RGB', (16, 16)).save(folder / 'a.png')
    assert run(network, f'--data={folder}')[0] == 0
    assert served[0][0].names == ['ink', 'paint'] and served[0][0].domain_name(1) == 'domain 1 (paint)'
    assert served[0][0].extra[0] == '--device=cpu'
    status, _, err = run(plain, f'--data={folder}')
    assert status == 1 and err == f'Error: {plain}: has no domains (trained without --cond=1); leave --data out\n'


def test_a_network_that_is_missing(served):
    status, _, err = run('missing.pkl')
    assert status == 1 and err.count('\n') == 1 and 'missing.pkl' in err


def test_without_nicegui_there_is_one_line_before_the_network_is_loaded():
    code = ('import sys; sys.modules["nicegui"] = None; sys.argv = ["generate.py", "explore", "--network=missing.pkl"]; '
            'import generate; from dnnlib import cli; cli.run(generate.main)')
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (
        1, '', 'Error: generate.py explore needs nicegui; pip install -r requirements-extras.txt\n')


# In a browser.

class Server:
    """generate.py explore in a process of its own, which has started. address: of the page."""

    def __init__(self, network, cwd, *args):
        pytest.importorskip('nicegui')
        env = {name: value for name, value in os.environ.items() if name != 'PYTEST_CURRENT_TEST'}  # which nicegui looks for
        command = [sys.executable, ROOT / 'generate.py', 'explore', f'--network={network}', '--device=cpu', *args]
        self.process = subprocess.Popen(command, cwd=cwd, env=env | dict(OMP_NUM_THREADS='1'), text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.output = ''
        while 'Explore the network at ' not in self.output:
            line = self.process.stdout.readline()
            assert line, self.output
            self.output += line
        self.address = re.search(r'http://\S+', self.output)[0]

    def end(self, signum):
        """(exit status, what it printed after it had started)."""
        self.process.send_signal(signum)
        try:
            return self.process.wait(timeout=20), self.process.stdout.read()
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture(scope='module')
def server(network, tmp_path_factory):
    cwd = tmp_path_factory.mktemp('cwd')
    server = Server(network, cwd)
    yield server
    assert server.end(signal.SIGINT) == (0, '')
    assert list(cwd.iterdir()) == []  # nothing is left behind


def status(server, path='/', **headers):
    """HTTP status of a request with these headers."""
    address = urllib.parse.urlsplit(server.address)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.putrequest('GET', path, skip_host=True)
    for name, value in {'Host': address.netloc, **headers}.items():
        connection.putheader(name.replace('_', '-'), value)
    connection.endheaders()
    with contextlib.closing(connection):
        return connection.getresponse().status


def test_forged_requests_are_refused(server):
    """By DNS rebinding, and of web pages that are open beside this one; also over the socket that moves the sliders."""
    upgrade = dict(Upgrade='websocket', Connection='Upgrade', Sec_WebSocket_Key='MDEyMzQ1Njc4OWFiY2RlZg==',
                   Sec_WebSocket_Version='13')
    path = '/_nicegui_ws/socket.io/?EIO=4&transport=websocket'
    here = f'http://{urllib.parse.urlsplit(server.address).netloc}'
    assert status(server) == 200
    assert status(server, Host='evil.example') == status(server, Origin='http://evil.example') == 403
    assert status(server, path, Origin=here, **upgrade) == 101
    assert status(server, path, Origin='http://evil.example', **upgrade) == 403
    assert status(server, path, Host='evil.example', Origin='http://evil.example', **upgrade) == 403


@pytest.fixture(scope='module')
def browser():
    playwright = pytest.importorskip('playwright.sync_api')
    if CHROMIUM is None:
        pytest.skip('no Chromium')
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


class Tab:
    """The page in a tab of its own."""

    def __init__(self, browser, server):
        self.page = browser.new_page(viewport=dict(width=1280, height=800))
        self.complaints, self.requests = [], []
        self.page.on('console', lambda message: message.type in ('error', 'warning') and self.complaints.append(message.text))
        self.page.on('pageerror', lambda error: self.complaints.append(str(error)))
        self.page.on('request', lambda request: self.requests.append(request.url))
        self.page.on('websocket', lambda socket: self.requests.append(socket.url))
        self.page.goto(server.address)

    def image(self, selector='.frame img'):
        """The image that is shown: uint8 [H, W, 3]."""
        size, values = self.page.locator(selector).evaluate('''async image => {
            for (let i = 0; i < 100 && !image.naturalWidth; i++) await new Promise(done => setTimeout(done, 100));
            const canvas = document.createElement('canvas'), size = [image.naturalHeight, image.naturalWidth];
            [canvas.height, canvas.width] = size;
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            return [size, Array.from(context.getImageData(0, 0, size[1], size[0]).data)];
        }''')
        return np.array(values, dtype=np.uint8).reshape(*size, 4)[:, :, :3]

    def wait_for(self, pixels, **kwargs):
        """Until it shows an image."""
        end = time.monotonic() + 15
        while not np.array_equal(shown := self.image(**kwargs), pixels):
            assert time.monotonic() < end, np.abs(shown.astype(int) - pixels).max()
            time.sleep(0.02)

    def press(self, slider, key, times):
        track = self.page.get_by_role('slider', name=slider, exact=True).locator('[tabindex]').first
        for _ in range(times):
            track.press(key)


@pytest.fixture
def tab(browser, server):
    tab = Tab(browser, server)
    yield tab
    tab.page.close()
    assert tab.complaints == []
    hosts = {re.match(r'(?:http|ws)://([^/]+)', url)[1] for url in tab.requests if not url.startswith(('data:', 'blob:'))}
    assert hosts == {server.address.partition('//')[2]}


def test_the_page_shows_what_its_controls_say(tab, network):
    explorer, page = explorer_of(network), tab.page
    tab.wait_for(explorer.draw(State()))
    page.get_by_role('button', name='Next seed', exact=True).click()
    tab.wait_for(explorer.draw(State(seed=1)))
    page.get_by_label('Seed', exact=True).fill('12')
    tab.wait_for(explorer.draw(State(seed=12)))
    tab.press('Coordinate 4', 'ArrowRight', 25)
    tab.wait_for(explorer.draw(State(seed=12, offsets={4: 1.25})))
    tab.wait_for(explorer.draw(State(seed=12, domain=1, offsets={4: 1.25})), selector='.strip img >> nth=1')
    assert '--coordinates=4 --span=1.25' in page.locator('.command').inner_text()

    page.get_by_label('Show domain 1').click()
    tab.press('Truncation psi', 'ArrowLeft', 2)
    tab.wait_for(explorer.draw(State(seed=12, domain=1, psi=0.9, offsets={4: 1.25})))
    page.get_by_role('button', name='Reset', exact=True).click()
    tab.wait_for(explorer.draw(State(seed=12, domain=1, psi=0.9)))
    page.locator('[role=slider][aria-label="Coordinate 4"][aria-valuenow="0"]').wait_for()
    page.get_by_role('button', name='Reset Truncation psi').click()
    page.get_by_role('checkbox').nth(1).click()  # 8x8
    page.get_by_text('Off', exact=True).click()
    tab.wait_for(explorer.draw(State(seed=12, domain=1, noise_mode='none', mix_seed=1, mix_layers=frozenset([1, 2]))))
    assert '--rows=12 --cols=1 --styles=1,2 --class=1' in page.locator('.command').inner_text()
    tab.press('Coordinate 4', 'ArrowLeft', 1)
    page.get_by_text('No command draws this picture').wait_for()
    assert not page.locator('.command').is_visible()

    with page.expect_download() as download:
        page.get_by_text('Download PNG').click()
    assert download.value.suggested_filename == 'seed0012-class1-edited.png'
    edited = State(seed=12, domain=1, noise_mode='none', offsets={4: -0.05}, mix_seed=1, mix_layers=frozenset([1, 2]))
    np.testing.assert_array_equal(decode(Path(download.value.path()).read_bytes()), explorer.draw(edited))


@pytest.mark.parametrize('width, height', [(1280, 800), (800, 1000)])
def test_the_page_fits_and_is_not_blank(tab, width, height):
    tab.page.set_viewport_size(dict(width=width, height=height))
    tab.image()
    with PIL.Image.open(io.BytesIO(tab.page.screenshot())) as picture:
        values = np.array(picture.convert('L')).astype(int)
    assert values.shape == (height, width) and values.std() > 10 and len(np.unique(values)) > 50
    assert tab.page.evaluate('document.documentElement.scrollWidth') == width
    assert tab.page.locator('.frame img').bounding_box()['width'] > 300


def test_over_a_slow_connection_the_newest_state_is_drawn_not_all_before(tab, network):
    tab.image()
    devtools = tab.page.context.new_cdp_session(tab.page)
    devtools.send('Network.enable')
    slow = dict(offline=False, latency=400, downloadThroughput=-1, uploadThroughput=-1)
    devtools.send('Network.emulateNetworkConditions', slow)
    box = tab.page.get_by_role('slider', name='Coordinate 4').bounding_box()
    y, states, begin = box['y'] + box['height'] / 2, 60, time.monotonic()
    tab.requests.clear()
    tab.page.mouse.move(box['x'] + box['width'] / 2, y)
    tab.page.mouse.down()
    for i in range(states):
        tab.page.mouse.move(box['x'] + box['width'] * (i + 1) / states, y)
        tab.page.wait_for_timeout(20)
    tab.page.mouse.up()
    tab.wait_for(explorer_of(network).draw(State(offsets={4: 3.0})))
    assert 2 <= sum('/image?' in url for url in tab.requests) <= (time.monotonic() - begin) / 0.4 + 1


def test_each_tab_has_settings_of_its_own(tab, browser, server, network):
    other = Tab(browser, server)
    other.page.get_by_role('button', name='Next seed', exact=True).click()
    other.wait_for(explorer_of(network).draw(State(seed=1)))
    np.testing.assert_array_equal(tab.image(), explorer_of(network).draw(State()))
    other.page.close()


def test_an_unconditional_network_is_served_without_other_hosts_until_sigterm(plain, tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as sock:
        port = sock.getsockname()[1]
    server = Server(plain, tmp_path, f'--port={port}', '--host=127.0.0.1')
    assert server.address == f'http://127.0.0.1:{port}'
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(server.address, timeout=20) as response:
        source = response.read().decode()
    assert 'these are the first 8 of the 8 coordinates of its latent' in source and 'In every domain' not in source
    assert set(re.findall(r'''(?:src|href|from|url\()\s*=?\s*["'(]?\s*(?:https?:)?//[^"')\s]+''', source)) == set()
    with pytest.raises(urllib.error.HTTPError, match='404'):
        opener.open(f'{server.address}/picture/none/image', timeout=20)
    assert server.end(signal.SIGTERM) == (0, '')
