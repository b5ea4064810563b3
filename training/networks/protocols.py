"""The interface of networks. A class of the user needs nothing else.

N: samples. H, W: size of the images; img_resolution is (H, W), or one number if they are square. ws are copies of w, one for
each layer that takes one. docs/own-networks.md has an example.
"""

from __future__ import annotations

from typing import Protocol

import torch


class Mapping(Protocol):
    """(z, c) -> ws, in two steps: `latent` prepares what enters the layers, `map_latent` is the layers.

    i_dim: the first i_dim coordinates of z are style, moved by the domain; 0 for none. cond_mode: how the label acts,
    'concat' unless there are style coordinates. use_label: whether each latent also takes a second label. A network that is
    truncated towards a mean keeps it in a buffer `w_avg` [w_dim].
    """

    i_dim: int
    cond_mode: str
    use_label: bool

    def forward(self, z: torch.Tensor, c: torch.Tensor, truncation_psi: float, truncation_cutoff: int | None,
                skip_w_avg_update: bool) -> torch.Tensor:
        """z [N, z_dim], c [N, c_dim] -> ws [N, num_ws, w_dim]. truncation_psi: pull w towards its mean; 1 leaves w unchanged."""

    def latent(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """What enters the layers: [N, L], L >= z_dim, coordinates of z first."""

    def map_latent(self, latent: torch.Tensor, truncation_psi: float, truncation_cutoff: int | None,
                   skip_w_avg_update: bool) -> torch.Tensor:
        """[N, L] -> ws [N, num_ws, w_dim]."""

    def style_mask(self) -> torch.Tensor:
        """Which coordinates of z are style that the domain moves: bool [z_dim]."""


class Synthesis(Protocol):
    """ws -> images."""

    def forward(self, ws: torch.Tensor, noise_mode: str, force_fp32: bool, noise_repeat: int) -> torch.Tensor:
        """ws [N, num_ws, w_dim] -> images [N, img_channels, H, W] float32, nominally in [-1, 1].

        noise_mode: 'random', 'const' or 'none'. noise_repeat: the batch is this many parts that share random noise. A network
        without noise inputs, or without half precision, accepts these arguments and does nothing with them.
        """


class Generator(Protocol):
    """(z, c) -> images. Its constructor takes z_dim, c_dim, img_resolution and img_channels by name."""

    z_dim: int
    c_dim: int
    w_dim: int
    num_ws: int
    img_resolution: int | tuple[int, int]
    img_channels: int
    mapping: Mapping
    synthesis: Synthesis

    def forward(self, z: torch.Tensor, c: torch.Tensor, truncation_psi: float, truncation_cutoff: int | None,
                noise_mode: str) -> torch.Tensor:
        """z [N, z_dim], c [N, c_dim] -> images [N, img_channels, H, W] float32. Also takes synthesis's other arguments."""


class Discriminator(Protocol):
    """(image, c) -> logit. Its constructor takes c_dim, img_resolution and img_channels by name.

    latent_dim: width of the features behind the logit; CLR-GAN needs z_dim of them.
    """

    c_dim: int
    img_resolution: int | tuple[int, int]
    img_channels: int
    latent_dim: int

    def forward(self, img: torch.Tensor, c: torch.Tensor, return_latent: bool, force_fp32: bool) -> torch.Tensor:
        """img [N, img_channels, H, W], c [N, c_dim] -> logits [N, 1] float32. With return_latent:
        (logits, features [N, latent_dim])."""
