"""Pictures of the page: what is shown of a grid, which are kept over time, and that each is made once."""

import io

import numpy as np
import PIL.Image
import pytest
from helpers.reported_runs import write_run

from training.run.records import Run
from training.run.report import pictures
from training.run.report.charts import read_importance, thin
from training.run.report.pictures import Pictures, choose


def test_a_growing_run_never_needs_a_picture_again_that_it_left_out():
    shown = set()
    for n in range(1, 500):
        chosen = choose(list(range(n)), 32)
        assert n <= 32 or 16 < len(chosen) <= 33
        assert chosen[-1] == n - 1 and set(chosen) - shown <= {n - 1}
        shown = set(chosen)
    assert choose([], 32) == []


@pytest.mark.parametrize('size, cell, block, rows, box, shown', [
    ((7680, 4096), (256, 256), 1, 6, (0, 0, 8 * 256, 6 * 256), (1024, 768)),  # the published grid of this size
    ((7680, 4320), (270, 256), 1, 3, (0, 0, 4 * 256, 3 * 270), (972, 768)),
    ((7168, 4096), (1024, 1024), 1, 3, (0, 0, 4096, 3072), (1024, 768)),
    ((512, 512), (32, 32), 2, 12, (0, 0, 512, 384), (1024, 768)),
    ((512, 640), (32, 32), 20, 20, (0, 0, 512, 640), (1024, 1280)),  # all domains are shown
])
def test_what_is_shown_of_a_grid(size, cell, block, rows, box, shown):
    assert pictures._cut(size, cell, block) == (rows, box, shown)


def test_pictures_have_the_colours_of_the_grid_and_a_limited_size(tmp_path):
    PIL.Image.new('RGB', (64, 64), (200, 30, 90)).save(tmp_path / 'plain.png')
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / 'noise.png')
    found = Pictures(tmp_path)
    plain, noisy = (found.one(tmp_path / f'{name}.png', (64, 64)) for name in ('plain', 'noise'))
    decoded = PIL.Image.open(io.BytesIO(pictures.base64.b64decode(plain.webp)))
    assert decoded.format == 'WEBP' and decoded.size == (plain.width, plain.height)
    np.testing.assert_allclose(np.asarray(decoded)[32, 32], (200, 30, 90), atol=4)
    assert len(noisy.webp) <= pictures.MOST_BYTES * 4 / 3 + 4


def test_pictures_of_an_earlier_page_are_not_made_again(tmp_path, monkeypatch):
    run_dir, made = write_run(tmp_path / 'run'), []
    monkeypatch.setattr(pictures, '_make', lambda path, *args, make=pictures._make: made.append(path.name) or make(path, *args))
    first = Pictures(run_dir).series('fakes', 0, 99, (8, 8), 2)
    assert made == ['fakes000024.png', 'fakes000016.png', 'fakes000008.png']
    (tmp_path / 'page.html').write_text('<p>' + ''.join(picture.img('<a "picture">') for _, picture in first))
    made.clear()
    PIL.Image.new('RGB', (64, 64)).save(run_dir / 'fakes000016.png')  # written anew by a run that went back
    again = Pictures(run_dir, tmp_path / 'page.html').series('fakes', 0, 99, (8, 8), 2)
    assert made == ['fakes000016.png'] and [again[0], again[2]] == [first[0], first[2]] and again[1] != first[1]
    made.clear()
    few = Pictures(run_dir).series('fakes', 0, 20, (8, 8), 2, most_new=1)
    assert made == ['fakes000016.png'] and [kimg for kimg, _ in few] == [16]  # 24 is ahead of the run


def test_thin_curves_keep_their_peaks_and_gaps():
    x = np.arange(5000.0)
    y = np.sin(x / 50)
    y[1234], y[4321], y[2000:2100] = 9, -9, np.nan
    thin_x, (thin_y,) = thin(x, y[None])
    assert len(thin_x) == len(thin_y) <= 600 and (np.diff(thin_x) > 0).all()
    assert np.nanmax(thin_y) == 9 and np.nanmin(thin_y) == -9
    assert abs(thin_x[np.nanargmax(thin_y)] - 1234) < 20 and np.isnan(thin_y).any()
    same_x, same_y = thin(x[:500], y[None, :500])
    np.testing.assert_array_equal(same_x, x[:500])
    np.testing.assert_array_equal(same_y[0], y[:500])


def test_importance_that_a_run_went_back_behind_is_forgotten(tmp_path):
    run_dir = write_run(tmp_path / 'run')
    with (run_dir / 'importance.jsonl').open('a') as f:
        f.write('{"kimg": 12, "importance": [0.9, 0.8]}\n')
    curves = read_importance(Run(run_dir))
    assert curves['0'].kimg == [8, 12] and curves['0'].values == [0.5, 0.9] and curves['1'].values == [0, 0.8]
