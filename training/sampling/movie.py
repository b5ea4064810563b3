"""Movies: MP4 with imageio-ffmpeg, GIF and WebP without it."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image

from dnnlib.files import open_output
from dnnlib.progress import Progress
from dnnlib.util import OptionError, UserError

SUFFIXES = ('.mp4', '.gif', '.webp')
MOST_GIF_BYTES = 500 << 20  # of the frames of a GIF, because Pillow keeps all of them in memory
MOST_GIF_FPS = 25  # GIF times are in hundredths of a second, and browsers slow down GIFs above 50 fps


def movie_path(path: str | Path) -> Path:
    """The path if a movie can be written to it. Without imageio-ffmpeg, the same with .gif instead of .mp4, after printing so.
    Raises OptionError for other suffixes."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise OptionError(f'{path}: a movie is one of {", ".join("*" + suffix for suffix in SUFFIXES)}')
    if path.suffix == '.mp4' and importlib.util.find_spec('imageio_ffmpeg') is None:
        print(f'warn: MP4 needs imageio-ffmpeg (pip install imageio-ffmpeg); writing {path.with_suffix(".gif")} instead')
        return path.with_suffix('.gif')
    return path


def write_movie(path: Path, frames: Iterable[np.ndarray], count: int, fps: int, megabits: int) -> None:
    """Write `count` frames, uint8 [H, W, C] with C = 1 or 3 and equal sizes, with a progress bar. path: from movie_path.

    An MP4 has `megabits` per second (libx264). A GIF has at most 25 frames per second and 500 MB of pixels; frames are dropped if
    necessary. The file appears only when it is complete. Raises UserError if it cannot be written.
    """
    frames = _counted((np.broadcast_to(frame, (*frame.shape[:2], 3)) for frame in frames), count)
    if path.suffix == '.mp4':
        _write_mp4(path, frames, fps, megabits)
        return
    first = next(frames)
    step, tick = 1, 1  # tick: what times are rounded to, ms
    if path.suffix == '.gif':
        step, tick = max(-(-fps // MOST_GIF_FPS), -(-count * first.size // MOST_GIF_BYTES)), 10
        if step > -(-fps // MOST_GIF_FPS):
            print(f'warn: only one of {step} frames, to save memory; pip install imageio-ffmpeg for *.mp4 with all frames')
    frames = itertools.islice(itertools.chain([first], frames), 0, None, step)
    pictures = (PIL.Image.fromarray(np.ascontiguousarray(frame)) for frame in frames)
    # Times are rounded, not durations. Rounded durations would add up to another total.
    times = np.round(np.minimum(np.arange(-(-count // step) + 1) * step, count) * 1000 / fps / tick) * tick
    with open_output(path) as f:
        next(pictures).save(f, format=path.suffix[1:], save_all=True, append_images=pictures, loop=0, quality=90,
                            duration=np.diff(times).astype(int).tolist())


def _counted(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    with Progress('frames', count) as progress:
        for frame in frames:
            yield frame
            progress.advance()


def _write_mp4(path: Path, frames: Iterable[np.ndarray], fps: int, megabits: int) -> None:
    import imageio_ffmpeg
    frames = (np.pad(frame, [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)], mode='edge') for frame in frames)
    first = next(frames)
    height, width = first.shape[:2]
    with open_output(path) as f, tempfile.TemporaryFile() as messages:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-y', '-f', 'rawvideo', '-pix_fmt', 'rgb24',
                   '-s', f'{width}x{height}', '-r', str(fps), '-i', '-', '-c:v', 'libx264', '-b:v', f'{megabits}M',
                   '-pix_fmt', 'yuv420p', '-movflags', '+faststart', '-f', 'mp4', f.name]
        # Ctrl-C on a terminal reaches all its programs. ffmpeg must end only when its input ends.
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages, start_new_session=True) as ffmpeg, \
                contextlib.suppress(BrokenPipeError):  # if it ended early, it printed the reason
            for frame in itertools.chain([first], frames):
                ffmpeg.stdin.write(frame.tobytes())
            ffmpeg.stdin.close()
        if ffmpeg.returncode != 0:
            messages.seek(0)
            said = messages.read().decode(errors='replace').strip().splitlines() or ['nothing']
            raise UserError(f'{path}: ffmpeg ended with status {ffmpeg.returncode} ({said[-1]}); see to that, or write a *.gif')
