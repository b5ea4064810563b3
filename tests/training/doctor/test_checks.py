"""What the checks of the doctor say of a healthy machine, and of injected faults."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from training.doctor import around, computing, report, system
from training.doctor.findings import MISSING, OK, WARN, Place, seconds

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / 'runs')


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_a_machine_without_compiler_and_browser_still_trains(tmp_path):
    home = tmp_path / 'home'
    (home / 'bin').mkdir(parents=True)
    (home / 'file').write_text('')
    env = {**os.environ, 'HOME': str(home), 'PATH': str(home / 'bin'), 'DNNLIB_CACHE_DIR': str(home / 'file' / 'cache'),
           'WANDB_MODE': 'disabled', 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    env.pop('CXX', None)
    done = subprocess.run([sys.executable, '-m', 'training.doctor', '--json', f'--outdir={home}/runs'], capture_output=True,
                          text=True, env=env, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, '') and str(home) not in done.stdout
    content = json.loads(done.stdout)
    found = {f['name']: f for f in content['findings']}
    assert content['can_train'] and not [f for f in found.values() if 'the check failed' in f['text']]
    assert found['Compiler']['status'] == MISSING and 'there is no C++ compiler' in found['Compiler']['text']
    assert found['Operators, C++']['status'] == MISSING and 'install g++' in found['Operators, C++']['remedy']
    assert found['Disk of cache']['status'] == MISSING and found['Disk of runs']['status'] in (OK, WARN)
    assert found['Disk of cache']['text'] == '~/file/cache: cannot be written (not a directory)'
    assert found['Chromium']['status'] == found['W&B']['status'] == MISSING
    assert found['Training']['status'] == found['Operators, PyTorch']['status'] == found['Detector efficientnet']['status'] == OK
    assert found['CPU']['measured']['float32_gflops'] > 0 and not (home / 'runs').exists()


def test_a_full_disk(place, monkeypatch):
    monkeypatch.setattr(system.tempfile, 'TemporaryFile', lambda **_: open('/dev/full', 'wb'))  # noqa: SIM115
    runs = by_name(system.disks(place))['Disk of runs']
    assert (runs.status, runs.essential) == (MISSING, True) and runs.text.endswith('cannot be written (no space left on device)')
    assert not report.can_train([runs])


def test_little_space(place, monkeypatch):
    monkeypatch.setitem(system.WANTED, 'disk', 1e9)
    runs = by_name(system.disks(place))['Disk of runs']
    assert runs.status == WARN and 'less than' in runs.text and '--outdir' in runs.remedy and report.can_train([runs])
    assert list(place.outdir.parent.iterdir()) == []


def test_memory_within_a_container(place, monkeypatch):
    monkeypatch.setattr(system, '_cgroup_bytes', {'memory.max': 2 << 30, 'memory.current': 1 << 30}.get)
    found, = system.memory(place)
    assert found.status == WARN and found.text.startswith('1.0 of 2.0 GiB free') and found.measured['copy_gb_per_s'] > 0


def test_packages_of_other_versions_or_missing(place, monkeypatch, tmp_path):
    (tmp_path / 'requirements.txt').write_text('click==0.1  # why\nno-such-package==1\npillow==1; python_version < "3"\n')
    (tmp_path / 'requirements-extras.txt').write_text('click==0.1\n')
    monkeypatch.setattr(system, 'ROOT', tmp_path)
    packages, extras = system.packages(place)
    assert packages.status == MISSING and packages.text.startswith('0 of 2 as tested; click ')
    assert '(tested: 0.1); without no-such-package' in packages.text and packages.remedy == 'pip install -r requirements.txt'
    assert extras.status == WARN and extras.remedy == 'pip install -r requirements-extras.txt'


def test_packages_that_are_compiled_at_every_start(place, monkeypatch, tmp_path):
    (tmp_path / 'neat').mkdir()
    for name in ('__init__', 'a'):
        (tmp_path / 'neat' / f'{name}.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    monkeypatch.setattr(sys, 'modules', sys.modules.copy())
    importlib.import_module('neat.a')
    found, = system.bytecode(place, 'neat')
    assert found.status == WARN and found.text.startswith('0 of 2 loaded modules')
    command = found.remedy.partition(' (')[0].split()
    subprocess.run([sys.executable, *command[1:]], check=True)
    found, = system.bytecode(place, 'neat')
    assert found.status == OK and found.text.startswith('2 of 2 loaded modules') and found.remedy == ''


def test_a_package_that_training_needs(place, monkeypatch):
    monkeypatch.delitem(sys.modules, 'training.training_loop', raising=False)
    monkeypatch.setitem(sys.modules, 'training.training_loop', None)
    found, = computing.program(place)
    assert (found.status, found.essential) == (MISSING, True) and 'cannot be imported' in found.text


def test_a_compiler_that_does_not_compile(place, monkeypatch, tmp_path):
    compiler = tmp_path / 'cxx'
    compiler.write_text('#!/bin/sh\ncase "$*" in *-dM*) echo "#define __cplusplus 1";; *--version*) echo cxx 1.0;;\n'
                        '*) echo "a.cpp:1: fatal error: no space" >&2; exit 1;; esac\n')
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    found, = computing.compiler(place)
    assert found.status == MISSING and found.text == 'cxx 1.0: does not compile (a.cpp:1: fatal error: no space)'


def test_a_gpu_that_pytorch_cannot_use(place, monkeypatch):
    from torch_utils import gpu_trouble
    monkeypatch.setattr(gpu_trouble, 'trouble', lambda: 'the driver is old; update it')
    found, = computing.gpus(place)
    assert (found.status, found.text, found.remedy) == (MISSING, 'the driver is old', 'update it')


def test_gpus_are_measured_in_each_precision(place, monkeypatch):
    import torch

    from torch_utils import devices, gpu_trouble
    found, asked = SimpleNamespace(name='H', total_memory=80 << 30), []
    monkeypatch.setattr(gpu_trouble, 'trouble', lambda: None)
    for name, value in dict(is_available=True, device_count=2, get_device_properties=found, is_bf16_supported=True).items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(devices, 'configure', lambda device, cudnn_benchmark, allow_tf32: asked.append(allow_tf32))
    monkeypatch.setattr(computing, '_speed', lambda device, dtype: asked.append((device.index, dtype)) or 5e13)
    first, second = computing.gpus(place)
    assert first.text == 'H, 80 GiB; TFLOP/s: 50 in float32, 50 in TF32, 50 in float16, 50 in bfloat16'
    assert (first.name, second.name, second.status) == ('GPU 0', 'GPU 1', OK)
    assert asked[:8] == [False, (0, torch.float32), True, (0, torch.float32), False, (0, torch.float16), False,
                         (0, torch.bfloat16)]


def test_no_library_for_gpus(place, monkeypatch):
    from torch_utils import nvrtc
    from torch_utils.building import CannotBuild

    def missing(cuda):
        raise CannotBuild('NVRTC is missing', 'install it')
    monkeypatch.setattr(nvrtc, 'library', missing)
    found = computing._nvrtc_alone()
    assert (found.status, found.text, found.remedy) == (MISSING, 'NVRTC is missing; it is for GPUs only', 'install it')


def test_damaged_weights(place, monkeypatch, tmp_path):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    (tmp_path / 'detectors').mkdir()
    (tmp_path / 'detectors' / 'efficientnet-lite0-57934424.pth').write_text('no weights')
    found = by_name(around.detectors(place))
    assert found['Detector efficientnet'].status == MISSING and 'damaged' in found['Detector efficientnet'].text
    assert found['Detector inception'].status == MISSING and 'mseitzer' in found['Detector inception'].remedy


@pytest.mark.parametrize('package, look, words', [('imageio_ffmpeg', around.movies, 'pip install imageio-ffmpeg'),
                                                  ('wandb', around.weights_and_biases, 'pip install wandb')])
def test_packages_that_one_can_do_without(place, monkeypatch, package, look, words):
    monkeypatch.setattr(around.importlib.util, 'find_spec', lambda name: None)
    found, = look(place)
    assert (found.status, found.remedy, found.essential) == (MISSING, words, False)


def test_the_shortest_time_counts_without_the_first_call():
    calls = []
    assert 0 <= seconds(lambda: calls.append(1), budget=0) < 1 and len(calls) == 2
