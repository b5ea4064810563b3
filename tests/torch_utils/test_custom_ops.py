"""Loading the native operators: once per process, verified, and what is said when that does not work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.programs import run_program

from dnnlib.errors import UserError
from torch_utils import building, custom_ops, distributed
from torch_utils.building import CannotBuild
from torch_utils.ops import backend, torch_kernels

ROOT = Path(__file__).parents[2]
CPU = torch.device('cpu')


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As in a process that has just started, with an empty cache, and little to compile."""
    (tmp_path / 'sources').mkdir()
    (tmp_path / 'sources' / 'tiny.cpp').write_text('int answer() { return 42; }\n')
    monkeypatch.setattr(custom_ops, 'SOURCES', tmp_path / 'sources')
    monkeypatch.setattr(custom_ops, '_outcomes', {})
    monkeypatch.setattr(backend, '_own', None)
    monkeypatch.setattr(backend, '_own_devices', ())
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))


def test_importing_chooses_pytorch_and_compiles_nothing(fresh):
    assert backend.selected() == 'torch' and backend.kernels(torch.zeros(1)) is torch_kernels


def test_a_failure_is_one_line_once_and_then_pytorch_computes(fresh, monkeypatch, capsys):
    monkeypatch.setenv('CXX', 'false')
    for _ in range(2):
        backend.select('auto', CPU)
        assert backend.selected() == 'torch'
    out, err = capsys.readouterr()
    assert out == '' and err.count('\n') == 1 and 'false is no C++ compiler' in err and '--ops=torch' in err
    monkeypatch.delenv('CXX')  # never again in this run, whatever changes
    backend.select('auto', CPU)
    assert backend.selected() == 'torch' and capsys.readouterr() == ('', '')


def test_a_failure_is_an_error_if_native_operators_are_asked_for(fresh, monkeypatch):
    monkeypatch.setenv('CXX', 'false')
    with pytest.raises(UserError, match=r'--ops=native: .*false is no C.* compiler; set CXX'):
        backend.select('native', CPU)
    with pytest.raises(UserError, match='there are none for mps'):
        backend.select('native', torch.device('mps'))


@pytest.mark.parametrize('compiler', ['false', None])
def test_what_is_not_built_is_not_missed_where_it_is_not_to_be_built(fresh, monkeypatch, capsys, tmp_path, compiler):
    if compiler:
        monkeypatch.setenv('CXX', compiler)
    backend.select('auto', CPU, build=False)
    backend.select('auto', torch.device('mps'))
    backend.select('torch', CPU)
    assert backend.selected() == 'torch' and capsys.readouterr() == ('', '') and not (tmp_path / 'cache').exists()


def test_wrong_numbers_are_noticed(monkeypatch):
    right = dict(upfirdn2d=torch_kernels.upfirdn2d, bias_act=torch_kernels.bias_act)
    for word, wrong in (('upfirdn2d', lambda *args: torch_kernels.upfirdn2d(*args) * 1.01), ('bias_act', _no_slope)):
        fake = SimpleNamespace(**{**right, word: wrong})
        monkeypatch.setattr(custom_ops, 'kernels', lambda kind, fake=fake: fake)
        with pytest.raises(CannotBuild, match=f'{word}.* computes wrong numbers on cpu'):
            custom_ops.verify('cpu', CPU)


def _no_slope(x, b, *rest):
    return torch_kernels.bias_act(x, b, *rest).detach() + 0 * (x.square().sum() + b.sum())


def test_on_a_gpu_auto_takes_nvrtc_and_says_once_why_not(fresh, monkeypatch, capsys):
    """No message from other ranks: theirs would be the same."""
    gpu, tried = torch.device('cuda'), []
    monkeypatch.setattr(torch.version, 'cuda', '7.5')
    monkeypatch.setattr(custom_ops, '_load', lambda *args: tried.append(args))
    monkeypatch.setattr(distributed, 'is_rank0', lambda: False)
    backend.select('auto', gpu, build=False)
    assert capsys.readouterr() == ('', '') and backend.selected() == 'torch'
    monkeypatch.setattr(distributed, 'is_rank0', lambda: True)
    for _ in range(2):
        backend.select('auto', gpu)
        assert backend.selected() == 'torch'
    out, err = capsys.readouterr()
    assert out == '' and not tried and err.count('\n') == 1
    assert 'NVRTC 7 is missing; install the one that this PyTorch was built with' in err and '--ops=torch' in err


def test_the_launching_process_computes_nothing_on_a_gpu(fresh, monkeypatch):
    built = []
    monkeypatch.setattr(custom_ops, 'load', lambda *_: pytest.fail('a context on the GPU'))
    monkeypatch.setattr(building, 'obtain', lambda *args: built.append(args))
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', '9.0')
    for ops in ('auto', 'torch'):
        backend.prepare(ops, torch.device('cuda'))
    assert not built
    backend.prepare('native', torch.device('cuda'))
    assert len(built) == 1 and not torch.cuda.is_initialized()
    monkeypatch.setattr(torch.version, 'cuda', None)
    with pytest.raises(UserError, match=r'--ops=native: this PyTorch is not built for CUDA; .*, or use --ops=auto'):
        backend.prepare('native', torch.device('cuda'))


def test_a_library_without_the_operators(tmp_path):
    """In a process of its own: another test may have loaded the operators in this one."""
    if shutil.which('c++') is None:
        pytest.skip('no C++ compiler')
    (tmp_path / 'tiny.cpp').write_text('int answer() { return 42; }\n')
    code = (f'import torch; from pathlib import Path; from torch_utils import custom_ops; from torch_utils.ops import backend\n'
            f'custom_ops.SOURCES = Path({str(tmp_path)!r})\n'
            'backend.select("auto", torch.device("cpu")); print(backend.selected())')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, text=True, capture_output=True,
                          env={**os.environ, 'DNNLIB_CACHE_DIR': str(tmp_path / 'cache')})
    assert done.returncode == 0 and done.stdout == 'torch\n' and done.stderr.count('\n') == 2
    assert done.stderr.startswith('Compiling the operators for this machine, once')
    assert 'they do not run on cpu' in done.stderr.splitlines()[1]


def test_a_corrupt_library_is_named_once(fresh, tmp_path, capsys):
    path = building.cached_path(tmp_path / 'cache' / 'ops', custom_ops.SOURCES, 'cpu')
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(1000))
    for _ in range(2):
        backend.select('auto', CPU)
        assert backend.selected() == 'torch'
    out, err = capsys.readouterr()
    assert out == '' and err.count('\n') == 1 and f'{path} cannot be loaded' in err and 'delete it' in err


def test_the_command_says_what_is_missing(fresh, monkeypatch):
    monkeypatch.setenv('CXX', 'false')
    status, out, err = run_program(custom_ops.main)
    assert (status, out, err) == (1, '', 'Error: false is no C++ compiler; set CXX to one that works\n')


def test_the_command_says_what_was_loaded(monkeypatch, tmp_path):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    monkeypatch.setattr(custom_ops, '_outcomes', {'cpu': None})
    status, out, err = run_program(custom_ops.main, '--device=cpu')
    assert (status, err) == (0, '') and out.startswith(f'Operators in {tmp_path / "ops"}: loaded and verified on cpu in 0.0 s')
