"""The page of `generate.py explore`, built with NiceGUI: one `Page` for each tab of a browser."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from nicegui import background_tasks, run, ui

from training.sampling.explorer import Explorer, State, encode_png

MOST_SEED = 2 ** 32 - 1
MOST_DOMAINS = 12  # in the strip
MOST_BUTTONS = 5   # more domains than that are chosen from a list
THUMBNAIL = 128    # pixels
SPAN = 3           # of the sliders of coordinates
PIXELATED = 256    # images that are smaller show their pixels when they are enlarged
SLOW = 0.3         # seconds after which the page says that it is drawing
PATIENCE = 1.0     # seconds to wait for the browser to show an image before the next is drawn


def make_app(explorer: Explorer) -> FastAPI:
    """The application that serves the page at /, without a request to another host."""
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
        pages[client.id] = Page(explorer, client.id)
        client.on_delete(lambda: pages.pop(client.id, None))

    ui.run_with(app, title=f'Explore {Path(explorer.network).name}', dark=None, tailwind=False, show_welcome_message=False,
                reconnect_timeout=30)
    return app


class Page:
    """The controls of one tab, and the images that they show.

    pictures: name -> PNG, which the browser fetches: the 'image', and 'domain<index>' for each domain of the strip.
    """

    def __init__(self, explorer: Explorer, key: str):
        self.explorer, self.key = explorer, key
        self.state, self.shown = State(), None
        self.pictures: dict[str, bytes] = {}
        self._drawing, self._version = False, 0
        self._arrived = asyncio.Event()
        self._resets: list[Callable[[], None]] = []
        domains = range(min(explorer.G.c_dim, MOST_DOMAINS))
        self.strip: dict[int, tuple[ui.element, ui.element]] = dict.fromkeys(domains)
        self._build()
        self._change()

    # From the controls to the images.

    def _change(self, **fields: Any) -> None:
        """Set fields of the state, and see to it that it is drawn: the newest one, not those between."""
        self.state = dataclasses.replace(self.state, **fields)
        self._describe()
        if not self._drawing:
            background_tasks.create(self._draw())

    async def _draw(self) -> None:
        self._drawing = True
        try:
            while self.shown is not self.state:
                state = self.state
                if not await self._show(state, 'image', self.image, None):
                    return
                self.shown = state
                for domain, (_, thumbnail) in self.strip.items():
                    if self.state is not state:
                        break
                    await self._show(dataclasses.replace(state, domain=domain), f'domain{domain}', thumbnail, THUMBNAIL)
        finally:
            self._drawing = False

    async def _show(self, state: State, name: str, element: ui.element, at_most: int | None) -> bool:
        """Draw in a thread, and have the browser fetch it. False if the server ends."""
        drawing = asyncio.ensure_future(run.io_bound(lambda: encode_png(self.explorer.draw(state), at_most, fast=True)))
        slow = not (await asyncio.wait([drawing], timeout=SLOW))[0]
        if slow:
            self.frame.classes(add='busy')
        try:
            png = await drawing
        finally:
            if slow:
                self.frame.classes(remove='busy')
        if png is None:
            return False
        self._version += 1
        self.pictures[name] = png
        self._arrived.clear()
        element.props['src'] = f'/picture/{self.key}/{name}?{self._version}'
        if element is self.image:  # a slow connection gets fewer images, not late ones
            try:
                await asyncio.wait_for(self._arrived.wait(), PATIENCE)
            except asyncio.TimeoutError:
                pass
        return True

    async def _download(self) -> None:
        state = self.state
        png = await run.io_bound(lambda: encode_png(self.explorer.draw(state)))
        if png is not None:
            ui.download(png, self.explorer.file_name(state))

    def _describe(self) -> None:
        """What the page says about the state."""
        state, explorer = self.state, self.explorer
        parts = [f'Seed {state.seed}', explorer.domain_name(state.domain) if explorer.names else '',
                 f'psi {state.psi}' if state.psi != 1 else '',
                 f'{len(state.moved())} moved' if state.moved() else '', f'mixed with seed {state.mix_seed}' if state.mix_layers else '']
        self.caption.set_text(' · '.join(part for part in parts if part))
        command, remark = explorer.command(state)
        self.command.set_text(command or '')
        self.command.set_visibility(command is not None)
        self.copy.set_visibility(command is not None)
        self.remark.set_text(remark)
        self.remark.set_visibility(bool(remark))
        for domain, (button, _) in self.strip.items():
            button.classes(**{'add' if domain == state.domain else 'remove': 'chosen'})

    # The page, from top to bottom.

    def _build(self) -> None:
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
        pixelated = 'pixelated' if G.img_resolution < PIXELATED else ''
        self.frame = ui.element('div').classes(f'frame {pixelated}')
        with self.frame:
            self.image = ui.element('img').props('alt="The image that the controls describe"')
            self.image.on('load', self._arrived.set, [])
            self.image.on('error', self._arrived.set, [])
        with ui.element('div').classes('between'):
            self.caption = ui.label().classes('muted')
            ui.button('Download PNG', icon='download', on_click=self._download).props('flat dense no-caps').tooltip(
                f'The image with all of its {G.img_resolution}×{G.img_resolution} pixels, as generate.py writes it.')
        if self.strip:
            with ui.element('div').classes('stack').style('gap: 6px'):
                shown = len(self.strip)
                title = 'In every domain' if shown == G.c_dim else f'In the first {shown} of {G.c_dim} domains'
                heading(title).tooltip('The same latent and the same offsets: what differs is what the domain decides. '
                                        'Click on one to choose it.')
                with ui.element('div').classes('strip'):
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
                heading('The same picture from the command line')
                self.copy = ui.button(icon='content_copy', on_click=lambda: ui.clipboard.write(self.command.text))
                self.copy.props('flat dense round size=sm aria-label="Copy the command"').tooltip('Copy')
            self.command = ui.label().classes('command')
            self.remark = ui.label().classes('muted small')

    def _build_latent(self) -> None:
        explorer = self.explorer
        with ui.element('section').classes('panel stack'):
            with ui.element('div').classes('between'):
                seed_control('Seed', self.state.seed, lambda seed: self._change(seed=seed),
                             'Fixes the random latent z, as --seeds does: another seed, another image.')
                with ui.element('div').classes('between'):
                    ui.label('Noise').classes('muted')
                    noise = ui.toggle({'const': 'Fixed', 'none': 'Off'}, value='const',
                                      on_change=lambda e: self._change(noise_mode=e.value)).props('dense no-caps unelevated size=sm padding="4px 10px"')
                    noise.set_enabled(explorer.has_noise)
                    noise.tooltip('Fine detail that the latent leaves open. Fixed: the network’s own, the same in all images.'
                                  if explorer.has_noise else 'This network has no noise inputs.')
            if explorer.names:
                self._build_domains()
            mean = 'the mean of the domain' if explorer.names else 'the mean image'
            slider('Truncation psi', f'Pulls w towards {mean}: 1 leaves it alone, 0 shows the mean itself; below 1 images vary '
                   'less and look more typical, above 1 the reverse.', 0, 1.5, 1, lambda psi: self._change(psi=psi), '{:.2f}')

    def _build_domains(self) -> None:
        with ui.element('div').classes('between'):
            ui.label('Domain').tooltip('The label that the network is conditioned on. The latent stays the same.')
            names = {domain: name for domain, name in enumerate(self.explorer.names)}

            def choose(e: Any) -> None:
                self._change(domain=e.value)
            if len(names) <= MOST_BUTTONS:
                self.domain = ui.toggle(names, value=0, on_change=choose).props('dense no-caps unelevated padding="4px 14px"')
            else:
                self.domain = ui.select(names, value=0, on_change=choose, with_input=True).props('dense outlined')

    def _build_coordinates(self) -> None:
        explorer = self.explorer
        with ui.element('section').classes('panel'):
            with ui.element('div').classes('head'):
                heading('Style coordinates' if explorer.style else 'Latent coordinates')
                ui.button('Reset', icon='restart_alt', on_click=lambda: [reset() for reset in self._resets]).props(
                    'flat dense no-caps').tooltip('All coordinates back to 0.')
            ui.label(explorer.coordinates_note() + ' Each slider adds to one number of the latent u, after flow and '
                     'normalisation, where a step of 1 is about one standard deviation.').classes('muted small').style('margin-bottom: 12px')
            with ui.element('div').classes('sliders'):
                for j in explorer.coordinates:
                    self._resets.append(slider(
                        f'Coordinate {j}', explorer.hint(j), -SPAN, SPAN, 0,
                        lambda offset, j=j: self._change(offsets=self.state.offsets | {j: offset}), '{:+.2f}', explorer.caption(j)))

    def _build_mixing(self) -> None:
        def mix(layers: range, on: bool) -> None:
            self._change(mix_layers=self.state.mix_layers.union(layers) if on else self.state.mix_layers.difference(layers))

        with ui.element('section').classes('panel'):
            with ui.element('div').classes('head'):
                heading('Style mixing').tooltip(
                    'Layers of the synthesis network may take the w of a second seed: coarse ones decide shape and pose, fine '
                    'ones colours and texture. The sliders above move the first seed only.')
                seed_control('Second seed', self.state.mix_seed, lambda seed: self._change(mix_seed=seed),
                             'Whose w the ticked layers take.')
            with ui.element('div').classes('mixing'):
                for group in self.explorer.groups:
                    with ui.element('div'):
                        ui.checkbox(group.name, on_change=lambda e, layers=group.layers: mix(layers, e.value)).props('dense')
                        ui.label(group.caption()).classes('muted small')


def heading(text: str) -> ui.label:
    """The title of a part of the page."""
    return ui.label(text).classes('heading').props('role=heading aria-level=2')


def seed_control(label: str, value: int, on_change: Callable[[int], None], hint: str) -> None:
    """A number with buttons for the one before, the next one, and any."""
    def change(e: Any) -> None:
        if e.value is not None:
            on_change(int(min(max(e.value, 0), MOST_SEED)))

    def step_by(step: int) -> None:
        number.set_value(min(max(int(number.value or 0) + step, 0), MOST_SEED))

    with ui.element('div').classes('seed'):
        number = ui.number(label, value=value, min=0, max=MOST_SEED, precision=0, on_change=change).props('dense outlined')
        number.tooltip(hint)
        name = label.lower()
        for icon, text, action in (('chevron_left', f'Previous {name}', lambda: step_by(-1)),
                                   ('chevron_right', f'Next {name}', lambda: step_by(1)),
                                   ('casino', f'Random {name}', lambda: number.set_value(random.randrange(10_000)))):
            ui.button(icon=icon, on_click=action).props(f'flat round dense aria-label="{text}"').tooltip(text)


def slider(label: str, hint: str, least: float, most: float, neutral: float, on_change: Callable[[float], None],
           style: str, caption: str = '') -> Callable[[], None]:
    """A slider with its value, which is a button that sets it back to neutral; returns what does so."""
    def change(e: Any) -> None:
        value = round(e.value, 2)
        shown.set_text(style.format(value))
        shown.classes(add='changed') if value != neutral else shown.classes(remove='changed')
        on_change(value)

    def reset() -> None:
        control.set_value(neutral)

    with ui.element('div').classes('slider' + (' signed' if least < 0 else '')):
        with ui.element('div').classes('between'):
            with ui.element('div').classes('name'):
                ui.label(label).style('display: inline').tooltip(hint)
                ui.label(caption).classes('muted small').style('display: inline; margin-left: 6px')
            shown = ui.button(style.format(neutral), on_click=reset).props(f'flat dense no-caps aria-label="Reset {label}"')
            shown.classes('value').tooltip(f'Back to {neutral}')
        control = ui.slider(min=least, max=most, step=0.05, value=neutral, on_change=change).props(f'aria-label="{label}"')
    return reset
