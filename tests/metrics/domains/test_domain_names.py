"""Names of metrics of domains, and what options make of them."""

import itertools

import pytest

from dnnlib import OptionError
from metrics.domains.names import FAMILIES, DomainName, parse_name
from metrics.registry import METRICS, find_metric, parse_metrics


@pytest.mark.parametrize(('text', 'name'), [
    ('jfid', DomainName('jfid', 50_000, 'inception')),
    ('jfd5k_efficientnet_clean', DomainName('jfd', 5000, 'efficientnet', 'clean')),
    ('dipd', DomainName('dipd', 10_000, 'vgg16')),
    ('dipd7_efficientnet', DomainName('dipd', 7, 'efficientnet')),
    ('lpips_div20', DomainName('lpips_div', 20, 'alexnet')),
    ('pd_div_efficientnet', DomainName('pd_div', 200, 'efficientnet')),
    ('tfid500_clean', DomainName('tfid', 500, 'inception', 'clean')),
    ('tlpips', DomainName('tlpips', 1000, 'alexnet')),
    ('mcc2k', DomainName('mcc', 2000, None)),
])
def test_names_say_what_is_computed(text, name):
    assert parse_name(text) == name and str(name) == text


def test_every_name_is_read_as_it_is_written():
    count = 0
    for (family, what), num, resize in itertools.product(FAMILIES.items(), (None, 207, 3000), ('published', 'clean')):
        for detector in dict.fromkeys((what.detector, *what.detectors)):
            if resize == 'published' or (what.resizes and detector != 'own'):
                name = DomainName(family, num or what.num, detector, resize)
                assert parse_name(str(name)) == name
                count += 1
    assert count > 60


@pytest.mark.parametrize('text', ['jfid0', 'jfid05', 'dipd_clean', 'lpips', 'mcc_clean', 'tfid_full', 'jfid-1', 'xjfid', 'jfidk'])
def test_what_is_no_name(text):
    assert parse_name(text) is None


@pytest.mark.parametrize(('text', 'detector', 'message'), [
    ('jfid_efficientnet', None, '--metrics=jfid_efficientnet: only the distance by inception is called jfid; '
                                'ask for --metrics=jfd_efficientnet'),
    ('tfid500', 'dinov2', '--detector=dinov2: only the distance by inception is called tfid; ask for --metrics=tfd500_dinov2'),
    ('lpips_div', 'efficientnet', '--detector=efficientnet: only the distance by alexnet is called lpips_div; '
                                  'ask for --metrics=pd_div_efficientnet'),
    ('tlpips', 'vgg16', '--detector=vgg16: tlpips is not computed with vgg16, but with efficientnet'),
    ('dipd', 'inception', '--detector=inception: dipd is not computed with inception, but with vgg16, efficientnet'),
    ('dipd_efficientnet', 'vgg16', '--detector=vgg16: --metrics=dipd_efficientnet says otherwise; leave one of them out'),
    ('jfd_inception', None, '--metrics=jfd_inception: by the published detector this is called jfid'),
    ('jfd', 'inception', '--detector=inception: by the published detector this is called jfid'),
    ('jfd', None, '--metrics=jfd: add --detector=efficientnet, or ask for jfd_efficientnet'),
    ('mcc', 'vgg16', '--detector=vgg16: mcc needs no detector; leave --detector out'),
    ('mcc_vgg16', None, '--metrics=mcc_vgg16: mcc is not computed with vgg16; leave the detector out'),
    ('jfid1', None, '--metrics=jfid1: needs at least 2'),
    ('identifiability50', None, '--metrics=identifiability50: needs at least 200'),
    ('fid5k_full_domains', 'efficientnet', '--detector=efficientnet: only the distance by the published detector is called fid; '
                                           'ask for --metrics=fd5k_efficientnet_full_domains'),
    ('pr5k3_domains', None, 'did you mean domains?'),
    ('dippd', None, 'did you mean dipd?'),
])
def test_what_cannot_be_computed_is_told_with_the_remedy(text, detector, message):
    with pytest.raises(OptionError) as caught:
        parse_metrics(text, detector=detector)
    assert str(caught.value).endswith(message)


def test_options_say_more_than_names():
    assert parse_metrics('jfd,dipd,tfd7', 'efficientnet') == ['jfd_efficientnet', 'dipd_efficientnet', 'tfd7_efficientnet']
    assert parse_metrics('jfid,mcc,dipd', num=500) == ['jfid500', 'mcc500', 'dipd500']
    assert parse_metrics('tfid', resize='clean') == ['tfid_clean']
    assert parse_metrics('fid5k_full_domains,kid1k_domains', num=3000) == ['fid3k_full_domains', 'kid3k_domains']
    with pytest.raises(OptionError, match=r'^--resize=clean: dipd takes images resized in one way only; leave --resize out$'):
        parse_metrics('dipd', resize='clean')
    with pytest.raises(OptionError, match=r'^--num=2: mcc needs at least 3$'):
        parse_metrics('mcc', num=2)
    with pytest.raises(OptionError, match=r'^--num=2: none of the metrics jacobian takes it; leave it out$'):
        parse_metrics('jacobian', num=2)


def test_metrics_of_names():
    metric = find_metric('fd5k_efficientnet_full_domains')
    assert metric.function == 'metrics.domains.distances:distances' and metric.detector == 'efficientnet'
    assert dict(metric.kwargs) == dict(key='fd5k_efficientnet_full', num_gen=5000, detector='efficientnet', full=True,
                                       resize='published', kernel=False)
    assert find_metric('kid1k_domains').kwargs['kernel'] and not find_metric('kid1k_domains').kwargs['full']
    assert dict(find_metric('tfd9_efficientnet_clean').kwargs) == dict(key='tfd9_efficientnet_clean', num_gen=9, resize='clean',
                                                                      detector='efficientnet')
    needs = {name: (metric.needs_data, metric.needs_D) for name, metric in METRICS.items()}
    assert needs['jfid'] == needs['dipd'] == needs['lpips_div'] == needs['fid50k_full_domains'] == (True, False)
    assert METRICS['jfid'].better == find_metric('fd5k_efficientnet_full_domains').better == 'lower'
    assert METRICS['tlpips'].better == 'higher' and METRICS['dipd'].better is None
    assert needs['tfid'] == needs['tlpips'] == needs['truth'] == (True, False) and needs['mcc'] == (False, True)
    assert [name for name, metric in METRICS.items() if metric.translates] == [
        'tfid', 'tlpips', 'truth', 'identifiability', 'translation']
    assert find_metric('truth').detector is None and find_metric('truth50_efficientnet').kwargs['detector'] == 'efficientnet'
