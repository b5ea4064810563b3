"""From the state of the controls of `generate.py explore` to pixels, and to the command that draws the same image."""

from __future__ import annotations

import dataclasses
import io
import shlex
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch

from dnnlib import channels
from dnnlib.image_size import ImageSize, text_of
from training.networks import Generator
from training.networks.mapping import LIVING
from training.sampling import axes, drawing
from training.sampling.commands import mix
from training.start_grid import size_at

MOST_COORDINATES = 16


@dataclasses.dataclass(frozen=True)
class State:
    """One setting of all controls.

    seed: of the latent z, 0 to 2^32 - 1. domain: counted from 0; 0 for unconditional networks. psi: truncation towards
    the mean of the domain, 1 for none. noise_mode: 'const' or 'none'. offsets: shifts of coordinates of the latent u, the input
    of the mapping network's MLP. mix_layers: the layers, of num_ws, that take the w of mix_seed.
    """

    seed: int = 0
    domain: int = 0
    psi: float = 1
    noise_mode: str = 'const'
    offsets: dict[int, float] = dataclasses.field(default_factory=dict)
    mix_seed: int = 1
    mix_layers: frozenset[int] = frozenset()

    def moved(self) -> dict[int, float]:
        """The offsets that are not 0."""
        return {j: offset for j, offset in self.offsets.items() if offset != 0}


class LayerGroup(NamedTuple):
    """Layers of the synthesis network that act first at one level (training.start_grid): indices into ws. size: of its feature
    maps, '16×12'."""

    level: int
    size: str
    layers: range

    def caption(self) -> str:
        """'coarse, layers 1–2'."""
        first, last = self.layers[0], self.layers[-1]
        kind, = (name for name, (least, most) in mix.NAMED.items() if least <= self.level <= most)
        return f'{kind}, layers {first}–{last}' if first != last else f'{kind}, layer {first}'


