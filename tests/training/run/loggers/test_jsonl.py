"""Lines of JSON that survive a kill and are continued."""

import json

import pytest

from dnnlib.jsonl import append_line, read_lines
from training.run.loggers.jsonl import StatsFile, keep_lines


def stats(nimg, **more):
    return {'Progress/kimg': dict(num=1, mean=nimg / 1e3, std=0.0), **more}


def kimgs(path):
    return [line['Progress/kimg']['mean'] for line in read_lines(path)]


def write(run_dir, start_nimg, *nimgs):
    file = StatsFile(run_dir, start_nimg)
    for nimg in nimgs:
        file.write(stats(nimg))
    file.close()
    return run_dir / 'stats.jsonl'


def test_a_run_that_goes_on_drops_what_comes_again(tmp_path):
    path = write(tmp_path, 0, 50, 350, 650, 950, 1250)
    assert kimgs(path) == [0.05, 0.35, 0.65, 0.95, 1.25]
    write(tmp_path, 650, 700, 1000)
    assert kimgs(path) == [0.05, 0.35, 0.65, 0.7, 1.0]
    assert [p.name for p in tmp_path.iterdir()] == ['stats.jsonl']


def test_lines_that_found_no_room_are_written_with_the_next(tmp_path):
    resource = pytest.importorskip('resource')
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = StatsFile(tmp_path, 0)
    file.write(stats(50))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / 'stats.jsonl').stat().st_size + 10, unlimited[1]))
        for nimg in (350, 650):
            with pytest.raises(OSError):
                file.write(stats(nimg))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert kimgs(tmp_path / 'stats.jsonl') == [0.05]
    file.write(stats(950))
    file.close()
    assert [json.loads(line)['Progress/kimg']['mean'] for line in (tmp_path / 'stats.jsonl').read_text().splitlines()] == \
        [0.05, 0.35, 0.65, 0.95]


@pytest.mark.parametrize('torn', ['{"Progress/kimg": {"num": 1, "me', '{', '7', '\x00\x00\xff', '{"a": 1}{'])
def test_a_half_written_line_is_dropped(torn, tmp_path):
    path = write(tmp_path, 0, 50, 350)
    with path.open('a', encoding='latin-1') as f:
        f.write(torn)
    assert kimgs(path) == [0.05, 0.35]
    write(tmp_path, 350, 650)
    assert kimgs(path) == [0.05, 0.35, 0.65]
    assert [json.loads(line)['Progress/kimg']['mean'] for line in path.read_text().splitlines()] == [0.05, 0.35, 0.65]


def test_a_whole_file_is_left_alone(tmp_path):
    path = write(tmp_path, 0, 50)
    before = path.stat()
    keep_lines(path)
    keep_lines(tmp_path / 'missing')
    assert path.stat().st_ino == before.st_ino and path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_line_without_its_end_is_whole_once_it_is_ended(tmp_path):
    path = tmp_path / 'metric-x.jsonl'
    path.write_text('{"a": 1}\n{"a": 2}')
    keep_lines(path)
    append_line(path, {'a': 3})
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n{"a": 3}\n'


def test_what_is_not_finite_is_null_or_refused(tmp_path):
    file = StatsFile(tmp_path, 0)
    file.write(stats(50, x=dict(num=3, mean=float('nan'), std=float('inf'))))
    file.close()
    line = json.loads((tmp_path / 'stats.jsonl').read_text(), parse_constant=pytest.fail)
    assert line['x'] == dict(num=3, mean=None, std=None) and line['timestamp'] > 1.7e9
    with pytest.raises(ValueError):
        append_line(tmp_path / 'metric-x.jsonl', {'a': float('nan')})
