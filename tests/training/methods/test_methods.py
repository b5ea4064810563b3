"""The methods on the command line: what their options set, what they imply, and what is refused. No torch."""

import click
import pytest

import train
from dnnlib.util import EasyDict, OptionError
from training import methods
from training.config import DatasetInfo, build_config, run_description
from training.methods import complete_options

DATA = DatasetInfo(name='afhq', resolution=256, label_dim=3, size=1000)
FLOW = dict(cond_mode='flow', i_dim=256, flow_blocks=2, flow_dim=10, flow_norm=True)  # as published
ADVERSARIAL = ['G/logistic', 'G/path_length', 'D/logistic_fake', 'D/logistic_real', 'D/r1']
JACOBIAN = dict(weight=0.1, jacobian='fd', penalty='l1', perturb_norm=0.1, batch_shrink=2)


def options(line=''):
    """The options of a command line, as train.py takes them."""
    args = ['--outdir=runs', '--data=afhq.zip', '--gpus=1', *line.split()]
    return complete_options(EasyDict(train.main.make_context('train', args).params))


def build(line='', data=DATA):
    """Configuration for a command line: (mapping network, terms of the method, everything)."""
    c = build_config(options(line), data)
    terms = {k: v for k, v in c.loss_kwargs['terms'].items() if k not in ADVERSARIAL}
    mapping = {k: v for k, v in c.G_kwargs['mapping_kwargs'].items() if k != 'num_layers'}
    return mapping, terms, c


def name_of(line=''):
    return run_description(options(line), DATA)


# What options do.


@pytest.mark.parametrize('line', ['', '--cond=1', '--method=stylegan2', '--method=stylegan2 --cond=0'])
def test_stylegan2_is_what_it_was(line):
    mapping, terms, c = build(line)
    assert mapping == {} == terms and c.grid_by_domain is False
    assert c.training_set_kwargs['use_labels'] is ('--cond=1' in line) and list(c.loss_kwargs['terms']) == ADVERSARIAL


def test_every_option_reaches_the_configuration():
    mapping, terms, c = build('--cond-mode=flow --i-dim=7 --flow-blocks=3 --flow-dim=5 --flow-norm=0 --concat-dim=32 '
                              '--lambda-sparse=0.2 --lambda-imgsparse=0.3 --perturb-norm=0.4 --jacobian=fd-normalized '
                              '--jacobian-penalty=hoyer --jacobian-shrink=4')
    assert mapping == dict(cond_mode='flow', i_dim=7, flow_blocks=3, flow_dim=5, flow_norm=False, embed_features=32)
    assert terms == {'G/sparse': dict(weight=0.2), 'G/img_sparse': dict(
        weight=0.3, jacobian='fd-normalized', penalty='hoyer', perturb_norm=0.4, batch_shrink=4)}
    assert c.grid_by_domain is True and c.training_set_kwargs['use_labels'] is True
    assert next(iter(c.loss_kwargs['terms'])) == 'G/logistic', 'the adversarial term draws its random numbers first'


def test_an_mlp_for_each_domain_has_no_flow_to_shape():
    mapping, terms, c = build('--cond_mode=mlp --i_dim=7 --lambda_sparse=0.2')
    assert mapping == dict(cond_mode='mlp', i_dim=7, flow_norm=True) and terms == {'G/sparse': dict(weight=0.2)}
    assert c.grid_by_domain is True


def test_the_exact_jacobian_takes_no_step():
    _, terms, _ = build('--jacobian=jvp --lambda-imgsparse=0.3')
    assert terms == {'G/img_sparse': dict(weight=0.3, jacobian='jvp', penalty='l1', batch_shrink=2)}
    assert build('--method=cg-gan --jacobian=jvp')[1]['G/img_sparse'] == dict(terms['G/img_sparse'], weight=0.1)
    assert build('--jacobian=jvp --lambda-imgsparse=0.3 --perturb-norm=0')[1] == terms


def test_concat_is_the_conditional_stylegan2():
    mapping, terms, c = build('--cond_mode=concat --concat_dim=64')
    assert mapping == dict(embed_features=64) and terms == {}
    assert c.grid_by_domain is False and c.training_set_kwargs['use_labels'] is True


@pytest.mark.parametrize('option', ['--i_dim=256', '--flow_blocks=2', '--flow_dim=10', '--flow_norm=1', '--lambda_sparse=0',
                                    '--lambda_imgsparse=0', '--perturb_norm=0', '--cond_mode=flow', '--cond=1 --flow_norm=yes'])