class Explorer:
    """Draws the states of any number of pages, one at a time.

    G: eval mode. network: how --network named it. names: of the domains, [] for unconditional networks. extra: options
    to repeat in commands, such as ['--device=cpu'].
    """

    def __init__(self, G: Generator, network: str, names: Sequence[str] = (), extra: Sequence[str] = ()):
        self.G, self.network, self.names, self.extra = G, network, list(names), list(extra)
        self.device = next(G.parameters()).device
        self.importance = G.mapping.importance[0].tolist() if G.mapping.i_dim > 0 else []
        self.style = axes.living_coordinates(G)
        self.coordinates = (self.style or list(range(G.z_dim)))[:MOST_COORDINATES]
        self.groups = layer_groups(G)
        self.has_noise = any(name.endswith('noise_const') for name, _ in G.synthesis.named_buffers())
        self._means: dict[int, torch.Tensor] = {}
        self._lock = threading.Lock()

    def draw(self, state: State) -> np.ndarray:
        """The image uint8 [H, W, C], C = 1 to 4, of a state: the same to the bit as `generate.py images` with its seed.

        Except for truncation in conditional networks, which is towards the mean of the domain, as with `domains`.
        """
        with self._lock:
            return drawing.render(self.G, self._ws(state), state.noise_mode, [''])[0]

    @torch.no_grad()
    def _ws(self, state: State) -> torch.Tensor:
        G = self.G
        label = drawing.one_hot(G, state.domain, self.device)
        u = G.mapping.latent(drawing.seed_latent(G, state.seed, self.device), label)
        for j, offset in state.moved().items():
            u[0, j] += offset
        ws = G.mapping.map_latent(u)
        if state.mix_layers:
            layers = sorted(state.mix_layers)
            ws[:, layers] = G.mapping(drawing.seed_latent(G, state.mix_seed, self.device), label)[:, layers]
        return drawing.truncate(ws, self._mean(state.domain, label) if state.psi != 1 else None, state.psi)

    def _mean(self, domain: int, label: torch.Tensor) -> torch.Tensor:
        """The mean w [w_dim] that is truncated to: of one domain, or of all latents of an unconditional network."""
        if domain not in self._means:
            self._means[domain] = drawing.domain_w_mean(self.G, label)
        return self._means[domain]

    def summary(self) -> str:
        """A description of the network."""
        G = self.G
        parts = [f'{size_text(G.img_resolution)} {channels.name(G.img_channels)}',
                 f'{G.c_dim} domains' if G.c_dim > 0 else 'unconditional', f'latents of {G.z_dim} numbers']
        if self.importance:
            parts.append(f'{len(self.style)} of {len(self.importance)} style coordinates alive')
        return ', '.join(parts)

    def coordinates_note(self) -> str:
        """A description of the coordinates that the page offers."""
        shown = len(self.coordinates)
        if self.style:
            which = f'All {shown}' if shown == len(self.style) else f'The {shown} most important of {len(self.style)}'
            return f'{which} living style coordinates, the most important first.'
        if not shown:
            return 'This network has no latent to move.'
        reason = (f'No style coordinate of this network lives (no importance is above {LIVING})' if self.importance else
                  'This network has no style coordinates')
        return f'{reason}; these are the first {shown} of the {self.G.z_dim} coordinates of its latent.'

    def caption(self, j: int) -> str:
        """A hint about a coordinate: its importance, if it is a style coordinate."""
        return f'importance {self.importance[j]:.2f}' if j < len(self.importance) else ''

    def hint(self, j: int) -> str:
        """The kind of a coordinate."""
        if j not in self.style:
            return f'Number {j} of the latent.'
        return f'Number {j} of the latent. Its importance is learned: how far a domain moves it. Above {LIVING}, it lives.'

    def domain_name(self, domain: int) -> str:
        """'domain 1', with its name if it has another: 'domain 1 (red)'."""
        name = self.names[domain]
        return f'domain {domain}' if name == str(domain) else f'domain {domain} ({name})'

    def command(self, state: State) -> tuple[str | None, str]:
        """(the command that draws the picture of a state, and a remark); (None, reason) if there is none."""
        moved, conditional = state.moved(), self.G.c_dim > 0
        truncated, noise, mixed = state.psi != 1, state.noise_mode != 'const', len(state.mix_layers) > 0
        if len(moved) + mixed > 1:
            return None, f'No command draws this picture: coordinates are moved{", and layers mixed" if mixed else " together"}.'
        if mixed and truncated and conditional:
            return None, 'No command draws this picture: mix truncates towards the mean of all domains.'
        if moved and noise:
            return None, 'No command draws this picture: traverse has its own noise.'

        options = [f'--network={self.network}', '--outdir=out']
        options += [f'--rows={state.seed}', f'--cols={state.mix_seed}'] if mixed else [f'--seeds={state.seed}']
        name, remark = 'images', ''
        if mixed:
            name, remark = 'mix', f'It is {state.seed}-{state.mix_seed}.png.'
            options += [f'--styles={",".join(map(str, sorted(state.mix_layers)))}']
        elif moved:
            (j, offset), = moved.items()
            name, place = 'traverse', 'third' if offset > 0 else 'first'
            remark = f'It is the {place} image of the row in traverse-{drawing.image_name(state.seed)}.png.'
            options += [f'--coordinates={j}', f'--span={abs(offset)}', '--steps=3', '--labels=0']
        elif truncated and conditional:
            name, remark = 'domains', 'Truncated towards the mean of the domain; `images` takes that of all domains.'
        if conditional:
            options += [f'--{"domains" if name == "domains" else "class"}={state.domain}']
        options += [f'--trunc={state.psi}'] if truncated else []
        options += [f'--noise-mode={state.noise_mode}'] if noise else []
        return shlex.join(['python', 'generate.py', name, *options, *self.extra]), remark

    def file_name(self, state: State) -> str:
        """The name of the downloaded PNG: seed and domain, and '-edited' if other controls were used."""
        edited = bool(state.moved() or state.mix_layers) or state.psi != 1 or state.noise_mode != 'const'
        domain = f'-class{state.domain}' if self.G.c_dim > 0 else ''
        return f'{drawing.image_name(state.seed)}{domain}{"-edited" if edited else ""}.png'


def layer_groups(G: Generator) -> list[LayerGroup]:
    """All layers of ws, by level."""
    levels = [drawing.layer_resolution(G, i) for i in range(G.num_ws)]
    return [LayerGroup(r, size_text(size_at(G.img_resolution, r)), range(levels.index(r), levels.index(r) + levels.count(r)))
            for r in sorted(set(levels))]


def size_text(size: ImageSize) -> str:
    """'64×48': width and height, for the page."""
    return text_of(size).replace('x', '×')


def encode_png(pixels: np.ndarray, at_most: int | None = None, fast: bool = False) -> bytes:
    """Pixels uint8 [H, W, C], C = 1 to 4, as a PNG. at_most: largest side in pixels. fast: prefer speed to small files."""
    image = PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if at_most is not None and (longer := max(image.size)) > at_most:
        image = image.resize([max(side * at_most // longer, 1) for side in image.size], PIL.Image.Resampling.BOX)
    with io.BytesIO() as f:
        image.save(f, format='PNG', **(dict(compress_level=1) if fast else {}))
        return f.getvalue()
