"""Statistics of several processes, which really are several, joined by gloo."""

import numpy as np
import pytest
import torch

from torch_utils.training_stats import Collector, report, report0


def worker(rank, folder):
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    everything, losses = Collector(), Collector('Loss/.*', keep_previous=False)
    report('Loss/a', torch.tensor([1.0, 2.0]) + 10 * rank)  # 1, 2 and 11, 12
    Collector('nobody/.*')  # makes no collective call, so that one process alone may make it
    report0('Progress/tick', 7 + rank)
    report('Loss/b', float('nan') if rank else 3.0)
    report('Loss/only_first', [] if rank else 5)
    rows = []
    for _ in range(2):
        losses.update()
        everything.update()
        rows.append([everything.as_dict(), losses.as_dict(), everything.reports('Loss/b')])
        if rank == 0:
            Collector()
        report('Loss/a', 100.0 * (rank + 1))
    torch.save(rows, f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


@pytest.fixture(scope='module')
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp('processes')
    torch.multiprocessing.spawn(worker, args=(folder,), nprocs=2)
    return [torch.load(folder / f'{rank}.pt', weights_only=False) for rank in (0, 1)]


def test_all_processes_see_the_sums_over_all(rows):
    assert repr(rows[0]) == repr(rows[1])  # NaN included
    first = rows[0][0][0]
    values = [1, 2, 11, 12]
    assert first['Loss/a'] == dict(num=4, mean=pytest.approx(np.mean(values)), std=pytest.approx(np.std(values)))
    assert first['Progress/tick'] == dict(num=1, mean=7, std=0)
    assert first['Loss/only_first'] == dict(num=1, mean=5, std=0)
    assert first['Loss/b']['num'] == 2 and np.isnan(first['Loss/b']['mean']) and rows[0][0][2] == (2, 1)


def test_the_next_update_counts_what_is_new(rows):
    everything, losses, _ = rows[1][1]
    assert everything['Loss/a'] == losses['Loss/a'] == dict(num=2, mean=150, std=50)
    assert everything['Loss/only_first']['num'] == 1, 'kept'
    assert losses['Loss/only_first']['num'] == 0, 'not kept'
    assert 'Progress/tick' not in losses