def test_an_option_of_the_published_command_implies_its_defaults(option):
    mapping, terms, c = build(option)
    assert mapping == FLOW and terms == {} and c.training_set_kwargs['use_labels'] is True


@pytest.mark.parametrize('line, sparse, jacobian', [
    ('--cond=1 --cond_mode=flow --i_dim=256 --flow_blocks=2 --flow_dim=10 --flow_norm=1 --lambda_sparse=0.1', 0.1, None),
    ('--cond=1 --lambda_sparse=0.1', 0.1, None),
    ('--lambda_sparse 0.1 --lambda_imgsparse 0.1 --perturb_norm 0.1', 0.1, JACOBIAN),
    ('--lambda_sparse=0.1 --lambda_imgsparse=0 --perturb_norm=0', 0.1, None),
    ('--method=i-stylegan', 0.1, None),
    ('--method=cg-gan', 0.1, JACOBIAN),
    # What is given wins over the method.
    ('--method=i-stylegan --lambda_sparse=0.7', 0.7, None),
    ('--method=i-stylegan --lambda_sparse=0', None, None),
    ('--method=cg-gan --lambda_imgsparse=0.5 --perturb_norm=0.2', 0.1, dict(JACOBIAN, weight=0.5, perturb_norm=0.2)),
    ('--method=cg-gan --jacobian-penalty=hoyer', 0.1, dict(JACOBIAN, penalty='hoyer')),
    ('--method=cg-gan --lambda_imgsparse=0', 0.1, None),
    ('--method=i-stylegan --lambda_imgsparse=0.1 --perturb_norm=0.1', 0.1, JACOBIAN),
])
def test_published_commands_and_methods(line, sparse, jacobian):
    mapping, terms, c = build(line)
    assert mapping == FLOW and c.training_set_kwargs['use_labels'] is True and c.grid_by_domain is True
    assert terms == {**({'G/sparse': dict(weight=sparse)} if sparse else {}), **({'G/img_sparse': jacobian} if jacobian else {})}


def test_a_method_can_take_another_way_of_conditioning():
    mapping, terms, _ = build('--method=cg-gan --cond_mode=mlp --i_dim=9')
    assert mapping == dict(cond_mode='mlp', i_dim=9, flow_norm=True)
    assert terms == {'G/sparse': dict(weight=0.1), 'G/img_sparse': JACOBIAN}


def test_the_options_that_were_given_are_not_changed():
    given = EasyDict(train.main.make_context('train', ['--outdir=a', '--data=b', '--method=cg-gan']).params)
    before = dict(given)
    complete_options(given)
    assert given == before


# What is refused.


