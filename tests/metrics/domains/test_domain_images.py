"""Images by domain: which real ones, in which order, and the same latents in every domain."""

import numpy as np
import pytest
import torch
from helpers.domain_cases import context, networks, pictures, write_dataset

from dnnlib import UserError
from metrics.domains import domain_images
from metrics.features.generation import Draws

LABELS = [0, 1, 1, 0, 1, 1]


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / 'a.zip', pictures(6), LABELS)


def test_images_of_each_domain(dataset):
    G, _ = networks()
    found, items = domain_images.real_images(context(G, dataset), full=True, least=2)
    assert found is dataset and items == [[0, 3], [1, 2, 4, 5]]
    assert domain_images.real_images(context(G, dataset), full=True, least=2, most=3)[1] == [[0, 3], [1, 2, 4]]
    with pytest.raises(UserError, match='has 2 images of domain red, and the metric needs at least 3 of each'):
        domain_images.real_images(context(G, dataset), full=True, least=3)


def test_subsets_and_mirrored_images(dataset):
    G, _ = networks()
    part = type(dataset)(dataset.path, use_labels=True, max_size=3, xflip=True)
    assert domain_images.real_images(context(G, part), full=True, least=2)[1] == [[0, 3], [1, 2, 4, 5]]
    assert domain_images.real_images(context(G, part), full=False, least=2)[1] == [[0, 3, 6, 9], [1, 2, 4, 5, 7, 8, 10, 11]]


def test_names_of_domains(tmp_path):
    G, _ = networks()
    for names, expected in ((['red', 'green'], ['red', 'green']), (['red'], ['0', '1']), (['red', 'red'], ['0', '1'])):
        data = write_dataset(tmp_path / 'b.zip', pictures(6), LABELS, domains=names)
        assert domain_images.names_of_domains(context(G, data)) == expected


def test_a_latent_is_drawn_in_every_domain_with_the_same_noise(dataset):
    G, _ = networks()
    ctx = context(G, dataset)
    images = domain_images.in_domains(ctx, range(5))
    draws = Draws(ctx, range(5), domain_images.TUPLES)
    z, noise = draws.normal(4), draws.noise(G)
    for i in range(5):
        with torch.no_grad():
            for name, buffer in G.named_buffers():
                if name in noise:
                    buffer.copy_(noise[name][i, 0])
            for u in range(2):
                torch.testing.assert_close(images[i, u], G(z[i:i + 1], torch.eye(2)[u:u + 1], noise_mode='const')[0])
    assert not torch.allclose(images[:, 0], images[:, 1]), 'labels matter'
    torch.testing.assert_close(domain_images.in_domains(ctx, [4, 2], [1]), images[[4, 2]][:, 1:])
    assert not torch.allclose(domain_images.in_domains(context(G, dataset, seed=1), range(5)), images)


def test_tuples_of_a_paired_dataset(tmp_path):
    G, _ = networks()
    x = pictures(8)
    data = write_dataset(tmp_path / 'paired.zip', x, [0, 1] * 4, content=[3, 3, 1, 1, 3, 3, 0, 0])
    found = domain_images.real_tuples(context(G, data), least=2)
    assert len(found) == 4
    np.testing.assert_array_equal(found[1][0], np.concatenate([x[2], x[3]], axis=2))
    some = type(data)(data.path, use_labels=True, max_size=3, xflip=True)  # of a subset nothing would belong together
    assert domain_images.real_tuples(context(G, some), least=2).identity() == found.identity() != data.identity()
    batch = torch.from_numpy(x.reshape(4, 2, *x.shape[1:]))
    np.testing.assert_array_equal(domain_images.side_by_side(batch)[1], found[1][0])


@pytest.mark.parametrize(('labels', 'content', 'problem'), [
    ([0, 1] * 3, None, 'has no contents, which tell what images belong together'),
    ([0, 1] * 3, [3, 3, 1, 1, 2, 0], 'is not paired: it does not hold every image in each of the 2 domains, one after the other'),
    ([0, 0, 0, 1, 1, 1], [3, 3, 1, 1, 2, 2], 'is not paired'),
    ([0, 1, 0, 1, 0], [3, 3, 1, 1, 2], 'is not paired'),
    ([0, 1], [3, 3], 'has 1 tuple, and the metric needs at least 2'),
])
def test_datasets_without_tuples(tmp_path, labels, content, problem):
    G, _ = networks()
    data = write_dataset(tmp_path / 'a.zip', pictures(len(labels)), labels, content)
    with pytest.raises(UserError, match=problem):
        domain_images.real_tuples(context(G, data), least=2)


def test_what_has_no_domains_is_refused(dataset, tmp_path):
    with pytest.raises(UserError, match='at least 2 domains; train with --cond=1'):
        domain_images.check(context(networks(c_dim=0, cond_mode='concat')[0], dataset))
    with pytest.raises(UserError, match='has labels of 2 numbers, but the network takes 3'):
        domain_images.check(context(networks(c_dim=3)[0], dataset))
    with pytest.raises(UserError, match='pass --data'):
        domain_images.check(context(networks()[0], None))
