"""Files of trained encoders, and which encoder is taken."""

import pickle
import shutil

import pytest
import torch
from helpers.domain_cases import CPU, context, networks, pictures, write_dataset
from torch import nn

from dnnlib import UserError
from metrics.domains import encoder as files
from metrics.domains import inversion, latents
from metrics.domains.encoder import Encoder
from metrics.features.cache import FeatureCache
from torch_utils.misc import module_digest

AGAIN = 'train one with `python -m training.encoder --network=...`, or find latents without an encoder, with --by=projection'


class Sizes(nn.Module):
    """Stands for a generator."""

    def __init__(self, channels=3, resolution=8, z_dim=4, c_dim=2):
        super().__init__()
        self.img_channels, self.img_resolution, self.z_dim, self.c_dim = channels, resolution, z_dim, c_dim
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)


def trained(G, seed=0):
    """An encoder for G that is as if trained."""
    encoder = Encoder(G, torch.Generator().manual_seed(seed))
    for name, value in encoder.named_buffers():
        if name.endswith('running_mean'):
            value.add_(0.1)
    return encoder.requires_grad_(False).eval()


@pytest.mark.parametrize(('channels', 'resolution'), [(1, (8, 24)), (2, 16), (3, (64, 32)), (4, 8)])
def test_what_is_saved_is_read_again(tmp_path, channels, resolution):
    G = Sizes(channels, resolution, z_dim=5, c_dim=3)
    encoder, path = trained(G), tmp_path / 'a.safetensors'
    files.save(path, encoder, G, dict(quality=dict(latents_r2=0.5), recipe=dict(kimg=3)))
    again = files.load(path, G)
    height, width = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    x, c = torch.rand(6, channels, height, width) * 2 - 1, torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    found = inversion.encode(again, x, c)
    assert found.shape == (6, 5) and torch.equal(found, inversion.encode(encoder, x, c))
    torch.testing.assert_close(found, again(x, c), atol=1e-5, rtol=1e-5)  # each by itself
    assert not torch.equal(found, inversion.encode(again, x, c.roll(1, 0))), 'the label counts'
    assert again.about['quality'] == dict(latents_r2=0.5) and again.about['generator'] == module_digest(G)
    files.save(tmp_path / 'b.safetensors', again, G, dict(recipe=dict(kimg=3), quality=dict(latents_r2=0.5)))
    assert (tmp_path / 'b.safetensors').read_bytes() == path.read_bytes()


def refused(path, G, text):
    with pytest.raises(UserError) as caught:
        files.load(path, G)
    assert str(caught.value).startswith(f'{path}: ') and text in str(caught.value) and str(caught.value).endswith(AGAIN)
    assert '\n' not in str(caught.value)


def test_files_that_do_not_fit_are_refused(tmp_path):
    G, path = Sizes(), tmp_path / 'a.safetensors'
    files.save(path, trained(G), G, {})
    other = Sizes()
    other.scale.data += 1e-3
    refused(path, other, 'was trained for another network')
    refused(tmp_path / 'gone.safetensors', G, 'no such file')
    content = bytearray(path.read_bytes())
    for name, damaged in (('cut', content[:-9]), ('flipped', content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]),
                          ('empty', b''), ('pickle', pickle.dumps(dict(a=1)))):
        (tmp_path / name).write_bytes(damaged)
        refused(tmp_path / name, G, 'no readable encoder')
    (tmp_path / 'foreign').write_bytes(files.safetensors.torch.save(dict(a=torch.zeros(1))))
    refused(tmp_path / 'foreign', G, 'is no encoder of this version')
    with pytest.raises(UserError, match='cannot be written'):
        files.save(tmp_path, trained(G), G, {})


def test_the_file_lies_beside_the_network(tmp_path):
    snapshot, G = tmp_path / 'network-snapshot-000100.pkl', Sizes()
    snapshot.touch()
    beside = tmp_path / 'network-snapshot-000100-encoder.safetensors'
    assert files.path_beside(str(snapshot)) == beside and files.path_beside(str(tmp_path)) == tmp_path / 'encoder.safetensors'
    assert files.path_beside('https://host/a.pkl') is None and files.find('https://host/a.pkl', G) is None
    assert files.find(str(snapshot), G) is None
    files.save(beside, trained(G), G, {})
    assert files.find(str(snapshot), G) is not None
    shutil.move(beside, tmp_path / 'moved')
    assert files.find(str(snapshot), G, str(tmp_path / 'moved')) is not None
    with pytest.raises(UserError, match='no such file'):
        files.find(str(snapshot), G, str(beside))


def test_which_encoder_is_taken(monkeypatch):
    G, D = networks()
    encoder, works = trained(G), {}
    monkeypatch.setattr(inversion, 'rebuilding', lambda G, net, device: 0.5 if works[net] else 0.95)
    for by, of_D, of_encoder, expected in (
            ('auto', True, True, 'encoder'), ('auto', False, True, 'trained encoder'), ('auto', False, False, 'projection'),
            ('encoder', True, True, 'encoder'), ('encoder', False, False, 'trained encoder'),
            ('trained encoder', True, False, 'trained encoder'), ('projection', True, True, 'projection')):
        works |= {D: of_D, encoder: of_encoder}
        assert inversion.choose(by, G, D, CPU, encoder) == expected
    assert inversion.choose('encoder', G, None, CPU, encoder) == 'trained encoder'


def test_refined_latents_are_kept_for_each_encoder_apart(tmp_path):
    G, D = networks()
    data = write_dataset(tmp_path / 'a.zip', pictures(4), [0, 1, 0, 1])
    cache = FeatureCache(tmp_path / 'cache')

    def find(encoder, steps):
        ctx = context(G, data, D, by='trained encoder', encoder=encoder, steps=steps, feature_cache=cache)
        found = latents.find(ctx, data, [0, 1, 2, 3], 'x')
        return found, latents.facts(ctx, [found])

    first, second = trained(G, 0), trained(G, 1)
    plain, facts = find(first, None)
    assert facts == dict(by='trained encoder', encoder=module_digest(first)[:8],
                         reconstruction_error=pytest.approx(plain.errors.mean()))
    assert not (tmp_path / 'cache').exists(), 'encoding takes no time'
    x = torch.stack([torch.from_numpy(data[i][0]) for i in range(4)]) / 127.5 - 1
    assert torch.equal(plain.z, inversion.encode(first, x, torch.eye(2)[[0, 1, 0, 1]]))
    refined, facts = find(first, 5)
    assert facts['steps'] == 5 and refined.errors.mean() < plain.errors.mean()
    assert torch.equal(find(first, 5)[0].z, refined.z) and len(list((tmp_path / 'cache').iterdir())) == 1
    assert not torch.equal(find(second, 5)[0].z, refined.z) and len(list((tmp_path / 'cache').iterdir())) == 2
