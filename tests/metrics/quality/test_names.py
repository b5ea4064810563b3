"""Names of metrics of any size, and what options make of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from dnnlib import OptionError
from metrics.detectors import DETECTORS
from metrics.quality.names import Name, parse_name
from metrics.registry import METRICS, find_metric, parse_metrics

PUBLISHED = ['fid50k_full', 'kid50k_full', 'pr50k3_full', 'ppl2_wend', 'is50k', 'fid50k', 'kid50k', 'pr50k3', 'ppl_zfull',
             'ppl_wfull', 'ppl_zend', 'ppl_wend']


def test_the_published_names_come_first_in_their_order():
    assert list(METRICS)[:12] == PUBLISHED
    assert parse_metrics(','.join(METRICS)) == list(METRICS)


@pytest.mark.parametrize('text,name', [
    ('fid50k_full', Name('fid', 50_000, 'inception', full=True)),
    ('fid5k_full', Name('fid', 5000, 'inception', full=True)),
    ('fid500', Name('fid', 500, 'inception')),
    ('kid1k', Name('kid', 1000, 'inception')),
    ('kid50k_full_clean', Name('kid', 50_000, 'inception', full=True, resize='clean')),
    ('pr10k3_full', Name('pr', 10_000, 'vgg16', full=True)),
    ('pr500_3', Name('pr', 500, 'vgg16')),
    ('pr5k3_efficientnet_full', Name('pr', 5000, 'efficientnet', full=True)),
    ('is5k', Name('is', 5000, 'inception')),
    ('is5k_clean', Name('is', 5000, 'inception', resize='clean')),
    ('fd50k_dinov2_full', Name('fd', 50_000, 'dinov2', full=True)),
    ('kd2_vgg16', Name('kd', 2, 'vgg16')),
    ('dc10k5_full', Name('dc', 10_000, 'vgg16', full=True)),
    ('dc500_5_dinov2', Name('dc', 500, 'dinov2')),
    ('nn1k_efficientnet', Name('nn', 1000, 'efficientnet')),
    ('nn100_inception_clean', Name('nn', 100, 'inception', resize='clean')),
    ('modes', Name('modes', 26_000, None)),
    ('modes500', Name('modes', 500, None)),
    ('ppl2_wend', Name('ppl', 50_000, 'vgg16', variant='ppl2_wend')),
    ('ppl_zfull_100', Name('ppl', 100, 'vgg16', variant='ppl_zfull'))])
def test_names_say_what_is_computed(text, name):
    assert parse_name(text) == name and str(name) == text and parse_metrics(text) == [text]


def test_every_size_family_and_detector_can_be_asked_for():
    for num in (10, 999, 1000, 5000, 12_345):
        for family in ('fd', 'kd', 'pr', 'dc'):
            for detector in set(DETECTORS) - {'inception'}:
                for full in (False, True):
                    for resize in ('published', 'clean') if detector != 'own' else ('published',):
                        name = Name(family, num, detector, full, resize)
                        assert parse_name(str(name)) == name and find_metric(str(name)).kwargs['key'] == str(name)


def test_one_number_has_one_name():
    assert parse_metrics('fid5000_full,fid5k_full,pr5000_3,pr5k3,fid5k_inception_full') == ['fid5k_full', 'pr5k3']
    assert parse_metrics('pr5k3_vgg16') == ['pr5k3'] and parse_metrics('ppl_wend_50k') == ['ppl_wend']
    assert parse_metrics('modes26k,dc5000_5_vgg16,nn1000_vgg16') == ['modes', 'dc5k5', 'nn1k_vgg16']


@pytest.mark.parametrize('text', ['fid', 'fid_full', 'fidk', 'fid05k', 'fid50K', 'pr5k', 'pr5003', 'pr500k3k', 'pr5k_3', 'fid5k3',
                                  'is5k_full', 'is5k_vgg16', 'fid5k_fulll', 'fid5k_clean_full', 'fd5k_clip', 'ppl', 'ppl2_zend',
                                  'ppl_wend_0', 'xfid5k', 'fid-5k', 'dc5k', 'dc5k3',
                                  'pr5k5', 'dc5005', 'dc5k5_domains', 'nn1k_vgg16_full', 'nn1k5_vgg16', 'modes_1k',
                                  'modes1k_full', ''])
def test_what_is_no_name_is_refused_with_all_names(text):
    assert parse_name(text) is None
    if text:
        with pytest.raises(OptionError, match=r'^--metrics can only contain the following values: fid50k_full, kid50k_full, .*'
                                              r'translation; .*fid5k_full.*; not '):
            parse_metrics(text)


def test_the_nearest_name_is_told():
    for text, name in [('fid50_ful', 'fid50k_full'), ('jacobain', 'jacobian'), ('ppl_wends', 'ppl_wend')]:
        with pytest.raises(OptionError, match=f'did you mean {name}'):
            parse_metrics(f'is50k,{text}')
    with pytest.raises(OptionError, match=r"not 'zzz'$"):
        parse_metrics('zzz')


def test_options_say_more_than_names():
    assert parse_metrics('fd5k_full', detector='efficientnet') == ['fd5k_efficientnet_full']
    assert parse_metrics('fd5k_efficientnet', detector='efficientnet') == ['fd5k_efficientnet']
    assert parse_metrics('fid50k_full', detector='inception') == ['fid50k_full']
    assert parse_metrics('pr5k3_full', detector='dinov2') == ['pr5k3_dinov2_full']
    assert parse_metrics('fid5k,is5k', resize='clean') == ['fid5k_clean', 'is5k_clean']
    assert parse_metrics('fid50k_full,jacobian,ppl2_wend', num=500) == ['fid500_full', 'jacobian', 'ppl2_wend_500']
    assert parse_metrics('nn1k,dc10k5', detector='dinov2') == ['nn1k_dinov2', 'dc10k5_dinov2']
    assert parse_metrics('modes,dc10k5', num=500) == ['modes500', 'dc500_5']
    assert find_metric('fd5k_efficientnet_full').detector == 'efficientnet' and find_metric('jacobian').detector is None


@pytest.mark.parametrize('text,options,message', [
    ('fd5k_full', {}, 'name the detector: --detector='),
    ('fid5k_full', dict(detector='efficientnet'), r'^--detector=efficientnet: .* ask for --metrics=fd5k_efficientnet_full$'),
    ('kid1k_clean', dict(detector='dinov2'), r'ask for --metrics=kd1k_dinov2_clean$'),
    ('fid5k_vgg16', {}, r'ask for fd5k_vgg16$'),
    ('fid5k_vgg16_clean', {}, r'ask for fd5k_vgg16_clean$'),
    ('fd5k_full', dict(detector='inception'), r'this is called fid5k_full$'),
    ('kd5k_inception', {}, r'this is called kid5k$'),
    ('is5k', dict(detector='vgg16'), 'is defined for the detector inception only'),
    ('ppl2_wend', dict(detector='dinov2'), 'is defined for the detector vgg16 only'),
    ('fd5k_dinov2', dict(detector='vgg16'), 'names another detector'),
    ('pr5k3_dinov2', dict(detector='vgg16'), 'names another detector'),
    ('fid5k_clean', dict(resize='published'), 'says otherwise'),
    ('ppl2_wend', dict(resize='clean'), 'does not resize'),
    ('nn1k', {}, r'name the detector: --detector=inception\|.*, or for example --metrics=nn1k_efficientnet$'),
    ('modes', dict(detector='vgg16'), 'modes needs no detector'), ('modes', dict(resize='clean'), 'does not resize'),
    ('dc5_5', {}, 'at least 6'), ('nn99_vgg16', {}, 'at least 100'), ('modes1', {}, 'at least 2'),
    ('fid1', {}, 'at least 2'), ('pr3_3', {}, 'at least 4'), ('is9', {}, 'at least 10'),
    ('is50k', dict(num=9), '--num=9: is50k needs at least 10'),
    ('jacobian', dict(num=100), '--num=100: none of the metrics jacobian takes it'),
    ('jacobian', dict(detector='vgg16'), '--detector=vgg16: none of'),
    ('jacobian', dict(resize='clean'), '--resize=clean: none of')])
def test_what_does_not_go_together_is_refused(text, options, message):
    with pytest.raises(OptionError, match=message) as caught:
        parse_metrics(text, **options)
    assert '\n' not in str(caught.value)


def test_what_each_metric_needs_is_known():
    assert find_metric('fid5k_full').needs_data and find_metric('fid5k_full').detector == 'inception'
    assert not find_metric('is50k').needs_data and find_metric('is50k').needs_labels
    assert find_metric('ppl2_wend').detector == 'vgg16' and not find_metric('ppl2_wend').needs_data
    assert find_metric('modes').needs_classes and not find_metric('fid50k').needs_classes
    assert find_metric('modes').detector is None and find_metric('nn1k_vgg16').better is None
    assert find_metric('ppl2_wend').kwargs == dict(key='ppl2_wend', num_gen=50_000, space='w', sampling='end', crop=False)
    assert find_metric('ppl_zfull').kwargs == dict(key='ppl_zfull', num_gen=50_000, space='z', sampling='full', crop=True)


def test_names_need_no_torch():
    code = ('import sys, metrics.registry as r; r.parse_metrics("fid5k_full,pr5k3"); '
            'assert not {"torch", "scipy", "matplotlib"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], cwd=Path(__file__).parents[3], check=True)
