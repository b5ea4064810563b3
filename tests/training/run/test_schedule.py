"""What is due after an iteration: ticks, pictures, snapshots, metrics and the end, without any training."""

from dataclasses import asdict

import pytest

from training.run.schedule import Due, Position, Schedule

BATCH = 100


def schedule(position=None, **changes):
    return Schedule(dict(total_kimg=2, kimg_per_tick=0.5, image_snapshot_ticks=None, network_snapshot_ticks=None) | changes,
                    position or Position())


def follow(s, stop_at=None, save_at=()):
    """Iterate to the end; {images seen: what was due}, of iterations after which anything was."""
    found = {}
    for nimg in range(s.position.cur_nimg + BATCH, 10 ** 5, BATCH):
        due = s.after(nimg, stop=nimg == stop_at, time_to_save=nimg in save_at)
        if any(value for key, value in asdict(due).items() if key != 'number'):
            found[nimg] = due
        if due.end:
            return found


def test_the_first_tick_is_one_batch_and_the_last_ends_with_the_run():
    found = follow(schedule(total_kimg=1.3))
    assert {nimg: due.number for nimg, due in found.items()} == {100: 0, 600: 1, 1100: 2, 1300: 3}
    assert [nimg for nimg, due in found.items() if due.snapshot or due.images or due.evaluation or due.end] == [1300]
    assert found[1300] == Due(3, tick=True, images=True, snapshot=True, evaluation=True, end=True)


@pytest.mark.parametrize('interval, numbers', [(1, [1, 2, 3, 4]), (2, [2, 4]), (3, [3, 4]), (9, [4]), (None, [4])])
def test_pictures_and_snapshots_come_every_n_ticks_and_at_the_end_but_not_at_tick_0(interval, numbers):
    images = follow(schedule(image_snapshot_ticks=interval)).values()
    assert [due.number for due in images if due.images] == numbers and [due.number for due in images if due.snapshot] == [4]
    snapshots = follow(schedule(network_snapshot_ticks=interval)).values()
    assert [due.number for due in snapshots if due.snapshot and due.evaluation] == numbers
    assert [due.number for due in snapshots if due.images] == [4]


def test_within_a_tick_a_snapshot_that_time_asks_for_is_evaluated_like_others():
    s = schedule()
    assert follow(s, save_at=(300, 1100))[300] == Due(1, snapshot=True, evaluation=True)
    assert follow(schedule(), save_at=(1100,))[1100] == Due(2, tick=True, snapshot=True, evaluation=True)


def test_a_run_that_is_stopped_saves_but_does_not_evaluate():
    s = schedule()
    found = follow(s, stop_at=800)
    assert max(found) == 800 and found[800] == Due(2, tick=True, images=True, snapshot=True, end=True) and not s.finished


def test_a_stop_after_the_last_image_is_the_end_of_the_run():
    s = schedule()
    assert follow(s, stop_at=2000)[2000].evaluation and s.finished


@pytest.mark.parametrize('stop_at', range(BATCH, 2000, BATCH))
def test_ticks_of_a_run_that_resumes_are_those_of_one_that_never_stopped(stop_at):
    intervals = dict(image_snapshot_ticks=2, network_snapshot_ticks=3)
    first = schedule(**intervals)
    stopped = follow(first, stop_at) | follow(schedule(first.position, **intervals))
    whole = follow(schedule(**intervals))
    del stopped[stop_at]
    whole.pop(stop_at, None)
    assert stopped == whole


@pytest.mark.parametrize('saved_at', range(BATCH, 2000, BATCH))
def test_the_position_in_a_snapshot_is_where_a_killed_run_resumes(saved_at):
    s, positions = schedule(), {}
    for nimg in range(BATCH, 2001, BATCH):
        s.after(nimg, stop=False, time_to_save=nimg == saved_at)
        positions[nimg] = s.position
    resumed = schedule(positions[saved_at])
    for nimg in range(saved_at + BATCH, 2001, BATCH):
        resumed.after(nimg, stop=False, time_to_save=False)
        assert resumed.position == positions[nimg]
