"""Runs that are made to fail, each in one way, and one that is not: which rules of training.run.symptoms fire."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.domain_cases import pictures, write_dataset
from helpers.programs import run_program
from helpers.small_runs import config, run, stats

import train
from dnnlib.util import UserError
from training.data.dataset import ImageFolderDataset
from training.networks import layers
from training.run import probes, symptoms

TICKS = dict(kimg_per_tick=0.05, image_snapshot_ticks=1)  # one step


DATASET = 'training.dataset.ImageFolderDataset'


def losses(weight=1.0, gamma=0.0, **more):
    """The logistic loss, and other terms."""
    terms = {name: dict(weight=weight) for name in ('G/logistic', 'D/logistic_fake', 'D/logistic_real')}
    return dict(style_mixing_prob=0.0, gamma=gamma, terms={**terms, **more})


def adam(lr):
    return dict(class_name='torch.optim.Adam', lr=lr, betas=[0.0, 0.99], eps=1e-8)


def data(path, class_name=DATASET):
    return dict(class_name=class_name, path=path, use_labels=True)


class SlowDisk(ImageFolderDataset):
    """Takes a while for each image."""

    def __getitem__(self, i):
        time.sleep(0.002)
        return super().__getitem__(i)


@pytest.fixture(autouse=True)
def short_rules(tmp_path, monkeypatch):
    """Rules look at few ticks, and at smaller differences of scores, so that runs can be short; and datasets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(symptoms, 'LONG', symptoms.Span(6, 0.2))
    monkeypatch.setattr(symptoms, 'SHORT', symptoms.Span(3, 0))
    write_dataset('train.zip', pictures(60), [0, 1] * 30)
    monkeypatch.setattr(symptoms, 'WILD', 3)
    write_dataset('grey.zip', pictures(60) * 0 + 125, [0, 1] * 30)
    write_dataset('contrasts.zip', (pictures(60) > 125).astype(np.uint8) * 255, [0, 1] * 30)


def rules(**changes):
    """The rules that fire in a run of twelve steps."""
    c = config('train.zip', Path('run'), **{**TICKS, 'total_kimg': 0.6, **changes})
    finished = run(c)
    path = Path('run', 'health.jsonl')
    return finished, [json.loads(line)['rule'] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize('rule, remedy, changes', [
    ('collapse', 'raise --gamma', dict(G_opt_kwargs=adam(1e-9), training_set_kwargs=data('contrasts.zip'))),  # never as varied
    ('gamma', 'raise --gamma, such as --gamma=0.01', dict(D_opt_kwargs=adam(0.05), loss_kwargs=losses())),
    ('gamma', 'lower --gamma, such as --gamma=1e+03', dict(
        D_opt_kwargs=adam(0.1), loss_kwargs=losses(gamma=1e4, **{'D/r1': dict(weight=5e3, interval=1)}),
        image_snapshot_ticks=None, total_kimg=1.2)),
    ('augmentation', '--target', dict(ada_target=-2.0, ada_interval=1, ada_kimg=0.1, augment_p=0.5,
                                      augment_kwargs=dict(class_name='training.augment.AugmentPipe', xflip=1))),
    ('data', 'raise --workers (now 0)', dict(training_set_kwargs=data('train.zip', f'{__name__}.SlowDisk'))),
    ('overfitting', '--aug=ada', dict(eval_set_kwargs=dict(class_name=DATASET, path='grey.zip', xflip=False),
                                      D_opt_kwargs=adam(0.05), loss_kwargs=losses())),
], ids=lambda value: value if isinstance(value, str) else '')
def test_a_run_that_is_ill_in_one_way_is_told_so(rule, remedy, changes, capsys):
    finished, found = rules(**changes)
    assert finished and rule in found
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f'warning: {rule}: ')]
    assert len(lines) == found.count(rule) and remedy in lines[0]


@pytest.mark.parametrize('weight, told', [(1, False), (1e-5, True)])
def test_gradients_that_are_too_small_for_float16(weight, told, monkeypatch, capsys):
    """The CPU computes in float16 here, as a GPU does. In float32, Adam does not care for the size of gradients."""
    for module in (layers, probes):
        monkeypatch.setattr(module, 'computes', lambda dtype, device: True)
    c = config('train.zip', Path('run'), **TICKS, loss_kwargs=losses(weight), precision='auto')
    c.total_kimg = 0.3
    for kwargs in (c.D_kwargs, c.G_kwargs['synthesis_kwargs']):
        kwargs.update(num_fp16_res=4, conv_clamp=256)
    assert run(c)
    shares = [line['Health/zero_gradients']['mean'] for line in stats('run')]
    assert min(shares) > 0.5 if told else max(shares) < 0.02
    line = 'gradients of half-precision layers are zero: too small for float16; use --precision=fp32 or bf16'
    out = capsys.readouterr().out
    assert out.count('warning: underflow: ') == out.count(line) == told


def test_a_healthy_run_is_told_nothing():
    finished, found = rules(total_kimg=1)
    assert finished and found == []


def test_a_run_is_saved_and_ended_by_a_rule_that_is_named():
    c = config('contrasts.zip', Path('run'), **TICKS, total_kimg=5, G_opt_kwargs=adam(1e-9), stop_on=['collapse'])
    with pytest.raises(UserError, match='run: stopped, with everything saved, by --stop-on=collapse: generated images are much'):
        run(c)
    ticks = Path('run', 'stats.jsonl').read_text().splitlines()
    assert 6 <= len(ticks) < 12 and len(list(Path('run').glob('network-snapshot-*.pkl'))) == 1


def test_the_command_ends_with_status_1_and_unknown_rules_with_2():
    args = ['--data=contrasts.zip', '--outdir=runs', '--cond=1', '--cbase=32', '--cmax=4', '--batch=50', '--kimg=2',
            '--tick=0.05', '--snap=1', '--device=cpu', '--ops=torch', '--aug=noaug', '--z-dim=4', '--glr=1e-9',
            '--metrics=none', '--workers=1', '--wandb=disabled']
    status, out, err = run_program(train.main, *args, '--stop-on=style,collapse')
    assert status == 1 and err.strip().splitlines()[-1].startswith('Error: runs/00000-') and '--stop-on=collapse: ' in err
    assert 'warning: collapse: ' in out
    assert run_program(train.main, *args, '--stop-on=colapse') == (
        2, '', "Error: --stop-on: unknown 'colapse'; choose from " + ', '.join(symptoms.RULES) + ', any\n')
