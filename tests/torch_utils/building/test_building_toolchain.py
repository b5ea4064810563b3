"""What a build consists of; CUDA as far as it goes without a GPU."""

import stat
from pathlib import Path

import pytest
import torch

from torch_utils.building import CannotBuild, cuda, toolchain


@pytest.fixture
def toolkit(tmp_path, monkeypatch):
    """A CUDA toolkit in which nothing works but `nvcc --version`, and a PyTorch for it."""
    nvcc = tmp_path / 'cuda' / 'bin' / 'nvcc'
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text('#!/bin/sh\necho "Cuda compilation tools, release 12.8, V12.8.93"\n')
    nvcc.chmod(nvcc.stat().st_mode | stat.S_IXUSR)
    (tmp_path / 'cuda' / 'lib64').mkdir()
    monkeypatch.setenv('CUDA_HOME', str(tmp_path / 'cuda'))
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', '8.0;9.0a+PTX')
    monkeypatch.setattr(torch.version, 'cuda', '12.6')
    return tmp_path / 'cuda'


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / 'some sources'
    folder.mkdir()
    for name in ('bindings.cpp', 'a_cpu.cpp', 'b_cuda.cpp', 'b.cu', 'a.h'):
        (folder / name).write_text('')
    return folder


def test_which_sources_are_compiled_by_what(sources, toolkit):
    cpu, gpu = (toolchain.make_recipe('lib', sources, kind) for kind in ('cpu', 'cuda'))
    assert [p.name for p in cpu.sources] == ['a_cpu.cpp', 'bindings.cpp'] and cpu.key.startswith(f'cpu-{torch.__version__}-')
    assert [p.name for p in gpu.sources] == ['a_cpu.cpp', 'b_cuda.cpp', 'bindings.cpp', 'b.cu'] and gpu.key != cpu.key
    text = gpu.ninja_file()
    folder = str(sources).replace(' ', '$ ')
    assert f'build b.cu.o: nvcc {folder}/b.cu\n' in text and f'build b_cuda.cpp.o: cxx {folder}/b_cuda.cpp\n' in text
    assert 'build lib.so: link a_cpu.cpp.o b_cuda.cpp.o bindings.cpp.o b.cu.o\n' in text
    assert f'{toolkit}/bin/nvcc' in text and '-lcudart' in text and f'-L{toolkit}/lib64' in text
    assert '-lcudart' not in cpu.ninja_file()


def test_gpus_are_part_of_the_key(sources, toolkit, monkeypatch):
    one = toolchain.make_recipe('lib', sources, 'cuda')
    assert one.architectures == '8.0;9.0a+PTX'
    codes = [flag for flag in one.nvcc_flags if 'gencode' in flag]
    assert codes == ['-gencode=arch=compute_80,code=sm_80', '-gencode=arch=compute_90a,code=sm_90a',
                     '-gencode=arch=compute_90a,code=compute_90a']
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', '8.0')
    assert toolchain.make_recipe('lib', sources, 'cuda').key != one.key


@pytest.mark.parametrize('change, words', [
    (lambda m: m.setattr(torch.version, 'cuda', None), 'not built for CUDA'),
    (lambda m: m.setattr(torch.version, 'cuda', '13.0'), 'the CUDA toolkit is 12.8, and this PyTorch is for CUDA 13.0'),
    (lambda m: m.setenv('CUDA_HOME', '/nowhere'), 'nvcc.* is missing'),
    (lambda m: m.setenv('TORCH_CUDA_ARCH_LIST', 'Hopper'), "has 'Hopper', which is no number"),
    (lambda m: (m.delenv('TORCH_CUDA_ARCH_LIST'), m.setattr(torch.cuda, 'is_available', lambda: False)), 'there is no GPU here'),
])
def test_what_can_be_wrong_with_cuda(sources, toolkit, monkeypatch, change, words):
    change(monkeypatch)
    with pytest.raises(CannotBuild, match=words):
        toolchain.make_recipe('lib', sources, 'cuda')


def test_a_script_that_calls_nvcc(tmp_path):
    script = tmp_path / 'bin' / 'nvcc'
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "#$ TOP={tmp_path}/cuda/bin/.." >&2\n')
    script.chmod(0o755)
    (tmp_path / 'cuda' / 'bin').mkdir(parents=True)
    assert cuda.home_of(script) == tmp_path / 'cuda'


def test_the_gpus_here(monkeypatch):
    monkeypatch.delenv('TORCH_CUDA_ARCH_LIST', raising=False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 3)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda i: [(9, 0), (8, 6), (9, 0)][i])
    assert cuda.architectures() == ('8.6', '9.0')


def test_the_compiler_that_was_asked_for(monkeypatch, tmp_path):
    (tmp_path / 'my cxx').write_text('#!/bin/sh\n')
    (tmp_path / 'my cxx').chmod(0o755)
    monkeypatch.setenv('CXX', f"'{tmp_path}/my cxx' -m64")
    assert toolchain.compiler() == (f'{tmp_path}/my cxx', '-m64')


def test_no_sources(tmp_path):
    with pytest.raises(CannotBuild, match='no sources'):
        toolchain.make_recipe('lib', tmp_path, 'cpu')


def test_flags_that_follow_pytorch():
    assert toolchain.cxx_standard() in ('c++17', 'c++20', 'c++23')
    assert toolchain.openmp_flags('Debian clang version 16') == ((), ())
    compile_flags, link_flags = toolchain.openmp_flags('g++ 12')
    assert compile_flags == ('-fopenmp',) and (link_flags == ('-fopenmp',) or Path(link_flags[0]).is_file())


def test_processors_are_told_apart(monkeypatch):
    digests = set()
    for info in ('flags\t: sse avx\n', 'flags\t: avx sse\n', 'flags\t: sse\n', 'Features\t: asimd\n', ''):
        monkeypatch.setattr(toolchain, '_cpuinfo', lambda info=info: info)
        digests.add(toolchain.cpu_digest())
    assert len(digests) == 4
