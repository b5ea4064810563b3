"""The cache of built libraries: one build per key, whatever happens to the processes, the files and the tools."""

import ctypes
import json
import os
import signal
import time

import pytest

from torch_utils.building import CannotBuild, cache, toolchain


def obtain(place):
    return cache.obtain(place.cache, place.recipe(), 'a second')


def test_a_library_is_built_once_and_quiet_afterwards(place, capfd):
    path = obtain(place)
    assert ctypes.CDLL(str(path)).answer() == 42
    out, err = capfd.readouterr()
    assert out == '' and err == 'Compiling the operators for this machine, once; about a second ...\n'
    assert obtain(place) == cache.intact(place.cache, place.recipe()) == path and place.count() == 1
    assert capfd.readouterr() == ('', '')
    assert sorted(p.name for p in path.parent.iterdir()) == ['build.json', 'tiny.so']
    assert sorted(p.name for p in place.cache.iterdir()) == ['.lock', 'build.log', path.parent.name]


def test_other_sources_headers_and_flags_are_other_libraries(place, monkeypatch):
    first = place.recipe().key
    obtain(place)
    place.write(43)
    assert place.recipe().key != first and ctypes.CDLL(str(obtain(place))).answer() == 43
    keys = {first, place.recipe().key}
    (place.sources / 'some.h').write_text('')
    keys.add(place.recipe().key)
    monkeypatch.setattr(toolchain, 'CXX_FLAGS', (*toolchain.CXX_FLAGS, '-DX'))
    keys.add(place.recipe().key)
    monkeypatch.setattr(toolchain, 'cpu_digest', lambda: 'another CPU')
    keys.add(place.recipe().key)
    monkeypatch.setattr(toolchain, 'compiler_version', lambda cxx: 'g++ 99')
    keys.add(place.recipe().key)
    assert len(keys) == 6 and len(cache.builds(place.cache)) == 2


def test_of_several_processes_one_builds_and_all_get_it(place):
    processes = [place.start(seconds=2) for _ in range(4)]
    results = [p.communicate(timeout=60) for p in processes]
    assert [out for out, _ in results] == ['42\n'] * 4 and place.count() == 1
    said = ''.join(err for _, err in results)
    assert said.count('Compiling') == 1 and said.count('Waiting') <= 3 and said.count('\n') <= 4


def test_a_build_that_fails_is_not_repeated_by_those_who_waited(place):
    place.write(1, tail='int wrong')
    results = [p.communicate(timeout=60) for p in [place.start(seconds=2) for _ in range(2)]]
    assert results[0][0] == results[1][0] and 'error: ' in results[0][0]
    assert len(place.compiling.read_text().split()) == 1


def test_a_killed_build_disturbs_nobody(place):
    process = place.start(seconds=60)
    for _ in range(300):
        if place.compiling.exists():
            break
        time.sleep(0.1)
    left = list(place.cache.glob('.*.tmp'))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(left) == 1
    begun = time.monotonic()
    assert ctypes.CDLL(str(obtain(place))).answer() == 42 and time.monotonic() - begun < 30
    assert not list(place.cache.glob('.*.tmp'))
    process.stdout.close()
    process.stderr.close()
    for pid in children_of_sessions(left[0]):
        os.kill(pid, signal.SIGKILL)


def children_of_sessions(folder):
    """The processes that still work in the folder of the killed build: this test ends them, to be done itself."""
    found = []
    for cwd in [f'/proc/{pid}/cwd' for pid in os.listdir('/proc') if pid.isdigit()]:
        try:
            if str(folder) in os.readlink(cwd):
                found.append(int(cwd.split('/')[2]))
        except OSError:
            pass
    return found


