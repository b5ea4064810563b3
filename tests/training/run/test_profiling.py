"""--profile: what it writes, and that the run does not change by it."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

from helpers import small_runs

from training.run import profiling

ROOT = Path(__file__).parents[3]
TINY = ('--kimg=1 --batch=100 --cbase=32 --cmax=4 --z-dim=4 --map-depth=1 --workers=1 --device=cpu --metrics=none --ops=torch '
        '--wandb=disabled --aug=noaug --precision=fp32 --tick=1')


def test_a_trace_and_a_table_are_written(tmp_path):
    data = small_runs.write_domains(tmp_path / 'data.zip')
    done = subprocess.run([sys.executable, ROOT / 'train.py', f'--data={data}', f'--outdir={tmp_path / "runs"}', '--profile=3',
                           *TINY.split()],
                          capture_output=True, text=True, timeout=600, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr
    run_dir, = (tmp_path / 'runs').iterdir()
    assert f'Profiled 3 steps: {run_dir / profiling.TRACE}' in done.stdout
    events = json.loads(gzip.decompress((run_dir / profiling.TRACE).read_bytes()))['traceEvents']
    names = [event.get('name', '') for event in events]
    assert sum(name.startswith('ProfilerStep#') for name in set(names)) == 3 and any('convolution' in name for name in names)
    table = (run_dir / profiling.TABLE).read_text()
    assert table.startswith('3 steps, after 4 others\n') and 'aten::' in table
    assert not list(run_dir.glob('.unfinished*'))
    speed = [line['Timing/gflop_per_sec']['mean'] for line in small_runs.stats(run_dir)]
    assert len(speed) >= 2 and min(speed) > 0 and 'gflop/s' in done.stdout


def test_a_run_that_is_too_short_says_so(tmp_path):
    said = []
    profiler = profiling.Profiler(2, tmp_path, said.append)
    for _ in range(profiling.SKIPPED + 1):
        profiler.step()
    profiler.close()
    profiler.close()
    assert said == ['warning: --profile=2 needs 6 steps, but this run had 5; nothing was written']
    assert not list(tmp_path.iterdir())
