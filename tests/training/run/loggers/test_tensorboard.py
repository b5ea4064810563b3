"""Event files, read back by TensorBoard's own reader."""

import io
import time

import numpy as np
import PIL.Image
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.run.loggers.tensorboard import TensorBoardLogger


def write(run_dir, start_nimg, *points):
    logger = TensorBoardLogger(run_dir, start_nimg)
    for nimg, value in points:
        logger.scalars({'Loss/x': value}, nimg)
    logger.close()


def read(run_dir):
    return [(e.step, e.value) for e in EventAccumulator(str(run_dir)).Reload().Scalars('Loss/x')]


def test_steps_are_thousands_of_images_and_times_are_of_the_day(tmp_path):
    write(tmp_path, 0, (0, 1.0), (4032, 2.0), (8000, 3.0))
    assert read(tmp_path) == [(0, 1), (4, 2), (8, 3)]
    assert all(abs(e.wall_time - time.time()) < 60 for e in EventAccumulator(str(tmp_path)).Reload().Scalars('Loss/x'))


def test_a_run_that_goes_on_continues_the_curve(tmp_path):
    write(tmp_path, 0, (4000, 1.0), (8000, 2.0), (12000, 3.0), (16000, 4.0))
    time.sleep(1.1)  # files are ordered by the second in their names, then by a count that is sorted as text
    write(tmp_path, 8000, (9000, 5.0), (13000, 6.0))
    assert read(tmp_path) == [(4, 1), (8, 2), (9, 5), (13, 6)]


@pytest.mark.parametrize('channels', [1, 3])
def test_images(channels, tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, [8, 12, channels], dtype=np.uint8)
    logger = TensorBoardLogger(tmp_path, 0)
    logger.image('fakes', pixels, 5000)
    logger.close()
    [event] = EventAccumulator(str(tmp_path)).Reload().Images('fakes')
    image = np.asarray(PIL.Image.open(io.BytesIO(event.encoded_image_string)))
    assert event.step == 5
    np.testing.assert_array_equal(image, np.broadcast_to(pixels, image.shape))
