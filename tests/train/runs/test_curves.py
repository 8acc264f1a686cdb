from __future__ import annotations

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fieldtune.train.runs.curves import EVERY, Curves
from fieldtune.train.runs.trackers.tracker import Tracked

pytestmark = pytest.mark.usefixtures("curve_files_in_order")


def drawn(folder, done=0):
    return Curves(Tracked(folder, "offline", done))


def scalars(folder):
    events = EventAccumulator(str(folder / "tensorboard" / "offline"))
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_each_point_is_the_mean_over_the_updates_since_the_last(tmp_path):
    with drawn(tmp_path) as curves:
        for step in range(1, 2 * EVERY + 1):
            curves.add(step, {"loss": float(step), "one": 1.0})
    found = scalars(tmp_path)
    assert found["one"] == [(EVERY, 1.0), (2 * EVERY, 1.0)]
    means = [(1 + EVERY) / 2, (1 + 3 * EVERY) / 2]
    assert [value for _, value in found["loss"]] == pytest.approx(means)


def test_a_run_that_goes_on_adds_to_its_curves(tmp_path):
    for first in (1, EVERY + 1):
        with drawn(tmp_path, done=first - 1) as curves:
            for step in range(first, first + EVERY):
                curves.add(step, {"loss": 0.5})
    assert scalars(tmp_path)["loss"] == [(EVERY, 0.5), (2 * EVERY, 0.5)]


def test_points_after_the_checkpoint_that_a_run_goes_on_from_are_replaced(tmp_path):
    """Killed at three points, with a checkpoint at the first: no update has two values."""
    with drawn(tmp_path) as curves:
        for step in range(1, 3 * EVERY + 1):
            curves.add(step, {"loss": 1.0})
    with drawn(tmp_path, done=EVERY) as curves:
        for step in range(EVERY + 1, 2 * EVERY + 1):
            curves.add(step, {"loss": 2.0})
    assert scalars(tmp_path)["loss"] == [(EVERY, 1.0), (2 * EVERY, 2.0)]


def test_a_run_that_begins_anew_shows_nothing_of_the_one_before(tmp_path):
    for value in (1.0, 2.0):
        with drawn(tmp_path) as curves:
            for step in range(1, EVERY + 1):
                curves.add(step, {"loss": value})
    assert scalars(tmp_path)["loss"] == [(EVERY, 2.0)]


def test_an_error_inside_still_closes_the_file(tmp_path):
    def fail():
        with drawn(tmp_path) as curves:
            for step in range(1, EVERY + 1):
                curves.add(step, {"loss": 2.0})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert scalars(tmp_path)["loss"] == [(EVERY, 2.0)]


def test_a_disk_that_refuses_leaves_a_gap_and_no_error(tmp_path, caplog):
    folder = tmp_path / "tensorboard"
    folder.write_text("in the way, as a full disk is")
    with drawn(tmp_path) as curves:
        for step in range(1, 2 * EVERY + 1):
            if step == EVERY + 1:
                folder.unlink()
            curves.add(step, {"loss": 3.0})
    assert scalars(tmp_path)["loss"] == [(2 * EVERY, 3.0)]
    assert f"no curves at update {EVERY}" in caplog.text