@pytest.mark.parametrize('line, text', [
    ('--cond=0 --cond_mode=flow', '--cond=0 contradicts --cond_mode=flow'),
    ('--cond=0 --cond_mode=concat', '--cond=0 contradicts --cond_mode=concat'),
    ('--cond=0 --lambda_sparse=0.1', '--cond=0 contradicts --cond_mode=flow'),
    ('--cond=0 --method=i-stylegan', '--cond=0 contradicts'),
    ('--lambda_imgsparse=0.1', '--lambda_imgsparse needs .*--perturb_norm=0.1'),
    ('--lambda_imgsparse=0.1 --perturb_norm=0', '--lambda_imgsparse needs'),
    ('--method=cg-gan --perturb_norm=0', '--lambda_imgsparse needs'),
    ('--perturb_norm=0.1', '--perturb_norm needs .*--lambda_imgsparse=0.1'),
    ('--perturb_norm=0.1 --lambda_imgsparse=0', '--perturb_norm needs'),
    ('--jacobian=jvp --perturb_norm=0.1 --lambda_imgsparse=0.1', '--perturb_norm has no effect with --jacobian=jvp'),
    ('--jacobian=jvp', '--jacobian has no effect without --lambda_imgsparse'),
    ('--lambda_sparse=0.1 --jacobian-penalty=l1', '--jacobian-penalty has no effect without'),
    ('--method=i-stylegan --jacobian-shrink=2', '--jacobian-shrink has no effect without'),
    ('--method=cg-gan --jacobian-shrink=0', '--jacobian-shrink must be at least 1'),
    ('--method=stylegan2,clr-gan', '--method=stylegan2,clr-gan: stylegan2 means none of the others'),
    ('--method=cg-gan,clr-gan --cond_mode=concat', '--method=cg-gan,clr-gan contradicts --cond_mode=concat'),
    ('--lambda_latent=-1', '--lambda_latent must be non-negative'),
    ('--lambda_recon=nan', '--lambda_recon must be non-negative'),
    ('--clr-compat=1', '--clr-compat has no effect without --method=clr-gan'),
    ('--method=clr-gan --lambda_latent=0 --lambda_recon=0 --clr-compat=1', '--clr-compat has no effect'),
    ('--method=clr-gan --cmax=64', r'CLR-GAN takes the 64 features .* add --z-dim=64, or have --cmax=512 and --cbase=2048'),
    ('--lambda_recon=1 --z-dim=256', 'CLR-GAN takes the 512 features .* add --z-dim=512'),
    ('--lambda_latent=1 --cbase=1024', 'CLR-GAN takes the 256 features'),
    ('--method=i-stylegan --z-dim=64', '--i_dim must be between 1 and 64'),
    ('--z-dim=0', '--z-dim must be at least 1'),
    ('--lambda_orth=-1', '--lambda_orth must be non-negative'),
    ('--lambda_sparse=0.1 --orth-probes=4', '--orth-probes has no effect without --lambda_orth'),
    ('--lambda_orth=1 --orth-probes=1', '--orth-probes must be at least 2'),
    ('--cond_mode=concat --lambda_orth=1', '--lambda_orth has no effect with --cond_mode=concat'),
    ('--lambda_sparse=-0.1', '--lambda_sparse must be non-negative'),
    ('--lambda_sparse=nan', '--lambda_sparse must be non-negative'),
    ('--lambda_imgsparse=-1 --perturb_norm=0.1', '--lambda_imgsparse must be non-negative'),
    ('--lambda_imgsparse=inf --perturb_norm=0.1', '--lambda_imgsparse must be non-negative'),
    ('--lambda_imgsparse=0.1 --perturb_norm=-0.1', '--perturb_norm must be non-negative'),
    ('--flow_blocks=0', '--flow_blocks must be at least 1'),
    ('--flow_dim=0', '--flow_dim must be at least 1'),
    ('--i_dim=0', '--i_dim must be between 1 and 512'),
    ('--i_dim=513', '--i_dim must be between 1 and 512'),
    ('--cond_mode=mlp --i_dim=600', '--i_dim must be between 1 and 512'),
    ('--cond_mode=mlp --flow_blocks=2', '--flow_blocks has no effect with --cond_mode=mlp'),
    ('--cond_mode=mlp --flow_dim=10', '--flow_dim has no effect with --cond_mode=mlp'),
    ('--cond_mode=concat --method=i-stylegan', '--method=i-stylegan contradicts --cond_mode=concat'),
    ('--concat_dim=0', '--concat-dim must be at least 1'),
    *((f'--cond_mode=concat --{option}', f'--{option.split("=")[0]} has no effect with --cond_mode=concat') for option in (
        'i_dim=4', 'flow_blocks=2', 'flow_dim=10', 'flow_norm=0', 'lambda_sparse=0.1', 'lambda_imgsparse=0', 'perturb_norm=0',
        'jacobian=fd', 'jacobian_penalty=l1', 'jacobian_shrink=2')),
])
def test_options_without_sense_are_refused_by_name(line, text):
    with pytest.raises(OptionError, match=f'^{text}'):
        build(line)


@pytest.mark.parametrize('line', ['--method=i-stylegan', '--method=cg-gan', '--cond_mode=flow', '--cond_mode=mlp', '--i_dim=4'])
@pytest.mark.parametrize('label_dim, text', [(0, 'has no labels'), (1, 'has a single domain')])
def test_domains_are_needed(line, label_dim, text):
    with pytest.raises(OptionError, match=rf'needs two domains.*--data=afhq\.zip {text}.*dataset_tool\.py'):
        build(line, DatasetInfo('afhq', 256, label_dim, 100))


@pytest.mark.parametrize('option, value', [('--cond-mode', 'film'), ('--method', 'gan'), ('--jacobian', 'exact'),
                                           ('--i-dim', '1.5'), ('--jacobian-penalty', 'l2'), ('--flow-norm', '2'),
                                           ('--lambda-sparse', 'x')])
