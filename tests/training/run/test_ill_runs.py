"""Runs that are made to fail, each in one way, and one that is not: which rules of training.run.symptoms fire."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.domain_cases import pictures, write_dataset
from helpers.programs import run_program
from helpers.small_runs import config, run

import train
from dnnlib.util import UserError
from training.data.dataset import ImageFolderDataset
from training.run import symptoms

TICKS = dict(kimg_per_tick=0.05, image_snapshot_ticks=1)  # one step


DATASET = 'training.dataset.ImageFolderDataset'
NO_PENALTY = dict(style_mixing_prob=0.0, terms={'G/logistic': {}, 'D/logistic_fake': {}, 'D/logistic_real': {}})


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


@pytest.mark.parametrize('rule, changes', [
    ('collapse', dict(G_opt_kwargs=adam(1e-9), training_set_kwargs=data('contrasts.zip'))),  # never gets as varied
    ('gamma', dict(D_opt_kwargs=adam(0.05), loss_kwargs=NO_PENALTY)),
    ('augmentation', dict(ada_target=-2.0, ada_interval=1, ada_kimg=0.1, augment_p=0.5,
                          augment_kwargs=dict(class_name='training.augment.AugmentPipe', xflip=1))),
    ('data', dict(training_set_kwargs=data('train.zip', f'{__name__}.SlowDisk'))),
    ('overfitting', dict(eval_set_kwargs=dict(class_name=DATASET, path='grey.zip', xflip=False), D_opt_kwargs=adam(0.05),
                         loss_kwargs=NO_PENALTY)),
], ids=lambda value: value if isinstance(value, str) else '')
def test_a_run_that_is_ill_in_one_way_is_told_so(rule, changes, capsys):
    finished, found = rules(**changes)
    assert finished and rule in found
    assert capsys.readouterr().out.count(f'warning: {rule}: ') == found.count(rule) >= 1


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
