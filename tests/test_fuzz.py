"""What fuzzing found stays mended, and its targets work: each takes its valid files, and refuses damaged ones in a word."""

import random
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / 'fuzz'
sys.path.append(str(FOLDER))

import targets  # noqa: E402

FOUND = sorted((FOLDER / 'found').glob('*/*'))


def refuse(name, data):
    """Whether a target refuses its input. It may do nothing else, in bounded time and memory."""
    tracemalloc.start()
    start = time.process_time()
    try:
        targets.TARGETS[name](data)
        return False
    except targets.REFUSALS as err:
        assert str(err) and '\n' not in str(err)
        return True
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert time.process_time() - start < 20 and peak < 500 << 20


@pytest.mark.parametrize('name', targets.TARGETS)
def test_valid_files_are_read_and_damaged_ones_refused(name):
    refused = 0
    for data in targets.seeds(name):
        targets.TARGETS[name](data)
        rng = random.Random(0)
        for _ in range(20):
            damaged = bytearray(data[:rng.randrange(1, len(data) + 1)])
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            refused += refuse(name, bytes(damaged))
    assert refused >= 10


@pytest.mark.parametrize('path', FOUND, ids=lambda path: f'{path.parent.name}-{path.name[:20]}')
def test_what_was_found_is_refused_or_read(path):
    refuse(path.parent.name, path.read_bytes())
