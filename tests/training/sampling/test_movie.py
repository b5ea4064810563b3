"""Movies: what is in them, how long they take, what happens when they can't be written."""

import os
import sys

import numpy as np
import PIL.Image
import pytest

from dnnlib.util import OptionError, UserError
from training.sampling import movie


def frames(count, height=16, width=24, channels=3):
    for i in range(count):
        yield np.full([height, width, channels], 20 * i % 256, dtype=np.uint8)


def lengths(path):
    """Milliseconds of each frame, and the level of its first pixel."""
    result = []
    with PIL.Image.open(path) as image:
        for i in range(image.n_frames):
            image.seek(i)
            image.load()
            result.append((image.info['duration'], image.convert('L').getpixel((0, 0))))
    return result


@pytest.mark.parametrize(('fps', 'step'), [(10, 1), (25, 1), (30, 2), (60, 3)])
def test_a_gif_leaves_frames_out_but_takes_the_same_time(tmp_path, fps, step):
    path = movie.movie_path(tmp_path / 'a.gif')
    movie.write_movie(path, frames(12), 12, fps, 1)
    shown = lengths(path)
    assert abs(sum(ms for ms, _ in shown) - 12_000 / fps) <= 10
    np.testing.assert_allclose([level for _, level in shown], [20 * i for i in range(0, 12, step)], atol=2)


def test_a_long_gif_leaves_frames_out_rather_than_fill_the_memory(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(movie, 'MOST_GIF_BYTES', 4 * 16 * 24 * 3)
    movie.write_movie(tmp_path / 'a.gif', frames(12), 12, 10, 1)
    assert [ms for ms, _ in lengths(tmp_path / 'a.gif')] == [300] * 4
    assert 'warn: only one of 3 frames, to save memory; pip install imageio-ffmpeg' in capsys.readouterr().out


def test_a_webp_keeps_all_frames(tmp_path):
    movie.write_movie(tmp_path / 'a.webp', frames(12, channels=1), 12, 60, 1)
    shown = lengths(tmp_path / 'a.webp')
    assert len(shown) == 12 and sum(ms for ms, _ in shown) == 200


@pytest.mark.parametrize(('height', 'width', 'channels'), [(16, 24, 3), (15, 33, 1)])
def test_an_mp4_holds_the_frames(tmp_path, height, width, channels):
    ffmpeg = pytest.importorskip('imageio_ffmpeg')
    path = movie.movie_path(tmp_path / 'new' / 'a.mp4')
    movie.write_movie(path, frames(12, height, width, channels), 12, 10, 4)
    assert os.listdir(path.parent) == ['a.mp4'] and ffmpeg.count_frames_and_secs(str(path)) == (12, 1.2)
    reader = ffmpeg.read_frames(str(path))
    assert next(reader)['codec'] == 'h264'
    levels = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    np.testing.assert_allclose(levels, [20 * i for i in range(12)], atol=6)


def test_without_ffmpeg_it_is_a_gif(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
    monkeypatch.setattr(movie.importlib.util, 'find_spec', lambda name: None)
    assert movie.movie_path(tmp_path / 'a.mp4') == tmp_path / 'a.gif'
    assert 'warn: MP4 needs imageio-ffmpeg (pip install imageio-ffmpeg); writing' in capsys.readouterr().out
    assert movie.movie_path(tmp_path / 'a.webp') == tmp_path / 'a.webp'
    with pytest.raises(OptionError, match=r'a\.avi: a movie is one of'):
        movie.movie_path('a.avi')


@pytest.mark.parametrize('suffix', ['gif', 'webp', 'mp4'])
def test_what_breaks_leaves_nothing(tmp_path, suffix):
    if suffix == 'mp4':
        pytest.importorskip('imageio_ffmpeg')

    def broken():
        yield from frames(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        movie.write_movie(tmp_path / f'a.{suffix}', broken(), 9, 10, 1)
    assert os.listdir(tmp_path) == []


def test_when_ffmpeg_fails_its_words_are_told(tmp_path, monkeypatch):
    ffmpeg = pytest.importorskip('imageio_ffmpeg')
    script = tmp_path / 'ffmpeg'
    script.write_text('#!/bin/sh\necho "No space left on device" >&2\nexit 3\n')
    script.chmod(0o755)
    monkeypatch.setattr(ffmpeg, 'get_ffmpeg_exe', lambda: str(script))
    with pytest.raises(UserError, match=r'a\.mp4: ffmpeg ended with status 3 \(No space left on device\)'):
        movie.write_movie(tmp_path / 'out' / 'a.mp4', frames(2000, 256, 256), 2000, 10, 1)
    assert os.listdir(tmp_path / 'out') == []
