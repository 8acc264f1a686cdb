"""From z to a task's own parameters: a training task's z is that task, one between is between."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldtune.sim.family import Field
from fieldtune.train.agent.units import to_training_units
from fieldtune.train.evaluation.task_map import TaskMap, turns
from fieldtune.train.runs.replays import empty_replay
from fieldtune.train.runs.untrained import untrained

LINE = np.linspace(0.0, 3.0, 31)[:, None]


def line(nearest: int = 2) -> TaskMap:
    """Velocities that lie along a line in a z of two numbers."""
    return TaskMap(np.concatenate([2 * LINE, -LINE], axis=1), LINE, (False,), nearest)


def test_the_z_of_a_training_task_is_that_task():
    assert line()(line().z) == pytest.approx(LINE, abs=1e-6)


def test_a_z_half_way_between_two_tasks_is_half_way_between_them():
    between = (line().z[4] + line().z[5]) / 2
    assert line()(between[None]) == pytest.approx((LINE[4:5] + LINE[5:6]) / 2)


@given(arrays(np.float64, (5, 2), elements=st.floats(-1e3, 1e3)), st.integers(1, 6))
def test_no_z_is_outside_what_was_trained_on(z, nearest):
    found = line(nearest)(z)
    assert found.shape == (5, 1)
    assert (found >= -1e-9).all()
    assert (found <= 3.0 + 1e-9).all()


def test_between_directions_on_both_sides_of_zero_lies_zero():
    z = np.array([[0.0], [1.0], [9.0]])
    compass = TaskMap(z, np.array([[350.0], [10.0], [180.0]]), (True,), 2)
    assert compass(np.array([[0.5]]))[0, 0] % 360.0 == pytest.approx(0.0, abs=1e-6)
    assert compass.distance(np.array([350.0]), np.array([10.0])) == pytest.approx(20.0)


def test_the_error_is_of_tasks_that_are_left_out():
    assert line().error() == pytest.approx(0.0, abs=1e-6)  # half-way between its neighbours
    shuffled = TaskMap(np.random.default_rng(0).permutation(line().z), LINE, (False,), 2)
    assert shuffled.error() > 0.4
    assert shuffled(shuffled.z) == pytest.approx(LINE, abs=1e-6)


def test_an_angle_turns_only_where_it_goes_all_the_way_round():
    assert turns(Field("direction", "degrees", (0.0,), (360.0,)))
    assert not turns(Field("tilt", "degrees", (0.0,), (90.0,)))
    assert not turns(Field("velocity", "m/s", (0.0,), (360.0,)))


def test_a_task_without_data_is_no_point_of_the_map(make_run):
    run = make_run()
    torch.manual_seed(0)
    algorithm = untrained(run)
    some = empty_replay(algorithm, run.config.algorithm, 6, 1_000)
    for task, episodes in enumerate(run.dataset.train):
        for episode in episodes if task != 2 else []:
            some.add(task, to_training_units(algorithm, episode))
    tasks, fields = run.dataset.train_tasks, run.family.task_fields
    place = TaskMap.of(algorithm.agent, some, tasks, fields, 0)
    np.testing.assert_array_equal(place.tasks, tasks[[0, 1, 3, 4, 5]])
    assert place.z.shape == (5, 3)
    assert place.nearest == 2