@pytest.mark.parametrize('damage', ['truncated', 'overwritten', 'no library', 'no record', 'record cut'])
def test_a_damaged_library_is_built_again_not_loaded(place, damage):
    path = obtain(place)
    if damage == 'truncated':
        os.truncate(path, path.stat().st_size // 2)
    elif damage == 'overwritten':
        path.write_bytes(bytes(path.stat().st_size))
    elif damage == 'no library':
        path.unlink()
    elif damage == 'no record':
        (path.parent / 'build.json').unlink()
    else:
        os.truncate(path.parent / 'build.json', 20)
    assert cache.intact(place.cache, place.recipe()) is None
    assert obtain(place) == path and place.count() == 2 and cache.intact(place.cache, place.recipe()) == path


def failure(place):
    with pytest.raises(CannotBuild) as caught:
        obtain(place)
    assert '\n' not in str(caught.value) and caught.value.remedy
    return caught.value


def test_an_error_in_the_sources_is_quoted(place):
    place.write(1, tail='int wrong = nonsense;')
    error = failure(place)
    assert "tiny.cpp:2:13: error: 'nonsense' was not declared" in error.reason.replace('‘', "'").replace('’', "'")
    assert str(place.cache / 'build.log') in error.remedy and 'nonsense' in (place.cache / 'build.log').read_text()
    assert not cache.builds(place.cache) and not list(place.cache.glob('.*.tmp'))
    assert json.loads((place.cache / 'failed.json').read_text())['reason'] == error.reason
    place.write(44)
    assert ctypes.CDLL(str(obtain(place))).answer() == 44


def test_an_error_of_the_linker_is_quoted(place, monkeypatch):
    monkeypatch.setattr(toolchain, 'openmp_flags', lambda version: ((), ('-lno-such-library',)))
    assert 'cannot find -lno-such-library' in failure(place).reason


def test_a_missing_or_broken_compiler(place, monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    assert 'no-such-compiler was not found' in failure(place).reason
    monkeypatch.setenv('CXX', 'false')
    assert 'is no C++ compiler' in failure(place).reason
    monkeypatch.delenv('CXX')
    monkeypatch.setenv('PATH', '')
    assert failure(place).reason == 'there is no C++ compiler'


def test_missing_ninja(place, monkeypatch, tmp_path):
    monkeypatch.setattr(toolchain.sys, 'executable', str(tmp_path / 'bin' / 'python'))
    monkeypatch.setenv('PATH', str(tmp_path))
    assert str(failure(place)) == 'ninja is missing; install it (pip install ninja)'


def test_a_cache_that_cannot_be_written(place, tmp_path):
    (tmp_path / 'file').write_text('')
    place.cache = tmp_path / 'file' / 'ops'  # permissions would not stop root
    error = failure(place)
    assert f'{place.cache} cannot be written (not a directory)' in error.reason and 'DNNLIB_CACHE_DIR' in error.remedy


def test_a_build_that_hangs_is_ended(place, monkeypatch):
    monkeypatch.setenv('SECONDS_MORE', '60')
    monkeypatch.setattr(cache, 'BUILD_TIME', 1.0)
    assert 'was not done after' in failure(place).reason and not list(place.cache.glob('.*.tmp'))


def test_a_process_that_holds_the_lock_for_too_long(place, monkeypatch):
    process = place.start(seconds=20)
    while not place.compiling.exists():
        time.sleep(0.1)
    monkeypatch.setattr(cache, 'WAIT', 0.5)
    try:
        assert 'another process has held' in failure(place).reason
    finally:
        process.kill()
        process.communicate()
        for folder in place.cache.glob('.*.tmp'):
            for pid in children_of_sessions(folder):
                os.kill(pid, signal.SIGKILL)


def test_cleaning_keeps_what_is_wanted(place):
    obtain(place)
    place.write(43)
    keep = obtain(place)
    (place.cache / '.x.tmp').mkdir()
    assert cache.clean(place.cache, keep.parent.name) == 1
    assert [key for key, _, _ in cache.builds(place.cache)] == [keep.parent.name]
    assert not (place.cache / '.x.tmp').exists()
    assert cache.clean(place.cache, None) == 1 and cache.clean(place.cache / 'none', None) == 0
