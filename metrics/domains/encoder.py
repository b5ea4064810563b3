"""An encoder for one generator, trained on its samples, and its file. `python -m training.encoder` trains it.

The file is safetensors: only weights, no code. Its metadata are one JSON object: the format, the digests of the generator and of
the weights, the training, and the quality.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from dnnlib.errors import UserError
from dnnlib.files import open_output
from dnnlib.image_size import height_width
from metrics.domains.classifier import shrink
from metrics.domains.regression import make_network
from torch_utils.misc import module_digest

FORMAT, VERSION = 'style-based-gan-encoder', 1
ABOUT = 'about'                # the only key of the metadata, because safetensors does not keep the order of several
WIDTHS, HIDDEN = (32, 64, 128), 256
SUFFIX = 'encoder.safetensors'


class Encoder(nn.Module):
    """Images [N, C, H, W] in [-1, 1] and labels [N, c_dim] -> latents z [N, z_dim] of a generator G(z, c).

    The images are shrunk to about 32 pixels. The label becomes constant channels. latent_dim: z_dim. about: the metadata of the
    file. G: the generator; only its sizes are used. generator: random numbers of the initial weights.
    """

    def __init__(self, G: nn.Module, generator: torch.Generator | None = None):
        super().__init__()
        self.latent_dim = G.z_dim
        self.about: dict[str, Any] = {}
        shape = shrink(torch.zeros(1, G.img_channels, *height_width(G.img_resolution))).shape
        self.net = make_network([shape[1] + G.c_dim, *shape[2:]], G.z_dim, generator or torch.Generator(), WIDTHS, HIDDEN)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        x = shrink(x)
        return self.net(torch.cat([x, c[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1))


def path_beside(network: str) -> Path | None:
    """The default path of the encoder of a network: beside a snapshot, or in the folder of an exported generator. None for a
    URL."""
    path = Path(network)
    if path.is_dir():
        return path / SUFFIX
    return path.with_name(f'{path.stem}-{SUFFIX}') if path.is_file() else None


def find(network: str, G: nn.Module, given: str | None = None) -> Encoder | None:
    """The encoder of a network in the file `given`, or else in the file beside the network, if there is one (path_beside).
    Raises UserError as `load` does."""
    if given:
        return load(given, G)
    path = path_beside(network)
    return load(path, G) if path is not None and path.is_file() else None


def save(path: str | Path, encoder: Encoder, G: nn.Module, about: Mapping[str, Any]) -> None:
    """Write the encoder atomically. about: its training and quality, as JSON values. Raises UserError."""
    about = dict(about, format=FORMAT, version=VERSION, generator=module_digest(G), weights=module_digest(encoder))
    state = {name: t.detach().cpu().contiguous() for name, t in encoder.state_dict().items()}
    content = safetensors.torch.save(state, metadata={ABOUT: json.dumps(about, sort_keys=True)})
    with open_output(path) as f:
        f.write(content)


def load(path: str | Path, G: nn.Module) -> Encoder:
    """Read the encoder of a generator, in eval mode, on G's device. Nothing in the file is executed. Its size must be that of an
    encoder for G. Raises UserError for a file that is missing, damaged, or of another generator.
    """
    path = Path(path)
    try:
        with safetensors.safe_open(path, framework='pt') as f:
            about = json.loads((f.metadata() or {}).get(ABOUT, 'null'))
            if not isinstance(about, dict) or about.get('format') != FORMAT or about.get('version') != VERSION:
                raise UserError(f'{path}: is no encoder of this version; {_again()}')
            if about.get('generator') != module_digest(G):
                raise UserError(f'{path}: was trained for another network; {_again()}')
            encoder = Encoder(G)
            encoder.load_state_dict({name: f.get_tensor(name) for name in f.keys()})  # noqa: SIM118 (it is no dict)
        if about.get('weights') != module_digest(encoder):
            raise ValueError('its checksum does not fit')
    except FileNotFoundError as err:
        raise UserError(f'{path}: no such file; {_again()}') from err
    except (OSError, ValueError, RuntimeError, RecursionError, safetensors.SafetensorError) as err:
        raise UserError(f'{path}: no readable encoder ({" ".join(str(err).split())[:80]}); {_again()}') from err
    encoder.about = about
    return encoder.requires_grad_(False).eval().to(next(G.parameters()).device)


def _again() -> str:
    return ('train one with `python -m training.encoder --network=...`, or find latents without an encoder, '
            'with --by=projection')
