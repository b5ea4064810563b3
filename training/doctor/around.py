"""Optional parts: detectors, Weights & Biases, movies, a browser."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from training.doctor.findings import MISSING, OK, WARN, Finding, Place, seconds

LARGEST = 100  # MB of weights that are read in a check
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')


def detectors(place: Place) -> Iterator[Finding]:
    """The weights of each detector, and the speed of the small ones."""
    import torch

    from dnnlib.errors import UserError
    from metrics.detectors import ALEXNET, DETECTORS, OWN, load_detector, weights_of
    for name in (*(name for name in DETECTORS if name != OWN), ALEXNET):  # OWN is trained on a dataset
        title = f'Detector {name}'
        where, megabytes, remedy = weights_of(name)
        if not where:
            yield Finding(title, MISSING, f'no weights ({megabytes} MB); metrics that need it download them',
                          f'without a network, {remedy}')
        elif megabytes > LARGEST or name == ALEXNET:
            yield Finding(title, OK, f'{where} ({megabytes} MB), not read')
        else:
            try:
                detector, images = load_detector(name, torch.device('cpu')), torch.zeros([4, 3, 64, 64])
            except UserError as err:
                text, _, remedy = str(err).partition('; ')
                yield Finding(title, MISSING, text, remedy)
                continue
            speed = len(images) / seconds(lambda detector=detector, images=images: detector.features(images))  # type: ignore[misc]  # mypy: lambdas without defaults only
            yield Finding(title, OK, f'{where} ({megabytes} MB), {speed:.0f} images/s on the CPU',
                          measured={'images_per_s': speed})


def weights_and_biases(place: Place) -> Iterator[Finding]:
    """What --wandb=auto would do. The server is not contacted."""
    from training.run.loggers.weights_biases import resolve_mode
    if importlib.util.find_spec('wandb') is None:
        yield Finding('W&B', MISSING, 'the package wandb is not installed', 'pip install wandb')
        return
    begun = time.perf_counter()
    mode = resolve_mode('auto')
    taken = time.perf_counter() - begun
    text = {'online': 'logged in: --wandb=auto sends curves and pictures there', 'offline': 'offline: files for `wandb sync`',
            'disabled': 'not logged in, or disabled by WANDB_MODE'}[mode]
    yield Finding('W&B', MISSING if mode == 'disabled' else OK, f'{text} (found out in {taken:.1f} s)',
                  '`wandb login`, or --wandb=offline; training needs neither' if mode == 'disabled' else '', {'start_s': taken})


def movies(place: Place) -> Iterator[Finding]:
    """MP4 by ffmpeg."""
    import numpy as np

    from training.sampling.movie import write_movie
    if importlib.util.find_spec('imageio_ffmpeg') is None:
        yield Finding('ffmpeg', MISSING, 'imageio-ffmpeg is not installed; movies are GIF or WebP',
                      'pip install imageio-ffmpeg')
        return
    frames = [np.full((256, 256, 3), 8 * i, np.uint8) for i in range(30)]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        write_movie(Path(folder, 'a.mp4'), iter(frames), len(frames), 30, 4)
        speed = len(frames) / (time.perf_counter() - begun)
    yield Finding('ffmpeg', OK, f'MP4 of 256x256 at {speed:.0f} frames/s', measured={'frames_per_s': speed})


def browser(place: Place) -> Iterator[Finding]:
    """A browser without a window. Only tests of pages need it."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        yield Finding('Chromium', MISSING, 'not found; only tests of `generate.py explore` need it', 'install chromium')
        return
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        done = subprocess.run([program, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={folder}', '--dump-dom',
                               'data:text/html,<p>works</p>'], capture_output=True, text=True, timeout=60)
        taken = time.perf_counter() - begun
    if 'works' not in done.stdout:
        error = (done.stderr.strip().splitlines() or [f'status {done.returncode}'])[-1]
        yield Finding('Chromium', WARN, f'{program}: shows no page ({error[:120]})', 'reinstall it')
        return
    yield Finding('Chromium', OK, f'{program}: a page in {taken:.1f} s', measured={'page_s': taken})
