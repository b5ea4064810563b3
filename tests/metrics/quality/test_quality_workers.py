"""Density and coverage, memorisation, and modes: by two processes as by one."""

import pytest
import torch
from helpers.doubles import Projection
from helpers.stacks import Stacker, write_stacks

from metrics.context import Context
from metrics.domains import classifier
from metrics.features.together import Together
from metrics.registry import calc_metric
from training.data.dataset import ImageFolderDataset

NAMES = ['dc100_5_efficientnet_full', 'nn110_efficientnet', 'modes1k']


def evaluate(path):
    """The results, and the arrays of figures. Batches of 48: the last round leaves one of two processes nothing to do."""
    context = Context(Stacker(), ImageFolderDataset(path, use_labels=True), torch.device('cpu'), batch=48,
                      detectors={('efficientnet', 'published'): Projection()}, together=Together(NAMES))
    found = [calc_metric(name, context) for name in NAMES]
    arrays = [{key: torch.tensor(value) for key, value in result.arrays.items()} for result, _ in found]
    return [record['results'] for _, record in found], arrays


def worker(rank, folder, path):
    classifier.MIN_STEPS = 10
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    torch.save(evaluate(path), f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


def test_two_processes_find_what_one_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, 'MIN_STEPS', 10)  # a bad classifier will do
    path = write_stacks(tmp_path / 'stacked.zip')
    torch.multiprocessing.spawn(worker, args=(tmp_path, path), nprocs=2)
    alone = evaluate(path)
    for rank in (0, 1):
        results, arrays = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        for mine, theirs in zip(results, alone[0], strict=True):
            assert mine == pytest.approx(theirs, rel=1e-6)
        for mine, theirs in zip(arrays, alone[1], strict=True):
            for key, value in theirs.items():
                torch.testing.assert_close(mine[key], value, rtol=1e-6, atol=1e-9)
