"""Several processes that evaluate together: if something goes wrong in one of them, all hear of it, and none waits."""

import json
import time

import pytest
import torch

from dnnlib.errors import OptionError, UserError
from metrics.context import Context, Interrupted
from metrics.features import extraction
from metrics.features.statistics import FeatureStats
from torch_utils import distributed
from torch_utils.launching import launch


class Odd(Exception):
    """One that can't be sent as it is."""

    def __init__(self, a, b):
        super().__init__(f'{a} {b}')


def caught(function):
    try:
        return function()
    except Exception as err:
        return f'{type(err).__name__}: {err}'


def fail(error):
    raise error


def features_where(rank, error):
    """Of 40 images in batches of 4; the process `rank` fails in its third batch."""
    count = []

    def compute(images):
        count.append(1)
        if distributed.rank() == rank and len(count) == 3:
            raise error
        return images

    context = Context(None, None, torch.device('cpu'), batch=4,
                      stop=lambda: isinstance(error, Interrupted) and distributed.rank() == rank and len(count) == 2)
    stats = FeatureStats(capture_all=True, max_items=40)
    extraction.of_batches(context, 40, lambda parts: (torch.ones(p.stop - p.start, 2) for p in parts), compute, stats, 'x')
    return f'{len(stats.features())} rows'


def take_part(folder):
    first = distributed.rank() == 0
    found = {
        'fine': caught(distributed.agree),
        'other': caught(lambda: distributed.agree(None if first else OptionError('wrong'))),
        'both': caught(lambda: distributed.agree(UserError(f'of {distributed.rank()}'))),
        'odd': caught(lambda: distributed.agree(None if first else Odd(1, 2))),
        'first': caught(lambda: distributed.broadcast_from_rank0(lambda: 7 if first else 1 / 0)),
        'first fails': caught(lambda: distributed.broadcast_from_rank0(lambda: fail(UserError('no')))),
        'other fails meanwhile': caught(
            lambda: distributed.broadcast_from_rank0(lambda: time.sleep(0.3)) if first else distributed.agree(UserError('lost'))),
        'features': caught(lambda: features_where(None, None)),
        'features fail in 0': caught(lambda: features_where(0, UserError('gone'))),
        'features fail in 1': caught(lambda: features_where(1, RuntimeError('no memory'))),
        'stop in 1': caught(lambda: features_where(1, Interrupted())),
        'again': caught(lambda: distributed.broadcast_from_rank0(lambda: 9)),
    }
    with open(f'{folder}/{distributed.rank()}.json', 'w') as f:
        json.dump(found, f)


def test_two_processes_agree_whatever_happens(tmp_path):
    launch(take_part, [str(tmp_path)], 2, 'cpu')
    zero, one = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1))
    same = {
        'fine': False, 'other': 'OptionError: wrong', 'first': 7, 'first fails': 'UserError: no',
        'other fails meanwhile': 'UserError: lost', 'features fail in 0': 'UserError: gone',
        'features fail in 1': 'RuntimeError: no memory', 'stop in 1': 'Interrupted: ', 'again': 9}
    assert {key: value for key, value in zero.items() if key in same} == same
    assert {key: value for key, value in one.items() if key in same} == same
    assert (zero['both'], one['both']) == ('UserError: of 0', 'UserError: of 1')
    assert (zero['odd'], one['odd']) == ('RuntimeError: Odd: 1 2', 'Odd: 1 2')
    assert (zero['features'], one['features']) == ('40 rows', '0 rows')


def test_one_process_alone():
    assert distributed.broadcast_from_rank0(lambda: 3) == 3 and distributed.gather_rows(torch.ones(2, 1), [2])[0].shape == (2, 1)
    distributed.agree()
    with pytest.raises(UserError, match='x'):
        distributed.agree(UserError('x'))
