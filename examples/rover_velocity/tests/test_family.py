"""The family keeps its promises: `fieldtune check-family rover-velocity` prints the same checks."""

from importlib.metadata import entry_points

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="a family needs fieldtune[train], which is not installed")

from fieldtune.sim.checks.check_family import check_family

from rover_velocity.family import HEADING, VELOCITY, RoverVelocity, towards
from rover_velocity.wheels import FASTEST, motion_of, wheels_for


def test_fieldtune_finds_it_by_its_name():
    found = entry_points(group="fieldtune.families", name="rover-velocity")
    assert [one.load() for one in found] == [RoverVelocity], "run make install"


def test_it_is_a_family():
    """Fields, tasks, seeds, batches, threads, the single robot, the reward and the script."""
    wrong = [
        f"{one.name}: {one.text}" for one in check_family(RoverVelocity()) if one.state != "ok"
    ]
    assert not wrong, "\n".join(wrong)


def test_no_velocity_pays_more_than_the_one_wanted():
    family = RoverVelocity()
    tasks = family.sample_tasks(seed=0, n=20)
    seen = np.zeros((20, 7))
    seen[:, VELOCITY] = tasks
    action = np.zeros((20, 2))
    np.testing.assert_allclose(family.reward(seen, action, seen, tasks), 0.0)
    assert (family.reward(seen, action, seen + 0.1, tasks) < 0.0).all()


def test_told_the_velocity_the_script_comes_to_it():
    family = RoverVelocity()
    tasks = family.sample_tasks(seed=1, n=8)
    simulator = family.simulator(8)
    seen = simulator.reset(np.arange(8), tasks)
    assert np.ptp(seen[:, HEADING], axis=0).min() > 0.5  # they begin pointing anywhere
    for _ in range(family.horizon):
        seen, _ = simulator.step(np.clip(towards(seen, tasks), -FASTEST, FASTEST))
    simulator.close()
    assert np.linalg.norm(seen[:, VELOCITY] - tasks, axis=-1).max() < 0.06


def test_wheels_and_motion_are_each_others_inverse():
    forward, turning = np.array([0.3, -0.2]), np.array([1.0, 0.5])
    np.testing.assert_allclose(motion_of(wheels_for(forward, turning)), (forward, turning))
