"""Training on two hosts: torchrun --nnodes=2 in two network namespaces, whose ranks are killed and whose cable is cut."""


import pytest
from helpers.background import TINY, digest, train, write_images
from helpers.hosts import Hosts

pytestmark = pytest.mark.slow
NAME = '00000-images-cond-auto2-kimg6-batch100'
LONGER, LAST = [*TINY, '--kimg=6', '--snap=3'], 'network-snapshot-000006.pkl'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('data') / 'images')


@pytest.fixture(scope='module')
def expected(data, tmp_path_factory):
    """The last networks of two ranks that nothing disturbed, on one host."""
    outdir = tmp_path_factory.mktemp('whole')
    status, output = train(outdir / 'log', f'--outdir={outdir}', f'--data={data}', *LONGER, '--gpus=2')
    assert status == 0, output
    return digest(outdir / NAME, LAST)


def test_ranks_killed_on_either_host_are_restarted_and_resume(data, expected, tmp_path):
    script = ['train.py', f'--outdir={tmp_path / "runs"}', f'--data={data}', *LONGER]
    with (Hosts() as hosts, hosts.torchrun(0, tmp_path / 'log0', *script) as first,
          hosts.torchrun(1, tmp_path / 'log1', *script) as second):
        first.wait_for('tick 5 ')
        second.kill_rank()
        first.wait_for('Resuming in ')
        first.wait_for('tick 10 ')
        first.kill_rank()
        first.wait_for('Resuming in ', 2)
        assert (first.wait(), second.wait()) == (0, 0), first.output() + second.output()
        printed = first.output() + second.output()
        assert printed.count('Results are in ') == 1
    assert [path.name for path in (tmp_path / 'runs').iterdir()] == [NAME], 'it went on in its own directory'
    assert digest(tmp_path / 'runs' / NAME, LAST) == expected


def test_an_error_on_one_host_is_told_on_both_and_ends_both(data, tmp_path):
    images = write_images(tmp_path / 'images')
    script = ['train.py', f'--outdir={tmp_path / "runs"}', f'--data={images}', *TINY, '--kimg=1000']
    with (Hosts() as hosts, hosts.torchrun(0, tmp_path / 'log0', '--max-restarts=0', *script) as first,
          hosts.torchrun(1, tmp_path / 'log1', '--max-restarts=0', *script) as second):
        first.wait_for('tick 0 ')
        (images / 'class0' / '04.png').write_bytes(b'nothing')
        assert (first.wait(60), second.wait(60)) == (1, 1)
        for host in (first, second):
            line = next(line for line in host.output().splitlines() if line.startswith('Error: '))
            assert 'class0/04.png' in line


def test_a_cut_cable_ends_both_and_once_mended_the_run_goes_on(data, expected, tmp_path):
    """A new torchrun can take the place of one that has gone only where torchrun shares no store with its ranks."""
    script = ['train.py', f'--outdir={tmp_path / "runs"}', f'--data={data}', *LONGER]
    environment = dict(STYLEGAN_TIMEOUT='15', TORCH_DISABLE_SHARE_RDZV_TCP_STORE='1')
    with Hosts() as hosts, hosts.torchrun(0, tmp_path / 'log0', *script, **environment) as first:
        with hosts.torchrun(1, tmp_path / 'log1', *script, **environment) as second:
            first.wait_for('tick 5 ')
            hosts.cut()
            first.wait_for('another rank failed, or did not answer rank 0 within 15 s')
            second.wait_for('another rank failed, or did not answer rank 1 within 15 s')
            assert 'tick 29 ' not in first.output()
        hosts.mend()
        with hosts.torchrun(1, tmp_path / 'log2', *script, **environment) as second:
            assert (first.wait(), second.wait()) == (0, 0), first.output() + second.output()
        assert 'Resuming in ' in first.output() + second.output()
    assert digest(tmp_path / 'runs' / NAME, LAST) == expected
