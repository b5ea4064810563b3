"""The page of `generate.py explore`, built with NiceGUI: one `Page` for each tab of a browser."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from nicegui import background_tasks, run, ui

from dnnlib.channels import has_alpha
from dnnlib.image_size import height_width
from training.sampling.explorer import controls
from training.sampling.explorer.explorer import Explorer, State, encode_png, size_text

MOST_TABS = 32
MOST_DOMAINS = 12  # in the strip
MOST_BUTTONS = 5   # more domains than that are chosen from a list
THUMBNAIL = 128    # pixels
MOST_PSI, SPAN = 1.5, 3  # of the sliders of truncation and of coordinates
PIXELATED = 256    # images that are smaller show their pixels when they are enlarged
SLOW = 0.3         # seconds after which the page says that it is drawing
PATIENCE = 1.0     # seconds to wait for the browser to show an image before the next is drawn


def make_app(explorer: Explorer) -> FastAPI:
    """The application that serves the page at /. It contacts no other host."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pages: dict[str, Page] = {}

    @app.get('/picture/{page}/{name}')
    def picture(page: str, name: str) -> Response:
        if page not in pages or name not in pages[page].pictures:
            raise HTTPException(404)
        return Response(pages[page].pictures[name], media_type='image/png', headers={'Cache-Control': 'no-store'})

    @ui.page('/')
    def index() -> None:
        client = ui.context.client
        if len(pages) >= MOST_TABS:
            ui.label(f'{MOST_TABS} tabs show this network already. Close one, and load this page again.')
            return
        page = pages[client.id] = Page(explorer, client.id)
        client.on_connect(page.begin)  # a request without a browser connection draws nothing
        client.on_delete(lambda: pages.pop(client.id).close())

    ui.run_with(app, title=f'Explore {Path(explorer.network).name}', dark=None, tailwind=False, show_welcome_message=False,
                reconnect_timeout=30)
    return app


