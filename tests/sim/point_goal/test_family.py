"""The point robot keeps every promise of a family, and pays as it says."""

from __future__ import annotations

import numpy as np
import pytest

from fieldtune.sim.checks import moves
from fieldtune.sim.checks.check_family import check_family
from fieldtune.sim.registry import UnknownFamily, family


@pytest.mark.parametrize("options", [{}, {"rewards": "sparse", "circle": True}], ids=str)
def test_it_passes_every_check(options, monkeypatch):
    monkeypatch.setattr(moves, "SPEED_S", 0.0)
    found = check_family(family("point-goal", **options), "point-goal")
    wrong = [one for one in found if one.state != "ok"]
    assert not wrong, wrong


def test_goals_lie_on_the_arc_and_training_goals_are_not_held_out():
    for circle in (False, True):
        split = family("point-goal", circle=circle).split()
        every = np.concatenate([split.train, split.test])
        np.testing.assert_allclose(np.linalg.norm(every, axis=1), 1.0)
        assert (every[:, 1] < 0).any() == circle
        assert len(np.unique(every, axis=0)) == 100


def test_rewards_are_of_where_a_step_ends():
    goal, there = np.array([0.0, 1.0]), np.array([[0.0, 0.81], [0.0, 0.79], [0.6, 1.0]])
    start, nothing = np.zeros((3, 2)), np.zeros((3, 2))
    dense = family("point-goal").reward(start, nothing, there, goal)
    np.testing.assert_allclose(dense, [-0.19, -0.21, -0.6])
    sparse = family("point-goal", rewards="sparse").reward(start, nothing, there, goal)
    np.testing.assert_array_equal(sparse, [0.0, -1.0, -1.0])


def test_an_action_moves_by_no_more_than_its_bounds_and_the_picture_shows_where():
    robot = family("point-goal").single_robot()
    robot.reset(0, np.array([0.0, 1.0]))
    before = robot.render(80, 60)
    seen, _ = robot.step(np.array([9.0, -0.05]))
    np.testing.assert_allclose(seen, [0.1, -0.05])
    for _ in range(9):
        seen, _ = robot.step(np.array([0.1, 0.0]))
    after = robot.render(80, 60)
    changed = np.argwhere((before != after).any(axis=2))
    assert changed[:, 1].max() > 40 + 13  # x grows to the right: 1 m of 4 is 15 pixels
    assert changed[:, 0].min() > 20  # the goal, above, stays


def test_other_rewards_are_refused_by_name():
    with pytest.raises(UnknownFamily, match=r"'rewards' is 'shaped': expected one of dense, sp"):
        family("point-goal", rewards="shaped")
