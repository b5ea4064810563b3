"""The metric `truth`, with translators of which it is known what they draw, and datasets that do not know enough."""

import numpy as np
import pytest
import torch
from helpers.domain_cases import Mask, context, networks, pictures, write_dataset
from torch import nn

from dnnlib import UserError
from metrics.domains import counterparts
from metrics.domains.truth import nearest
from metrics.registry import calc_metric, check_metric, parse_metrics

CONTENTS = 12
TRUE = pictures(3 * CONTENTS).reshape(3, CONTENTS, 3, 8, 8)  # by domain and content


def paired(path, domains=2):
    images = TRUE[:domains].swapaxes(0, 1).reshape(-1, 3, 8, 8)
    return write_dataset(path, images, list(range(domains)) * CONTENTS, np.arange(len(images)) // domains, 'abc'[:domains])


@pytest.fixture
def dataset(tmp_path):
    return paired(tmp_path / 'paired.zip')


class Reader(nn.Module):
    """Finds which true image it is shown: a one-hot code of domain and content."""

    latent_dim = 3 * CONTENTS

    def forward(self, x, c, return_latent):
        shown = nearest(((x + 1) * 127.5).round().byte(), torch.from_numpy(TRUE[int(c.argmax())]))
        return None, nn.functional.one_hot(int(c.argmax()) * CONTENTS + shown, self.latent_dim).float()


class Translator(nn.Module):
    """Draws the true image (domain, content) that choose(source domain, content, target domain) names."""

    z_dim, img_channels, img_resolution, mapping = 3 * CONTENTS, 3, 8, Mask(3 * CONTENTS, 0)

    def __init__(self, choose, c_dim=2):
        super().__init__()
        self.choose, self.c_dim = choose, c_dim

    def forward(self, z, c, noise_mode='const', force_fp32=False):
        numbers = zip(z.argmax(dim=1).tolist(), c.argmax(dim=1).tolist(), strict=True)
        drawn = np.stack([TRUE[self.choose(*divmod(k, CONTENTS), u)] for k, u in numbers])
        return torch.from_numpy(drawn).float() / 127.5 - 1


def measure(dataset, choose, name='truth', c_dim=2, **kwargs):
    return calc_metric(name, context(Translator(choose, c_dim), dataset, Reader(), batch=5, **kwargs))


def gap(a, b):
    return np.abs(a.astype(float) - b).mean() / 255


def test_a_perfect_translator_has_no_error_and_keeps_every_content(dataset):
    result, record = measure(dataset, lambda a, k, b: (b, k))
    v = result.values
    assert v['truth'] == v['truth_a2b'] == v['truth_b2a'] == v['truth_rebuilt'] == 0
    assert v['truth_content'] == v['truth_content_a2b'] == v['truth_content_b2a'] == 1
    assert v['truth_content_chance'] == pytest.approx(1 / CONTENTS) and next(iter(v)) == 'truth'
    assert v['truth_identity'] == pytest.approx(gap(TRUE[0], TRUE[1]))
    assert v['truth_mean'] == pytest.approx(np.mean([gap(x.mean(axis=0), x) for x in TRUE[:2]]))
    assert 0.5 * v['truth_identity'] < v['truth_random'] < 2 * v['truth_identity']
    assert record['by'] == 'encoder' and record['reconstruction_error'] == 0 and not result.notes
    assert result.arrays['a2b'].shape == (8, 3, 3, 8, 8) and len(result.draw().axes) == 2
    np.testing.assert_array_equal(result.arrays['a2b'][:, 1], result.arrays['a2b'][:, 2])


def test_one_that_draws_a_single_content_keeps_as_much_as_chance(dataset):
    v = measure(dataset, lambda a, k, b: (b, k if a == b else 3))[0].values
    assert v['truth_content'] == v['truth_content_chance'] == pytest.approx(1 / CONTENTS) and v['truth_rebuilt'] == 0
    assert v['truth'] == pytest.approx(np.mean([gap(x[3:4], x) for x in TRUE[:2]]))


def test_one_that_shuffles_contents_keeps_none(dataset):
    v = measure(dataset, lambda a, k, b: (b, (k + (a != b)) % CONTENTS))[0].values
    assert v['truth_content'] == 0 and v['truth'] == pytest.approx(np.mean([gap(np.roll(x, -1, axis=0), x) for x in TRUE[:2]]))


def test_one_that_changes_nothing_has_the_error_of_the_identity(dataset):
    v = measure(dataset, lambda a, k, b: (a, k), 'truth_efficientnet')[0].values
    key = 'truth_efficientnet'
    for of in ('', '_features'):
        assert v[f'{key}{of}'] == pytest.approx(v[f'{key}{of}_identity'], rel=1e-12) and v[f'{key}{of}'] > 0
    assert v[f'{key}_content'] == v[f'{key}_content_identity']
    perfect = measure(dataset, lambda a, k, b: (b, k), key)[0].values
    assert perfect[f'{key}_features'] == 0 < min(perfect[f'{key}_features_{other}'] for other in ('identity', 'mean', 'random'))


def test_fewer_sources_have_the_same_truth(dataset):
    v, record = measure(dataset, lambda a, k, b: (b, k if a == b else (k + 1) % 5), 'truth4')
    assert v.values['truth4'] == pytest.approx(np.mean([gap(x[[1, 2, 3, 4]], x[:4]) for x in TRUE[:2]]))
    assert v.values['truth4_content_chance'] == pytest.approx(1 / CONTENTS), 'among all true images'
    assert record['metric'] == 'truth4'


def test_three_domains_have_six_pairs(tmp_path):
    result = measure(paired(tmp_path / 'three.zip', 3), lambda a, k, b: (b, k if (a, b) != (2, 0) else 0), c_dim=3)[0]
    contents = {name: value for name, value in result.values.items() if '2' in name and 'content' in name}
    assert len(contents) == 6 and contents.pop('truth_content_c2a') == pytest.approx(1 / CONTENTS)
    assert set(contents.values()) == {1}


def test_an_image_of_each_content_in_each_domain_need_not_come_in_order(tmp_path):
    order = np.random.default_rng(1).permutation(2 * CONTENTS)
    images, contents = TRUE[:2].reshape(-1, 3, 8, 8), np.tile(np.arange(CONTENTS), 2)
    labels = np.arange(2 * CONTENTS) // CONTENTS
    data = write_dataset(tmp_path / 'mixed.zip', images[order], labels[order], 10 * contents[order])
    found = counterparts.find(context(Translator(None), data))
    assert found.contents.tolist() == list(range(0, 10 * CONTENTS, 10))
    for k, row in enumerate(found.items):
        for u, item in enumerate(row):
            np.testing.assert_array_equal(data[item][0], TRUE[u, k])


def test_several_images_of_a_content_are_told_apart_by_their_pairs(tmp_path):
    images = TRUE[:2].swapaxes(0, 1).reshape(-1, 3, 8, 8)
    data = write_dataset(tmp_path / 'digits.zip', images, [0, 1] * CONTENTS, np.arange(2 * CONTENTS) // 2 % 3)
    v = measure(data, lambda a, k, b: (b, (k + 3 * (a != b)) % CONTENTS))[0].values  # another image of the same content
    assert v['truth_content'] == 1 and v['truth'] > 0 and v['truth_content_chance'] == pytest.approx(1 / 3)


@pytest.mark.parametrize(('labels', 'contents', 'text'), [
    ([0, 1] * 3, None, 'does not know the content of its images, so that their true translations are unknown'),
    ([0, 1, 1, 0, 1], [0, 0, 1, 2, 2], 'content 1 is not in domain red, so that the true translation is unknown'),
    ([0, 0, 1, 1], [0, 1, 2, 3], 'content 0 is not in domain green, nor are 3 others, so that'),
    ([0, 0, 1], [7, 7, 7], 'has 2 images of content 7 in domain red, so that it is unknown which one'),
    ([0, 1], [4, 4], 'has the true translations of 1 content, and at least 2 are needed'),
])
def test_a_dataset_that_does_not_know_the_truth_is_refused(tmp_path, labels, contents, text):
    data = write_dataset(tmp_path / 'a.zip', pictures(len(labels)), labels, contents)
    for compute in (check_metric, calc_metric):
        with pytest.raises(UserError, match=r'a\.zip: ' + text) as caught:
            compute('truth', context(Translator(lambda a, k, b: (b, k)), data, Reader()))
        assert 'dataset_tool.py --source=glyphs --paired' in str(caught.value)


def test_networks_that_do_not_fit_are_refused(dataset):
    with pytest.raises(UserError, match='need a conditional network with at least 2 domains'):
        check_metric('truth', context(networks(c_dim=0)[0], dataset))
    with pytest.raises(UserError, match=r'the encoder, which is the discriminator, is missing.*--by=projection$'):
        check_metric('truth', context(networks()[0], dataset))
    check_metric('truth', context(networks()[0], dataset, by='projection'))


def test_names():
    assert parse_metrics('truth,truth50', 'efficientnet') == ['truth_efficientnet', 'truth50_efficientnet']
    assert parse_metrics('truth', num=30) == ['truth30'] and parse_metrics('truth200') == ['truth']
