"""python -m training.snapshot average: G_ema of another length, from the files beside the snapshots of a run."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import drawing
from helpers.programs import run_program
from helpers.shapes import write_dataset

from training.networks import power_average
from training.networks.power_average import PowerAverages
from training.snapshots.averages import load_averages, save_averages
from training.snapshots.file import load_network_snapshot
from training.snapshots.tool import average, main

ROOT = Path(__file__).parents[2]
LAST = 'network-snapshot-000008.pkl'


@pytest.fixture(scope='module')
def walked(tmp_path_factory):
    """(run directory whose generator walked at random for 8 kimg, with averages for each kimg; the average of length 0.08)."""
    run_dir = tmp_path_factory.mktemp('runs') / '00000-x'
    run_dir.mkdir()
    drawing.save_network(run_dir / LAST, 0)
    G = load_network_snapshot(str(run_dir / LAST)).G_ema
    generator = torch.Generator().manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(power_average, 'SIGMAS', (0.08,))
        third = PowerAverages(G)
    kept = PowerAverages(G)
    for nimg in range(20, 8001, 20):
        for p in G.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * (0.1 * (20 / nimg) ** 0.5))
        for averages in (kept, third):
            averages.update(20)
        if nimg % 1000 == 0:
            save_averages(run_dir / f'weight-averages-{nimg // 1000:06d}.pt', kept, nimg)
    return run_dir, third.values[0.08]


@pytest.fixture
def run_dir(walked, tmp_path):
    """A copy to damage."""
    for path in (walked[0] / LAST, *walked[0].glob('weight-averages-*')):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def run(*args):
    return run_program(main, 'average', *map(str, args))


def distance(parameters, others):
    """Of the convolutions' weights: those of the mapping network are larger, and so is what rounding does to them."""
    return float(sum((p - others[name]).square().sum() for name, p in parameters.items() if 'conv' in name) ** 0.5)


def test_the_average_is_that_which_would_have_been_tracked(walked):
    """As a program. Everything but the parameters of G_ema is that of the snapshot."""
    run_dir, truth = walked
    done = subprocess.run([sys.executable, '-m', 'training.snapshot', 'average', '--sigma=0.08', str(run_dir)], cwd=ROOT,
                          capture_output=True, text=True)
    path = run_dir / 'network-average-000008-0.08.pkl'
    assert done.returncode == 0 and done.stdout.startswith(f'Wrote {path} (profile error 0.0'), done.stderr
    assert 'from 8 files of averages' in done.stdout
    made, original = load_network_snapshot(str(path)), load_network_snapshot(str(run_dir / LAST))
    off = distance(dict(made.G_ema.named_parameters()), truth)
    for tracked in load_averages(run_dir / 'weight-averages-000008.pt').values.values():
        assert off < 0.2 * distance(tracked, truth)
    for name in ('G', 'D'):
        assert all(torch.equal(a, b) for a, b in zip(made[name].state_dict().values(), original[name].state_dict().values(),
                                                     strict=True))
    assert torch.equal(made.G_ema.mapping.w_avg, original.G_ema.mapping.w_avg) and made.cur_nimg == original.cur_nimg


def test_a_sweep_takes_the_best(walked, tmp_path, monkeypatch):
    """The stand-in for a metric is the distance from the average of length 0.08; that of higher values, from its opposite."""
    def rating(path, snapshot, metric, *rest):
        sign = -1 if metric == 'is1k' else 1
        return lambda: sign * distance(dict(snapshot.G_ema.named_parameters()), walked[1])

    monkeypatch.setattr(average, 'rating', rating)
    for metric in ('fd1k_efficientnet_full', 'is1k'):
        status, out, err = run('--sweep=0.05,0.08,0.12', f'--metric={metric}', walked[0] / LAST, f'--outdir={tmp_path / metric}')
        assert status == 0, err
        lines = out.splitlines()
        assert [line.split()[0] for line in lines[:-1]] == ['sigma', 'G_ema', '0.05', '0.08', '0.12'] and metric in lines[0]
        assert [path.name for path in (tmp_path / metric).iterdir()] == ['network-average-000008-0.08.pkl']