def test_unknown_values_are_refused_by_the_parser(option, value):
    with pytest.raises(click.BadParameter) as caught:
        options(f'{option}={value}')
    assert caught.value.param.opts == [option]


# The name of the run.


def test_names_as_published():
    line = ('--mirror=1 --gamma=0.5 --kimg=100 --batch=8 --aug=noaug --resume=x.pkl --freezed=2 --cond_mode=flow --i_dim=256 '
            '--lambda_sparse=0.1 --lambda_imgsparse=0.1 --perturb_norm=0.1')
    assert name_of(line) == ('afhq-cond-mirror-auto1-gamma0.5-kimg100-batch8-noaug-resumecustom-freezed2'
                             '-flow-nb2-dim10-styledim256-norm-sparse0.1')
    assert name_of(f'{line} --desc=try').endswith('-freezed2-flow-nb2-dim10-styledim256-norm-sparse0.1-try')


@pytest.mark.parametrize('line, part', [
    ('', 'afhq-auto1'), ('--cond=1', 'afhq-cond-auto1'), ('--cond_mode=concat', 'afhq-cond-auto1-concat'),
    ('--cond_mode=concat --concat_dim=64', 'afhq-cond-auto1-concat-dim64'),
    ('--flow_norm=0 --flow_blocks=1', 'afhq-cond-auto1-flow-nb1-dim10-styledim256-sparse0.0'),
    ('--method=cg-gan', 'afhq-cond-auto1-flow-nb2-dim10-styledim256-norm-sparse0.1'),
    ('--cond_mode=mlp --i_dim=8 --lambda_sparse=1', 'afhq-cond-auto1-mlp-styledim8-norm-sparse1.0')])
def test_names_of_other_runs(line, part):
    assert name_of(line) == part


# CLR-GAN, and several methods at once.


def test_clr_gan_sets_its_published_weights():
    c = build('--method=clr-gan')[2]
    assert c.loss_kwargs['terms']['G/recon'] == dict(weight=0.5, compat=False)
    assert c.loss_kwargs['terms']['D/latent'] == dict(weight=5.0, compat=False)
    assert c.reconstructs and not c.grid_by_domain and c.training_set_kwargs['use_labels'] is False
    c = build('--method=clr-gan --lambda_recon=20 --clr-compat=1 --z-dim=64 --cmax=64')[2]
    assert c.loss_kwargs['terms']['G/recon'] == dict(weight=20.0, compat=True) and c.G_kwargs['z_dim'] == 64
    assert c.loss_kwargs['terms']['D/latent'] == dict(weight=5.0, compat=True)


def test_without_its_weights_clr_gan_is_not_there():
    plain = build()[2]
    for line in ('--lambda_latent=0 --lambda_recon=0', '--method=clr-gan --lambda_latent=0 --lambda_recon=0'):
        assert build(line)[2] == plain
    assert not plain.reconstructs and not {'G/recon', 'D/latent'} & plain.loss_kwargs['terms'].keys()
    only = build('--lambda_latent=5')[2]
    assert only.reconstructs and 'G/recon' not in only.loss_kwargs['terms']


def test_methods_combine_in_any_order():
    both = build('--method=cg-gan,clr-gan --lambda_orth=2 --orth-probes=3')[2]
    assert both == build('--method=clr-gan,cg-gan,i-stylegan,cg-gan --lambda_orth=2 --orth-probes=3')[2]
    assert {'G/sparse', 'G/img_sparse', 'G/orth', 'G/recon', 'D/latent'} < both.loss_kwargs['terms'].keys()
    assert both.loss_kwargs['terms']['G/orth'] == dict(weight=2.0, probes=3) and both.grid_by_domain and both.reconstructs
    assert name_of('--method=cg-gan,clr-gan').endswith('-sparse0.1-clr5-0.5')


def test_methods_that_set_an_option_differently_are_refused(monkeypatch):
    methods_here = methods.built_in()

    class Loud(methods.Method):
        name, title, published = 'loud', 'Loud', {'lambda_recon': 9.0}

    monkeypatch.setattr(methods, 'built_in', lambda: (*methods_here, Loud()))
    with pytest.raises(OptionError, match='clr-gan,loud: they set --lambda_recon to different values'):
        options('--method=clr-gan,loud')


def test_a_list_of_methods_is_checked_word_by_word():
    with pytest.raises(click.BadParameter, match="'gan' is not one of stylegan2, i-stylegan"):
        options('--method=clr-gan,gan')
