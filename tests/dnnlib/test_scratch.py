"""Temporary folders are removed at the end, and those of killed processes by the next one."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dnnlib.scratch import scratch_folder

pytest.importorskip('fcntl')
USES_ONE = """
import time
from dnnlib.scratch import scratch_folder
with scratch_folder('mine') as folder:
    (folder / 'file').touch()
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr(tempfile, 'tempdir', None)
    return tmp_path


def test_it_is_removed_at_the_end_even_after_an_error(place):
    with pytest.raises(ValueError), scratch_folder('mine') as folder:
        (folder / 'file').touch()
        assert folder.parent == place and folder.name.startswith('mine-')
        raise ValueError
    assert list(place.iterdir()) == []


def test_those_of_killed_processes_are_removed_and_those_in_use_are_not(place):
    (place / 'mine-without-lock').mkdir()
    (place / 'other-name').mkdir()
    processes = [subprocess.Popen([sys.executable, '-c', USES_ONE], stdout=subprocess.PIPE, text=True,
                                  cwd=Path(__file__).parents[2]) for _ in range(2)]
    killed, living = (Path(process.stdout.readline().rstrip()) for process in processes)
    try:
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        assert (killed / 'file').exists()
        with scratch_folder('mine') as first, scratch_folder('mine') as second:
            assert set(os.listdir(place)) == {'mine-without-lock', 'other-name', living.name, first.name, second.name}
            assert (living / 'file').exists()
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()