@pytest.mark.slow
def test_a_sweep_computes_the_metric(walked, tmp_path):
    data = write_dataset(tmp_path / 'shapes.zip', count=20, labels=False)
    status, out, err = run('--sweep=0.05,0.1', '--metric=kd20_efficientnet_full', f'--data={data}', walked[0],
                           f'--outdir={tmp_path / "new"}')
    assert status == 0, err
    rows = [line.split() for line in out.splitlines() if line.split()[0] in ('G_ema', '0.05', '0.1')]
    assert len(rows) == 3 and len({row[-1] for row in rows}) == 3
    best = min(rows[1:], key=lambda row: float(row[-1]))[0]
    assert [path.name for path in (tmp_path / 'new').iterdir()] == [f'network-average-000008-{best}.pkl']


def test_what_a_metric_lacks_is_named(walked, tmp_path):
    status, out, err = run('--sweep=0.05,0.1', '--metric=ppl2_wend', walked[0], f'--outdir={tmp_path}')
    assert status == 1 and 'vgg16' in err.lower() and out == ''


@pytest.mark.parametrize('args, text', [
    ([], 'give one of them'), (['--sigma=0.1', '--sweep=0.1'], 'give one of them'), (['--sigma=0.1,0.2'], 'use --sweep'),
    (['--sigma=0'], 'lengths are above 0 and below 0.2887'), (['--sigma=0.3'], 'below 0.2887'), (['--sigma=x'], 'not a list of'),
    (['--sigma=0.1', '--metric=fid50k'], '--metric has no effect'), (['--sweep=0.1'], '--sweep needs one --metric'),
    (['--sweep=0.1', '--metric=dipd'], '--metric=dipd: does not say which'), (['--sweep=0.1', '--metric=none'], 'needs one'),
    (['--sweep=0.1', '--metric=x'], "not 'x'")])
def test_options_that_do_not_fit_are_named(walked, args, text):
    status, out, err = run(*args, walked[0])
    assert (status, out) == (2, '') and text in err.splitlines()[-1]


def test_missing_and_damaged_files_are_named(run_dir, tmp_path):
    status, _, err = run('--sigma=0.1', tmp_path / 'gone')
    assert status == 2 and 'gone: not a run directory and not a network-snapshot-<kimg>.pkl in one' in err
    damage = {
        'weight-averages-000003.pt': lambda path: path.write_bytes(path.read_bytes()[:-200]),
        'weight-averages-000004.pt': lambda path: torch.save({'format': 1}, path),
        'weight-averages-000008.pt': lambda path: path.unlink(),
        LAST: lambda path: path.unlink()}
    for name, change in damage.items():
        kept = (run_dir / name).read_bytes()
        change(run_dir / name)
        status, out, err = run('--sigma=0.1', run_dir)
        assert status == (2 if name == LAST else 1) and out == '' and err.count('\n') == 1
        assert (f'{run_dir / name}: ' if name != LAST else f'{run_dir}: no network-snapshot-<kimg>.pkl') in err
        (run_dir / name).write_bytes(kept)
    assert not list(run_dir.glob('network-average-*'))


def test_averages_of_another_network_are_refused(run_dir):
    drawing.save_network(run_dir / LAST, 0, resolution=8)
    status, _, err = run('--sigma=0.1', run_dir)
    assert status == 1 and 'weight-averages-000008.pt: its averages are of another network' in err


def test_only_averages_with_the_same_start_are_used(run_dir):
    G = load_network_snapshot(str(run_dir / LAST)).G_ema
    averages = PowerAverages(G)  # from 5 kimg
    for nimg in (6000, 7000, 8000):
        averages.update(1000)
        save_averages(run_dir / f'weight-averages-{nimg // 1000:06d}.pt', averages, nimg)
    status, out, _ = run('--sigma=0.1', run_dir)
    assert status == 0 and 'from 3 files of averages' in out
