"""Calibration of detectors: the damages, what is said of distances that rise and that do not, and the warnings of metrics."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.shapes import Artist, write_dataset

from dnnlib.errors import UserError
from metrics.calibration import damage, record
from metrics.calibration.measure import BLIND, FALLS, RISES, applicable, choose_halves, measure, verdict
from metrics.calibration.report import draw, table
from metrics.context import Context
from metrics.features.cache import FeatureCache
from metrics.quality.frechet import frechet_distance, frechet_of_rows
from metrics.registry import calc_metric
from training.data.dataset import ImageFolderDataset

CPU = torch.device('cpu')
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('data') / 'shapes.zip', count=160)


class Stand:
    """A detector of a few lines. of: float images [N, C, H, W] in [0, 1] -> features."""

    resize, num_features = 'published', 16

    def __init__(self, name, of):
        self.name, self.key, self.of = name, name, of

    def features(self, images):
        return self.of(images.float() / 255)


def pixels(x):
    """The mean of each channel, and how strong its edges are."""
    maps = torch.cat([x, (x - x.roll(1, 2)).square(), (x - x.roll(1, 3)).square()], dim=1)
    return 40 * maps.mean(dim=(2, 3))


def brightness(x):
    """Knows nothing but how bright the image is."""
    return x.mean(dim=(1, 2, 3))[:, None] * torch.ones(16)


def context(path, of=pixels, cache=None, G=None):
    net = Stand('efficientnet', of)
    return Context(G, ImageFolderDataset(path, use_labels=True), CPU, detectors={('efficientnet', 'published'): net},
                   feature_cache=cache)


def images(count=6, shape=(3, 16, 16)):
    return torch.from_numpy(np.random.RandomState(0).randint(0, 256, (count, *shape), dtype=np.uint8))


def rng():
    return np.random.default_rng(0)


def test_images_are_damaged_in_steps():
    x, classes = images(shape=(3, 32, 32)), np.array([0, 1, 0, 1, 1, 1])
    for function, levels in ((damage.blur, (0.5, 1, 2)), (damage.noise, (4, 16, 64)), (damage.average, (0.25, 0.5, 1))):
        changes = [float((function(x, classes, level, rng()).float() - x.float()).abs().mean()) for level in levels]
        assert 0 < changes[0] < changes[1] < changes[2]
    flat = torch.full([1, 3, 32, 32], 77, dtype=torch.uint8)
    assert torch.equal(damage.blur(flat, classes[:1], 2, rng()), flat)
    mean = damage.average(x, classes, 1, rng())
    assert torch.equal(mean[0], mean[2]) and torch.equal(mean[0], x[[0, 2]].float().mean(dim=0).round().byte())
    turned = damage.colours(x, classes, 0.5, rng())
    changed = [i for i in range(6) if not torch.equal(turned[i], x[i])]
    assert len(changed) == 3 and all(torch.equal(turned[i], x[i].roll(1, 0)) for i in changed)


@pytest.mark.parametrize('channels', [2, 4])
def test_noise_and_colours_leave_alpha(channels):
    x = images(shape=(channels, 8, 12))
    for function in (damage.noise, damage.colours):
        assert torch.equal(function(x, np.zeros(6), 1, rng())[:, -1], x[:, -1])
    assert damage.blur(x, np.zeros(6), 1, rng()).shape == x.shape


def test_images_are_chosen():
    classes = np.arange(40) % 4
    one = damage.fewer_classes(classes, 1, rng())
    assert len(one) == 40 and len(set(classes[one])) == 1 and len(set(one)) == 10
    assert len(set(classes[damage.fewer_classes(classes, 0.5, rng())])) == 2
    few = damage.few_images(classes, 2, rng())
    assert len(set(few)) == 8 and (classes[few] == classes).all()
    wrong = damage.wrong_classes(classes, 0.3, rng())
    assert (classes[wrong] != classes).mean() == 0.3 and (classes[damage.wrong_classes(classes, 1, rng())] != classes).all()


def test_frechet_distance_of_rows():
    a, b = np.random.RandomState(0).randn(30, 8), 1 + 2 * np.random.RandomState(1).randn(25, 8)
    expected = frechet_distance(a.mean(axis=0), np.cov(a.T, bias=True), b.mean(axis=0), np.cov(b.T, bias=True))
    assert frechet_of_rows(a, b) == pytest.approx(expected) and frechet_of_rows(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_of_rows(a[:5], b[:5]) == pytest.approx(frechet_distance(  # fewer than features
        a[:5].mean(axis=0), np.cov(a[:5].T, bias=True), b[:5].mean(axis=0), np.cov(b[:5].T, bias=True)), rel=1e-5)


@pytest.mark.parametrize('distances, found', [
    ((0, 1, 2, 3), RISES), ((0, 0.1, 2, 3), RISES), ((0, 2, 1.9, 3), RISES), ((0, 0.2, -0.1, 0.25), BLIND), ((0, 2, 1, 3), FALLS),
    ((0, 1, 2, 0.1), FALLS)])
def test_verdicts(distances, found):
    assert verdict(distances, 0, 0.1) == found


def test_a_good_detector_rises_and_a_blind_one_is_found_out(path):
    good, blind = context(path), context(path, brightness)
    halves = choose_halves(good, 80)
    assert len(halves.images) == len(halves.reference) == 80 and set(applicable(halves)) == set(damage.DAMAGES)
    kd, fd = measure(good, 'efficientnet', halves)
    assert {curve.verdict for curve in kd.curves} == {RISES} and len(kd.curves) == len(damage.DAMAGES)
    assert measure(good, 'efficientnet', halves) == [kd, fd]
    assert abs(kd.floor) < 0.1 * kd.spread < 0.01 * max(max(curve.distances) for curve in kd.curves)
    found = {curve.damage: curve.verdict for curve in measure(blind, 'efficientnet', halves)[0].curves}
    assert found['colours'] == BLIND and found['swapped'] == BLIND and found['blur'] == BLIND
    text = table([kd, fd])
    assert 'colours 10%, 30%, all' in text and text.count('\n') == 2 * len(damage.DAMAGES) + 2
    draw(good, halves, [kd, fd], 'shapes').canvas.draw()


def test_what_changes_nothing_is_left_out(tmp_path):
    plain = context(write_dataset(tmp_path / 'plain.zip', count=60, labels=False, content=False))
    assert set(applicable(choose_halves(plain, 30))) == {'blur', 'noise', 'colours', 'average', 'few'}
    halves = choose_halves(plain, 1000)
    assert len(halves.images) == 30
    grey = halves._replace(images=halves.images[:, :1].expand(-1, 3, -1, -1))
    assert 'colours' not in applicable(grey)
    few = context(write_dataset(tmp_path / 'few.zip', count=30))
    with pytest.raises(UserError, match='has 30 images, and a calibration needs 40'):
        choose_halves(few, 30)


def test_metrics_warn_of_a_distance_that_is_known_to_fail(path, tmp_path):
    cache = FeatureCache(tmp_path / 'cache')

    def notes(name):
        result, _ = calc_metric(name, context(path, brightness, cache, Artist()))
        return [note for note in result.notes if 'does not rise' in note]

    assert notes('kd20_efficientnet') == []
    blind = context(path, brightness, cache)
    findings = measure(blind, 'efficientnet', choose_halves(blind, 80))
    record.save(cache, blind.dataset, findings)
    [note] = notes('kd20_efficientnet')
    assert note.startswith(f'kd20_efficientnet: on {path} ') and 'colours (blind)' in note and '\n' not in note
    assert notes('kd20_efficientnet_full_domains') and notes('dc20_5_efficientnet') == []
    record.save(cache, blind.dataset, [f._replace(curves=(), inverted=()) for f in findings])
    assert notes('kd20_efficientnet') == []


def test_light_damage_must_be_nearer_than_total(path):
    """A detector that sees nothing but noise in the background, as features of photographs do with digits on black."""
    def background(x):
        return 100 * ((x > 0) & (x < 0.1)).float().mean(dim=(1, 2, 3))[:, None] + 0.1 * brightness(x)

    halves = choose_halves(context(path), 80)
    [finding, _] = measure(context(path, background), 'efficientnet', halves)
    assert ('noise', 'few') in finding.inverted
    assert 'light noise is farther than total few' in record.trouble_of(finding)


def run(*args):
    command = [sys.executable, '-m', 'training.calibration', *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_command(path, tmp_path):
    done = run(f'--data={path}', '--detector=own', '--num=60', f'--outdir={tmp_path}/out', f'--cache={tmp_path}/cache')
    assert done.returncode == 0, done.stderr
    assert 'kd own: ' in done.stdout and 'fd own: ' in done.stdout
    found = json.loads((tmp_path / 'out' / 'calibration-shapes.json').read_text())
    assert found['num'] == 60 and [finding['kind'] for finding in found['findings']] == ['kd', 'fd']
    assert (tmp_path / 'out' / 'calibration-shapes.png').read_bytes()[:4] == b'\x89PNG'
    assert len(list((tmp_path / 'cache').glob('shapes-own-*.npz'))) == 2


def test_command_refuses_in_one_line(tmp_path):
    plain = write_dataset(tmp_path / 'plain.zip', count=60, labels=False, content=False)
    for args, status, message in [
            ((f'--data={plain}', '--detector=own'), 1, 'has no labels or contents that several images share'),
            ((f'--data={tmp_path}/none.zip',), 2, 'none.zip'),
            ((f'--data={plain}', '--detector=owl'), 2, '--detector=owl is unknown')]:
        done = run(*args, '--cache=off')
        assert done.returncode == status and message in done.stderr and done.stderr.strip().count('\n') == 0, done.stderr