class Page:
    """The controls of one tab, and the images that they show.

    pictures: name -> PNG, which the browser fetches: the 'image', and 'domain<index>' for each domain of the strip.
    """

    def __init__(self, explorer: Explorer, key: str):
        self.explorer, self.key = explorer, key
        self.state = State()
        self.shown: State | None = None
        self.pictures: dict[str, bytes] = {}
        self._pixels: Any = None
        self._rendered: State | None = None
        self._drawing, self._downloading, self._closed, self._version = False, False, False, 0
        self._arrived = asyncio.Event()
        self._resets: list[Callable[[], None]] = []
        domains = range(min(explorer.G.c_dim, MOST_DOMAINS))
        self.strip: dict[int, tuple[ui.element, ui.element]] = dict.fromkeys(domains)
        self._build()
        self._describe()

    def begin(self) -> None:
        """The browser is connected: draw."""
        self._change()

    # From the controls to the images.

    def _change(self, **fields: Any) -> None:
        """Set fields of the state and have the newest state drawn. Intermediate states are skipped."""
        self.state = dataclasses.replace(self.state, **fields)
        self._describe()
        if not self._drawing:
            self._drawing = True
            background_tasks.create(self._draw())

    async def _draw(self) -> None:
        try:
            while self.shown is not self.state:
                state = self.state
                if not await self._show(state, 'image', self.image, None):
                    return
                self.shown = state
                for domain in sorted(self.strip, key=lambda domain: domain != state.domain):
                    if self.state is not state:
                        break
                    elsewhere = dataclasses.replace(state, domain=domain)
                    await self._show(elsewhere, f'domain{domain}', self.strip[domain][1], THUMBNAIL)
        except Exception:
            with self.frame:
                ui.notify('Drawing failed; the terminal says why.', type='negative')
            raise
        finally:
            self._drawing = False

    def close(self) -> None:
        """The tab is gone: draw no more."""
        self._closed = True

    async def _show(self, state: State, name: str, element: ui.element, at_most: int | None) -> bool:
        """Draw in a thread, and have the browser fetch it. False if the tab or the server is gone."""
        drawing = asyncio.ensure_future(run.io_bound(self._render, state, at_most))
        slow = not (await asyncio.wait([drawing], timeout=SLOW))[0]
        if slow:
            self.frame.classes(add='busy')
        try:
            png = await drawing
        finally:
            if slow:
                self.frame.classes(remove='busy')
        if png is None or self._closed:
            return False
        self._version += 1
        self.pictures[name] = png
        self._arrived.clear()
        element.props['src'] = f'/picture/{self.key}/{name}?{self._version}'
        if element is self.image:  # a slow connection gets fewer images instead of late ones
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), PATIENCE)
        return True

    def _render(self, state: State, at_most: int | None) -> bytes:
        if state != self._rendered:  # the image is in the strip, too
            self._pixels, self._rendered = self.explorer.draw(state), state
        return encode_png(self._pixels, at_most, fast=True)

    async def _download(self) -> None:
        if self._downloading:
            return
        self._downloading, state = True, self.state
        try:
            png = await run.io_bound(lambda: encode_png(self.explorer.draw(state)))
        finally:
            self._downloading = False
        if png is not None:
            ui.download(png, self.explorer.file_name(state))

    def _copy(self) -> None:
        ui.clipboard.write(self.explorer.command(self.state)[0])
        ui.notify('Copied', position='bottom-left', timeout=1000)

    def _describe(self) -> None:
        """The text of the page about the state."""
        state, explorer = self.state, self.explorer
        moved = len(state.moved())
        parts = [f'Seed {state.seed}', explorer.domain_name(state.domain) if explorer.names else '',
                 f'psi {state.psi}' if state.psi != 1 else '',
                 f'{moved} coordinate{"s" if moved > 1 else ""} moved' if moved else '',
                 f'mixed with seed {state.mix_seed}' if state.mix_layers else '']
        self.caption.set_text(' · '.join(part.replace(' ', '\N{NO-BREAK SPACE}') for part in parts if part))
        command, remark = explorer.command(state)
        self.command.set_content(' '.join(f'<span>{html.escape(word)}</span>' for word in (command or '').split(' ')))
        self.command.set_visibility(command is not None)
        self.copy.set_visibility(command is not None)
        self.remark.set_text(remark)
        self.remark.set_visibility(bool(remark))
        for domain, (button, _) in self.strip.items():
            button.classes(**{'add' if domain == state.domain else 'remove': 'chosen'})

    # The page, from top to bottom.

    def _build(self) -> None:
        height, width = height_width(self.explorer.G.img_resolution)
        ui.add_css(f':root {{ --shape: {width / height} }}')
        ui.add_css(Path(__file__).with_suffix('.css'))
        ui.colors(primary='#33608c')
        with ui.element('header').classes('top'):
            ui.label(Path(self.explorer.network).name).classes('title').tooltip(self.explorer.network)
            ui.label(self.explorer.summary()).classes('muted')
        with ui.element('main').classes('columns'):
            with ui.element('section').classes('picture panel stack'):
                self._build_picture()
            with ui.element('section').classes('controls'):
                self._build_latent()
                self._build_coordinates()
                self._build_mixing()

    def _build_picture(self) -> None:
        G = self.explorer.G
        pixelated = 'pixelated' if max(height_width(G.img_resolution)) < PIXELATED else ''
        alpha = 'alpha' if has_alpha(G.img_channels) else ''
        self.frame = ui.element('div').classes(f'frame {pixelated} {alpha}')
        with self.frame:
            self.image = ui.element('img').props('alt="The image that the controls describe"')
            self.image.on('load', self._arrived.set, [])
            self.image.on('error', self._arrived.set, [])
        with ui.element('div').classes('shown'):
            self.caption = ui.label().classes('muted')
            ui.button('Download PNG', icon='download', on_click=self._download).props('flat dense no-caps').tooltip(
                f'The image with all of its {size_text(G.img_resolution)} pixels, as generate.py writes it.')
        if self.strip:
            with ui.element('div').classes('stack').style('gap: 6px'):
                shown = len(self.strip)
                title = 'In every domain' if shown == G.c_dim else f'In the first {shown} of {G.c_dim} domains'
                controls.heading(title).tooltip('The same latent and the same offsets: what differs is what the domain decides. '
                                                'Click on one to choose it.')
                with ui.element('div').classes(f'strip {alpha}'):
                    for domain in self.strip:
                        name = self.explorer.names[domain]
                        button = ui.element('button').props(f'aria-label="Show domain {domain}" type=button')
                        button.on('click', lambda domain=domain: self.domain.set_value(domain), [])
                        with button:
                            thumbnail = ui.element('img').props('alt=""').classes(pixelated)
                            ui.label(name)
                        self.strip[domain] = button, thumbnail
        with ui.element('div').classes('stack').style('gap: 4px'):
            with ui.element('div').classes('between'):
                controls.heading('The same picture from the command line')
                self.copy = ui.button(icon='content_copy', on_click=self._copy)
                self.copy.props('flat dense round size=sm aria-label="Copy the command"').tooltip('Copy')
            self.command = ui.html(sanitize=False).classes('command')
            self.remark = ui.label().classes('muted small')

    def _build_latent(self) -> None:
        explorer = self.explorer
        with ui.element('section').classes('panel stack'):
            with ui.element('div').classes('between'):
                controls.seed_control('Seed', self.state.seed, lambda seed: self._change(seed=seed),
                                      'Fixes the random latent z, as --seeds does: another seed, another image.')
                if explorer.has_noise:
                    self._build_noise()
            if explorer.names:
                self._build_domains()
            mean = 'the mean of the domain' if explorer.names else 'the mean image'
            controls.slider('Truncation psi', f'Pulls w towards {mean}: 1 leaves w unchanged, 0 shows the mean itself. Below 1, '
                            'images vary less and look more typical; above 1, the reverse.',
                            (0, MOST_PSI), 1, lambda psi: self._change(psi=psi), '{:.2f}')

    def _build_noise(self) -> None:
        with ui.element('div').classes('between'):
            ui.label('Noise').tooltip('Fine detail that the latent leaves open. Fixed: that of the network, the same in all '
                                      'images.')
            noise = ui.toggle({'const': 'Fixed', 'none': 'Off'}, value=self.state.noise_mode,
                              on_change=lambda e: self._change(noise_mode=e.value))
            noise.props('dense no-caps unelevated size=sm padding="4px 10px" aria-label=Noise')

    def _build_domains(self) -> None:
        with ui.element('div').classes('between'):
            ui.label('Domain').tooltip('The label that the network is conditioned on. The latent stays the same.')
            buttons = len(self.explorer.names) <= MOST_BUTTONS
            make = ui.toggle if buttons else functools.partial(ui.select, with_input=True)
            self.domain = make(dict(enumerate(self.explorer.names)), value=self.state.domain,
                               on_change=lambda e: self._change(domain=e.value))
            self.domain.props('no-caps unelevated padding="4px 14px"' if buttons else 'outlined').props('dense aria-label=Domain')

    def _build_coordinates(self) -> None:
        explorer = self.explorer
        with ui.element('section').classes('panel'):
            with ui.element('div').classes('head'):
                controls.heading('Style coordinates' if explorer.style else 'Latent coordinates')
                ui.button('Reset', icon='restart_alt', on_click=lambda: [reset() for reset in self._resets]).props(
                    'flat dense no-caps').tooltip('All coordinates back to 0.')
            ui.label(f'{explorer.coordinates_note()} Each slider adds to one number of what enters the MLP of the mapping '
                     'network; 1 is about a standard deviation.').classes('muted small note')
            with ui.element('div').classes('sliders'):
                for j in explorer.coordinates:
                    self._resets.append(controls.slider(f'Coordinate {j}', explorer.hint(j), (-SPAN, SPAN), 0,
                                                        functools.partial(self._move, j), '{:+.2f}', explorer.caption(j)))

    def _move(self, j: int, offset: float) -> None:
        self._change(offsets=self.state.offsets | {j: offset})

    def _build_mixing(self) -> None:
        def mix(layers: range, on: bool) -> None:
            self._change(mix_layers=self.state.mix_layers.union(layers) if on else self.state.mix_layers.difference(layers))

        with ui.element('section').classes('panel'):
            with ui.element('div').classes('head'):
                controls.heading('Style mixing').tooltip(
                    'Layers of the synthesis network may take the w of a second seed: coarse ones decide shape and pose, fine '
                    'ones colours and texture. The sliders above move the first seed only.')
                controls.seed_control('Second seed', self.state.mix_seed, lambda seed: self._change(mix_seed=seed),
                                      'Whose w the ticked layers take.')
            with ui.element('div').classes('mixing'):
                for group in self.explorer.groups:
                    with ui.element('div'):
                        box = ui.checkbox(group.size)
                        box.props('dense').on_value_change(lambda e, layers=group.layers: mix(layers, e.value))
                        ui.label(group.caption()).classes('muted small')
