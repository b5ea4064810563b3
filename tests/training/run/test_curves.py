"""Curves of runs without TensorBoard: what is in the figure, and what is said if there is nothing to draw."""

import json

import numpy as np
import PIL.Image
import pytest
from helpers.programs import run_program

from training.run import curves


def value(mean):
    return dict(num=1, mean=mean, std=0.0)


def make_run(path, ticks=3, metric=True, fakes=True):
    path.mkdir()
    lines = []
    for i in range(ticks):
        names = ['Loss/scores/real', 'Loss/scores/fake', 'Loss/signs/real', 'Loss/G/logistic', 'Loss/G/loss', 'Loss/D/loss',
                 'Loss/D/r1', 'Timing/sec_per_kimg', 'Resources/cpu_mem_gb']
        lines.append({'Progress/kimg': value(4.0 * i), **{name: value(i + 0.5 * j) for j, name in enumerate(names)},
                      'Resources/peak_gpu_mem_gb': value(0.0), 'Progress/augment': value(0.0), 'timestamp': 1.8e9,
                      'Loss/G/unused': dict(num=0, mean=None, std=None)})
    lines[1]['Loss/D/r1']['mean'] = None
    (path / 'stats.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines) + '{"torn": ')
    if metric:
        records = [dict(results={'fid50k_full': 50.0 - kimg}, snapshot_pkl=f'network-snapshot-{kimg:06d}.pkl') for kimg in (4, 8)]
        (path / 'metric-fid50k_full.jsonl').write_text(''.join(json.dumps(record) + '\n' for record in records))
    if fakes:
        (path / 'training_options.json').write_text(json.dumps(dict(training_set_kwargs=dict(resolution=8))))
        for kimg in (4, 12):
            PIL.Image.new('L' if kimg == 12 else 'RGB', (8 * 32, 8 * 20), kimg).save(path / f'fakes{kimg:06d}.png')
        PIL.Image.new('RGB', (8, 8)).save(path / 'fakes_init.png')
    return path


def panels(figure):
    """{title: {label: (kimg, values) of its curves}}."""
    found = {}
    for axes in figure.axes:
        if axes.get_visible() and axes.lines:
            labels = [text.get_text() for text in axes.get_legend().get_texts()]
            drawn = [line.get_xydata() for line in axes.lines if len(line.get_xydata())]
            found[axes.get_title(loc='left')] = (labels, drawn)
    return found


def test_a_run_is_drawn_with_all_it_has(tmp_path):
    found = panels(curves.draw([curves.Run(make_run(tmp_path / 'run'))]))
    assert {title: labels for title, (labels, _) in found.items()} == {
        'Scores of the discriminator': ['real', 'fake'], 'Overfitting': ['mean sign of D(real)'],
        'Losses': ['G', 'D'], 'Other terms, unweighted': ['D/r1'], 'Seconds per 1000 images': ['training'],
        'Memory, GiB': ['process'], 'Metric fid50k_full': ['fid50k_full']}
    np.testing.assert_array_equal(found['Scores of the discriminator'][1][1], [[0, 0.5], [4, 1.5], [8, 2.5]])
    np.testing.assert_array_equal(found['Other terms, unweighted'][1][0], [[0, 3], [4, np.nan], [8, 5]])
    np.testing.assert_array_equal(found['Metric fid50k_full'][1][0], [[4, 46], [8, 42]])


def test_each_metric_has_its_own_scale_and_the_last_evaluation_of_a_snapshot_counts(tmp_path):
    path = make_run(tmp_path / 'run')
    records = [dict(results={'p': value, 'r': None}, snapshot_pkl=f'network-snapshot-{kimg:06d}.pkl')
               for kimg, value in ((8, 0.1), (4, 0.2), (8, 0.3), (100, 0.4))]  # 100: of another run
    (path / 'metric-pr.jsonl').write_text(''.join(json.dumps(record) + '\n' for record in records))
    found = panels(curves.draw([curves.Run(path)]))
    assert found['Metric fid50k_full'][0] == ['fid50k_full'] and found['Metric pr'][0] == ['p', 'r']
    np.testing.assert_array_equal(found['Metric pr'][1][0], [[4, 0.2], [8, 0.3]])


def test_several_runs_have_a_colour_each(tmp_path):
    runs = [curves.Run(make_run(tmp_path / name, fakes=name == 'a', metric=name == 'b')) for name in 'ab']
    figure = curves.draw(runs)
    labels, drawn = panels(figure)['Losses']
    assert labels == ['G', 'D'] and len(drawn) == 4
    lines = [line for line in figure.axes[2].lines if len(line.get_xydata())]
    assert [line.get_color() for line in lines] == ['C0', 'C1', 'C0', 'C1']
    assert [line.get_linestyle() for line in lines] == ['-', '-', '--', '--']
    names = [text.get_text() for part in figure.subfigs for legend in part.legends for text in legend.get_texts()]
    assert names == ['a', 'b']


def test_the_newest_fakes_are_shown_as_large_as_can_be_seen(tmp_path):
    figure = curves.draw([curves.Run(make_run(tmp_path / 'run'))])
    [picture] = [axes for axes in figure.axes if axes.images]
    assert picture.get_title(loc='left') == 'fakes000012.png'
    pixels = picture.images[0].get_array()
    assert pixels.shape == (96, 96, 3) and (pixels == 12).all()


def test_the_newest_fakes_of_rectangles_are_whole_cells(tmp_path):
    run_dir = make_run(tmp_path / 'run')
    (run_dir / 'training_options.json').write_text(json.dumps(dict(training_set_kwargs=dict(resolution=[12, 16]))))
    [picture] = [axes for axes in curves.draw([curves.Run(run_dir)]).axes if axes.images]
    assert picture.images[0].get_array().shape == (12 * 12, 12 * 16, 3)


def test_the_command_writes_a_picture(tmp_path):
    run_dir = make_run(tmp_path / 'run', fakes=False, metric=False)
    status, out, err = run_program(curves.main, run_dir)
    assert (status, out, err) == (0, f'Wrote {run_dir / "curves.png"}\n', '')
    assert PIL.Image.open(run_dir / 'curves.png').size == (1260, 680)
    assert run_program(curves.main, run_dir, run_dir, f'--out={tmp_path / "new" / "two.png"}')[0] == 0
    assert (tmp_path / 'new' / 'two.png').is_file()


@pytest.mark.parametrize('content, words', [(None, 'no stats.jsonl'), ('', 'no tick has ended yet'), ('{"a', 'no tick')])
def test_nothing_to_draw_is_one_line(content, words, tmp_path):
    if content is not None:
        (tmp_path / 'stats.jsonl').write_text(content)
    status, out, err = run_program(curves.main, tmp_path)
    assert (status, out) == (1, '') and err.startswith(f'Error: {tmp_path}') and words in err and err.count('\n') == 1
    assert not (tmp_path / 'curves.png').exists()


def test_other_images_to_compare_with_are_another_curve(tmp_path):
    path = make_run(tmp_path / 'run')
    with (path / 'metric-fid50k_full.jsonl').open('a') as f:
        record = dict(results={'fid50k_full': 9.0}, snapshot_pkl='network-snapshot-000004.pkl', eval_data='test-1')
        f.write(json.dumps(record) + '\n')
    found = curves.Run(path).metrics
    assert found['fid50k_full'].values == [46.0, 42.0] and found['fid50k_full (test-1)'].values == [9.0]
