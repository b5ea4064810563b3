"""The networks of models/: they draw what their page says, and hold nothing of the machine that made them."""

import pytest
import torch

from training.run.resume import newest_snapshot
from training.snapshots import shipped
from training.snapshots.file import load_network_snapshot

MOST_BYTES = 20 << 20


def images(name, count=64):
    """[domains, count, C, R, R] of the same latents."""
    G = load_network_snapshot(newest_snapshot(name), only=('G_ema',)).G_ema
    z = torch.randn(count, G.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.stack([G(z, c.expand(count, -1), noise_mode='const') for c in torch.eye(G.c_dim)])


def test_digits_have_the_colour_of_their_domain_and_keep_their_shape():
    brightness = (images('two-color-mnist/i-stylegan').clamp(-1, 1) + 1).mean(dim=(3, 4))  # [2, N, RGB]
    assert (brightness.argmax(dim=2).float().mean(dim=1) == torch.tensor([0.0, 1.0])).all()
    red, green = images('two-color-mnist/i-stylegan').amax(dim=2).flatten(2).clamp(-1, 1)
    same, other = (red - green).abs().mean(), (red - green.roll(1, 0)).abs().mean()
    assert same < 0.6 * other


def test_glyphs_are_bold_in_one_typeface_and_differ_by_latent():
    bold, serif, oblique = (images('glyphs/i-stylegan').clamp(-1, 1) + 1) / 2
    assert bold.mean() > 1.2 * max(serif.mean(), oblique.mean())
    assert (serif - serif.roll(1, 0)).abs().mean() > 1.5 * (serif - oblique).abs().mean()


@pytest.mark.parametrize('name', shipped.names())
def test_each_has_a_section_a_picture_and_no_paths(name):
    folder, page = shipped.MODELS / name, (shipped.MODELS / 'README.md').read_text()
    assert f'## {name}\n' in page and f'({name}/samples.png)' in page and (folder / 'samples.png').is_file()
    snapshot = load_network_snapshot(newest_snapshot(name))
    assert snapshot.cur_nimg and '/' not in snapshot.training_set_kwargs['path']


def test_all_of_them_are_small():
    assert sum(path.stat().st_size for path in shipped.MODELS.rglob('*') if path.is_file()) < MOST_BYTES
