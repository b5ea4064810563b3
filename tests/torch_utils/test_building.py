"""Building a library into the cache: one build per key, regardless of what happens to processes, files and tools."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from torch_utils import building, cuda_driver, custom_ops
from torch_utils.building import CannotBuild

ROOT = Path(__file__).parents[2]
BUILD = """
import ctypes, sys
from pathlib import Path
from torch_utils import building
try:
    path = building.cached_path(Path(sys.argv[2]), Path(sys.argv[1]), 'cpu')
    print(ctypes.CDLL(str(building.obtain(path, 'tiny', Path(sys.argv[1]), 'cpu', 'a second'))).answer(),
          'torch.utils.cpp_extension' in sys.modules)
except building.CannotBuild as err:
    print(err)
"""


class Workplace:
    """sources, cache: folders. A compiler that adds a line to `links` when it links, and waits for SECONDS_MORE when it
    compiles."""

    def __init__(self, path):
        self.sources, self.cache, self.links = path / 'some sources', path / 'cache' / 'ops', path / 'links'
        self.sources.mkdir(parents=True)
        self.write(42)
        self.compiler, self.compiling = path / 'g++', path / 'compiling'
        script(self.compiler, f'case "$*" in *-shared*) echo link >> {self.links};; esac\n'
                              f'case "$*" in *" -c "*) echo x >> {self.compiling}; sleep "${{SECONDS_MORE:-0}}";; esac\n'
                              f'exec {shutil.which("c++")} "$@"')

    def write(self, answer, tail=''):
        (self.sources / 'tiny.cpp').write_text(f'extern "C" int answer() {{ return {answer}; }}\n{tail}\n')

    def path(self, kind='cpu'):
        return building.cached_path(self.cache, self.sources, kind)

    def obtain(self):
        return building.obtain(self.path(), 'tiny', self.sources, 'cpu', 'a second')

    def answer(self):
        return ctypes.CDLL(str(self.obtain())).answer()

    def failure(self):
        with pytest.raises(CannotBuild) as caught:
            self.obtain()
        assert '\n' not in str(caught.value) and caught.value.remedy
        assert not list(self.cache.glob('*.so')) and not list(self.cache.glob('.build.*'))
        return caught.value

    def count(self):
        return len(self.links.read_text().split()) if self.links.exists() else 0

    def start(self, seconds=0):
        """Another process that builds: prints the answer and whether it imported cpp_extension; or why there is no answer."""
        return subprocess.Popen([sys.executable, '-c', BUILD, self.sources, self.cache], cwd=ROOT, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                                env={**os.environ, 'CXX': str(self.compiler), 'SECONDS_MORE': str(seconds)})

    def wait_for_compiler(self):
        for _ in range(600):
            if self.compiling.exists():
                return
            time.sleep(0.1)
        pytest.fail('no compiler was started within a minute')


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)


@pytest.fixture
def place(tmp_path, monkeypatch):
    if shutil.which('c++') is None:
        pytest.skip('no C++ compiler')
    workplace = Workplace(tmp_path)
    monkeypatch.setenv('CXX', str(workplace.compiler))
    monkeypatch.delenv('SECONDS_MORE', raising=False)
    return workplace


def test_a_library_is_built_once_and_quiet_afterwards(place, capfd, monkeypatch):
    monkeypatch.setenv('CXX', f'env {place.compiler} -DANSWER=43')  # a wrapper and an option
    place.write('ANSWER - 1')
    path = place.obtain()
    assert ctypes.CDLL(str(path)).answer() == 42 and place.count() == 1
    assert capfd.readouterr() == ('', 'Compiling the operators for this machine, once; about a second ...\n')
    assert place.obtain() == path == place.path() and place.count() == 1
    assert capfd.readouterr() == ('', '')
    assert sorted(p.name for p in place.cache.iterdir()) == ['.lock', 'build.log', path.name]


def test_other_sources_flags_compilers_and_processors_are_other_libraries(place, monkeypatch):
    paths = {place.path()}
    place.write(43)
    paths.add(place.path())
    (place.sources / 'some.h').write_text('')
    paths.add(place.path())
    monkeypatch.setenv('CXX', f'{place.compiler} -mno-sse3')  # changes what -march=native stands for, as another CPU does
    paths.add(place.path())
    monkeypatch.setenv('CXX', str(place.compiler))
    monkeypatch.setattr(building, 'CXX_FLAGS', (*building.CXX_FLAGS, '-g0'))
    paths.add(place.path())
    monkeypatch.setattr(torch, '__version__', '2.0')
    paths.add(place.path())
    assert len(paths) == 6


def test_of_several_processes_one_builds_and_all_get_it(place):
    results = [p.communicate(timeout=120) for p in [place.start(seconds=4) for _ in range(3)]]
    assert [out for out, _ in results] == ['42 False\n'] * 3 and place.count() == 1
    said = ''.join(err for _, err in results)
    assert said.count('Compiling') == 1 and said.count('Waiting') <= 2 and said.count('\n') <= 3


def test_a_killed_build_leaves_no_lock(place):
    """Its compilers still run, in its folder."""
    process = place.start(seconds=600)
    try:
        place.wait_for_compiler()
        left, = place.cache.glob('.build.*')
        process.kill()
        process.wait()
        assert left.exists() and not list(place.cache.glob('*.so'))
        assert place.answer() == 42 and not list(place.cache.glob('.build.*'))
        os.killpg(process.pid, 0)  # raises ProcessLookupError if the compilers have ended, which nobody waited for
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_process_that_holds_the_lock_for_too_long(place, monkeypatch):
    place.cache.mkdir(parents=True)
    code = f'from dnnlib.files import lock; held = lock({str(place.cache / ".lock")!r}); print(flush=True); input()'
    with subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        monkeypatch.setattr(building, 'WAIT', 0.5)
        assert 'another process has held' in place.failure().reason
        process.communicate(b'\n')


@pytest.mark.parametrize('tail, words', [
    ('int wrong = nonsense;', "tiny.cpp:2:13: error: 'nonsense' was not declared"),
    ('int nowhere(); int now = nowhere();', 'undefined symbol'),  # a library that the system does not load
])
def test_an_error_in_the_sources_is_quoted(place, tail, words):
    place.write(1, tail)
    error = place.failure()
    assert words in error.reason.replace('‘', "'").replace('’', "'")
    assert error.remedy == f'see {place.cache / "build.log"}' and 'tiny.cpp' in (place.cache / 'build.log').read_text()


def test_a_missing_or_broken_compiler(place, monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    assert 'CXX=no-such-compiler does not run' in place.failure().reason
    monkeypatch.setenv('CXX', 'false')
    assert 'false is no C++ compiler' in place.failure().reason
    monkeypatch.delenv('CXX')
    monkeypatch.setenv('PATH', '')
    assert place.failure().reason == 'there is no C++ compiler'


def test_missing_ninja(place, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'bin' / 'python'))
    monkeypatch.setenv('CXX', shutil.which('c++'))
    monkeypatch.setenv('PATH', str(tmp_path))
    assert str(place.failure()) == 'ninja is missing; install it (pip install ninja)'


def test_a_cache_that_cannot_be_written(place, tmp_path):
    (tmp_path / 'file').write_text('')
    place.cache = tmp_path / 'file' / 'ops'  # permissions would not stop root
    error = place.failure()
    assert f'{place.cache} cannot be written (' in error.reason and 'DNNLIB_CACHE_DIR' in error.remedy


def toolkit(home, version='12.8'):
    script(home / 'bin' / 'nvcc', f'echo "Cuda compilation tools, release {version}, V{version}.93"')
    (home / 'include').mkdir()
    (home / 'include' / 'cuda_runtime.h').write_text('')
    return home


@pytest.fixture
def cuda(place, tmp_path, monkeypatch):
    """A CUDA toolkit in which nothing works but `nvcc --version`, and a PyTorch for it."""
    monkeypatch.setenv('CUDA_HOME', str(toolkit(tmp_path / 'cuda')))
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', '8.0;9.0a+PTX')
    monkeypatch.setattr(torch.version, 'cuda', '12.6')
    return tmp_path / 'cuda'


def test_gpus_are_part_of_the_key(place, cuda, monkeypatch):
    paths = {place.path(), place.path('cuda')}
    monkeypatch.delenv('TORCH_CUDA_ARCH_LIST')
    for capabilities in ([(9, 0), (8, 6)], [(8, 6), (9, 0)], [(9, 0), (9, 0)]):
        monkeypatch.setattr(cuda_driver, 'capabilities', lambda capabilities=capabilities: capabilities)
        paths.add(place.path('cuda'))
    assert len(paths) == 4


@pytest.mark.parametrize('change, words', [
    (lambda m: m.setattr(torch.version, 'cuda', None), 'not built for CUDA'),
    (lambda m: m.setattr(torch.version, 'cuda', '13.0'), 'the CUDA toolkit in .* is 12, and this PyTorch is for CUDA 13.0'),
    (lambda m: m.setenv('CUDA_HOME', '/nowhere'), 'nvcc.* is missing'),
    (lambda m: (m.delenv('TORCH_CUDA_ARCH_LIST'), m.setattr(cuda_driver, 'capabilities', list)), 'there is no GPU here'),
])
def test_what_can_be_wrong_with_cuda(place, cuda, monkeypatch, change, words):
    change(monkeypatch)
    with pytest.raises(CannotBuild, match=words):
        building.obtain(place.path('cuda'), 'tiny', place.sources, 'cuda', 'a second')


def test_a_script_that_calls_nvcc_is_skipped(cuda, tmp_path, monkeypatch):
    """Its folder has no headers. The toolkit is found in the packages of this Python instead."""
    script(tmp_path / 'local' / 'bin' / 'nvcc', 'exit 1')
    monkeypatch.setenv('PATH', f'{tmp_path / "local" / "bin"}:{os.environ["PATH"]}')
    monkeypatch.delenv('CUDA_HOME')
    monkeypatch.delenv('CUDA_PATH', raising=False)
    package = toolkit(tmp_path / 'site-packages' / 'nvidia' / 'cu12')
    monkeypatch.setattr(building.sysconfig, 'get_paths', lambda: {'purelib': str(tmp_path / 'site-packages')})
    if Path('/usr/local/cuda/bin/nvcc').exists():
        pytest.skip('a CUDA toolkit is installed')
    assert building._cuda_home() == package


@pytest.mark.slow
def test_the_cuda_sources_compile(tmp_path, monkeypatch):
    """With all flags of cpp_extension, for one architecture. Where PyTorch has no CUDA, it is pretended to have it: what it
    lacks is empty, and the library is not loaded."""
    if not Path('/usr/local/cuda/bin/nvcc').exists():
        pytest.skip('no CUDA toolkit')
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', '9.0')
    if torch.version.cuda is None:
        version = re.search(r'release ([\d.]+)', subprocess.check_output(['/usr/local/cuda/bin/nvcc', '--version'], text=True))[1]
        for name in ('c10_cuda', 'torch_cuda'):
            subprocess.run(['c++', '-shared', '-x', 'c++', os.devnull, '-o', tmp_path / f'lib{name}.so'], check=True)
        header = tmp_path / 'c10' / 'cuda' / 'impl' / 'cuda_cmake_macros.h'
        header.parent.mkdir(parents=True)
        header.write_text('#define C10_CUDA_BUILD_SHARED_LIBS\n')
        monkeypatch.setenv('LIBRARY_PATH', str(tmp_path))
        monkeypatch.setenv('CPATH', str(tmp_path))
        monkeypatch.setattr(torch.version, 'cuda', version)
        monkeypatch.setattr(building, 'LOAD', f'import torch; torch.version.cuda = {version!r}; '
                            'torch.cuda._is_compiled = lambda: True; torch.cuda.is_available = lambda: False; '
                            f'torch.ops.load_library = lambda path: None; {building.LOAD}')
    path = building.cached_path(tmp_path / 'ops', custom_ops.SOURCES, 'cuda')
    assert building.obtain(path, 'ops', custom_ops.SOURCES, 'cuda', 'minutes').stat().st_size > 1e6
    assert 'sm_90' in (tmp_path / 'ops' / 'build.log').read_text()
