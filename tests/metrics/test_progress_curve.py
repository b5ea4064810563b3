"""A metric over the course of training: the best snapshot, the table, the picture."""

import numpy as np
import PIL.Image

from metrics import progress_curve as curve
from metrics.progress_curve import Point


def points(key, values, run='r'):
    return [Point(run, f'network-snapshot-{kimg:06d}', kimg, {key: value, 'more': 1.0}) for kimg, value in values.items()]


def test_the_best_is_the_lowest_distance_or_the_highest_score():
    found = points('x', {4: 3.0, 8: None, 12: 1.0, 16: 2.0, 20: 1.0})
    assert curve.best_point('fid5k_full', found)[0].kimg == 12  # the earlier of equals
    assert curve.best_point('kd5k_efficientnet', found)[0].kimg == curve.best_point('ppl2_wend', found)[0].kimg == 12
    assert curve.best_point('is5k', found)[0].kimg == curve.best_point('pr5k3', found)[0].kimg == 4
    assert curve.best_point('jacobian', found) is None
    assert curve.best_point('fid5k_full', points('x', {4: None})) is None is curve.best_point('fid5k_full', [])


def test_the_table_has_a_row_for_each_network_and_marks_the_best():
    lines = curve.table('fid5k_full', points('fid5k_full', {4: 30.25, 8: None, 12: 10.0})).splitlines()
    assert [line.split() for line in lines] == [
        ['fid5k_full', 'more'], ['4', 'kimg', '30.25', '1'], ['8', 'kimg', '-', '1'], ['12', 'kimg', '10', '*', '1'],
        ['*', 'best:', 'network-snapshot-000012,', 'fid5k_full', 'is', 'better', 'lower']]
    lines = curve.table('jacobian', [*points('a', {4: 1.0}), *points('a', {4: 2.0}, run='s')]).splitlines()
    assert lines[1].split() == ['r,', '4', 'kimg', '1', '1'] and lines[2].startswith('s, 4 kimg') and len(lines) == 3


def test_a_panel_for_each_value_and_a_colour_for_each_run():
    values = {12: 10.0, 4: 30.0, 8: None}
    figure = curve.draw('fid5k_full', [*points('fid5k_full', values), *points('fid5k_full', {4: 5.0}, run='s')])
    first, second = figure.axes
    assert (first.get_title(loc='left'), second.get_title(loc='left')) == (
        'fid5k_full, lower is better; best 5 at 4 kimg', 'more')
    np.testing.assert_array_equal(first.lines[0].get_xydata(), [[4, 30], [8, np.nan], [12, 10]])
    np.testing.assert_array_equal(first.lines[1].get_xydata(), [[4, 5]])
    assert first.get_ylim()[0] == 0
    assert [text.get_text() for text in first.get_legend().get_texts()] == ['r', 's']


def test_the_picture_is_a_png(tmp_path):
    path = curve.save_curve('jacobian', points('a', {4: -1.0, 8: 2.0}), tmp_path / 'new' / 'x.png')
    with PIL.Image.open(path) as image:
        assert image.format == 'PNG' and min(image.size) > 200
