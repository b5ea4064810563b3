"""The classifier of `domains`: its inputs, and how it learns."""

import numpy as np
import pytest
import torch
from helpers.shapes import draw

from metrics.domains import classifier
from metrics.domains.classifier import MARGIN, make_network, moved_about, predict, shape_of, shrink, train_classifier


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope='module')
def examples():
    """Red and green shapes [150, 3, 16, 16], and what they show."""
    labels = torch.arange(150) % 3
    jitter = torch.rand(150, 2, generator=rng()) * 2 - 1
    return torch.stack([draw(int(k), i % 2, jitter[i]) for i, k in enumerate(labels)]), labels


def test_images_are_clamped_and_shrunk():
    image = torch.full([1, 3, 64, 64], 3.)
    image[:, :, ::2, ::2] = -1
    small = shrink(image)
    assert small.shape == (1, 3, 32, 32) and torch.allclose(small, torch.tensor(0.5))
    image = torch.rand(2, 1, 16, 16)
    assert torch.equal(shrink(image), image)
    assert shrink(torch.zeros(1, 1, 256, 256)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize('channels', [2, 4])
def test_what_cannot_be_seen_tells_nothing(channels):
    images = torch.rand(2, channels, 64, 64, generator=rng()) * 2 - 1
    images[:, -1, :, 32:], images[:, -1, :, :32] = -1, 1
    hidden = images.clone()
    hidden[:, :-1, :, 32:] = torch.rand(2, channels - 1, 64, 32, generator=rng(1)) * 2 - 1
    small = shrink(images)
    assert small.shape == (2, channels, 32, 32) and torch.equal(shrink(hidden), small)
    assert (small[:, :, :, 16:] == -1).all() and torch.equal(small[..., :16], torch.nn.functional.avg_pool2d(images[..., :32], 2))
    assert shape_of(small).shape == (2, 2, 32, 32)


def test_a_shape_has_no_colour():
    grey = torch.rand(16, 16, generator=rng())
    shapes = [shape_of((torch.tensor(color)[:, None, None] * grey * 2 - 1)[None])
              for color in ([1., 0, 0], [0, 1., 0], [1, 1, 1], [0.2, 0.9, 0.5], [0.5, 0.1, 0])]
    assert shapes[0].shape == (1, 1, 16, 16)
    for shape in shapes[1:]:
        torch.testing.assert_close(shape, shapes[0], atol=0.1, rtol=0)  # the last one is a dark colour
    gaudy = grey * torch.tensor([[1, 0, 0]] * 8 + [[1, 1, 1]] * 8).T[:, None]  # white to the right of its middle
    torch.testing.assert_close(shape_of(gaudy[None] * 2 - 1), shapes[0])
    assert shapes[0].mean().item() == pytest.approx(0, abs=1e-5) and shapes[0].std().item() == pytest.approx(1, abs=0.05)
    assert shape_of(torch.full([1, 3, 4, 4], 0.3)).abs().max() < 1e-3  # and nothing to be divided by


def test_content_is_recognised_in_colours_that_were_never_seen(examples):
    images, labels = examples
    net = train_classifier(shape_of(images), labels, 3, rng()).net
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
        for gain in (1, 0.4):
            assert torch.equal(predict(net, shape_of((images[:, order] + 1) * gain - 1)), labels)
    grey = images.amax(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    assert torch.equal(predict(net, shape_of(grey)), labels)


def test_moved_images_are_shifts_of_their_own():
    images = torch.arange(1, 5)[:, None, None, None] * torch.rand(1, 2, 8, 8, generator=rng(1))
    moved = moved_about(images, rng())
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)], mode='edge')
    found = []
    for i in range(4):
        shifts = [(y, x) for y in range(2 * MARGIN + 1) for x in range(2 * MARGIN + 1)
                  if np.array_equal(padded[i, :, y:y + 8, x:x + 8], moved[i].numpy())]
        assert len(shifts) == 1
        found += shifts
    assert len(set(found)) > 1
    many = moved_about(images[:1].expand(500, -1, -1, -1), rng())
    assert len({image.numpy().tobytes() for image in many}) == (2 * MARGIN + 1) ** 2


def test_it_stops_when_it_is_good_enough(examples, monkeypatch):
    images, labels = examples
    seen = []

    def epochs(items):
        for i in items:
            seen.append(i)
            yield i

    trained = train_classifier(images, labels, 3, rng(), progress=epochs)
    assert trained.accuracy == 1 and torch.equal(predict(trained.net, images), labels) and 2 <= len(seen) < 40
    monkeypatch.setattr(classifier, 'MIN_STEPS', 13)
    for wanted, made in [(2, 5), (6, 6)]:  # 3 steps to an epoch
        seen.clear()
        train_classifier(images[:, :1, :4, :4], labels, 3, rng(), epochs=wanted, good_enough=1.1, progress=epochs)
        assert seen == list(range(made))


@pytest.mark.parametrize('seed,lucky', [(6, True), (1, False)])  # with the one image that is held out
def test_luck_with_the_held_out_images_is_not_enough(seed, lucky):
    images, labels = torch.randn(19, 1, 8, 8, generator=rng(5)), torch.randint(2, [19], generator=rng(6))
    epochs = []
    trained = train_classifier(images, labels, 2, rng(seed), progress=lambda items: map(epochs.append, items))
    assert trained.accuracy == lucky and (10 < len(epochs) < 200 if lucky else len(epochs) == 200)


def test_accuracy_is_that_of_images_held_out():
    images, labels = torch.randn(150, 1, 8, 8, generator=rng(5)), torch.randint(2, [150], generator=rng(6))
    trained = train_classifier(images, labels, 2, rng(2), good_enough=1.1)
    num_right = int((predict(trained.net, images) == labels).sum())
    held_out = round(trained.accuracy * 15)  # of 15, which could only be guessed; the others were learned by heart
    assert trained.accuracy == pytest.approx(held_out / 15) and 3 <= held_out <= 11 and num_right - held_out > 120


def test_training_is_deterministic_and_disturbs_nothing(examples):
    images, labels = examples
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with torch.no_grad():  # as the caller may have it
        nets = [train_classifier(images, labels, 3, rng(seed), epochs=1).net for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = ([p.clone() for p in net.state_dict().values()] for net in nets)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)) and not torch.equal(first[0], other[0])
    assert not nets[0].training and not any(p.requires_grad for p in nets[0].parameters())


@pytest.mark.parametrize('channels,size', [(1, 4), (3, 8), (3, 32)])
def test_the_network_takes_every_size(channels, size):
    net = make_network(channels, size, 5, rng())
    assert net(torch.rand(2, channels, size, size)).shape == (2, 5)
    assert all(p.isfinite().all() for p in net.parameters())
