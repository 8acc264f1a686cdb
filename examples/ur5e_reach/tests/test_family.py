"""The family keeps its promises: `fieldtune check-family ur5e-reach` prints the same checks."""

from importlib.metadata import entry_points

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="a family needs fieldtune[train], which is not installed")

from fieldtune.sim.checks.check_family import check_family

from ur5e_reach.family import TIP, Ur5eReach, over, towards
from ur5e_reach.kinematics import tip_and_jacobian


def test_fieldtune_finds_it_by_its_name():
    found = entry_points(group="fieldtune.families", name="ur5e-reach")
    assert [one.load() for one in found] == [Ur5eReach], "run make install"


def test_it_is_a_family():
    """Fields, tasks, seeds, batches, threads, the single robot, the reward and the script."""
    wrong = [f"{one.name}: {one.text}" for one in check_family(Ur5eReach()) if one.state != "ok"]
    assert not wrong, "\n".join(wrong)


def test_no_place_pays_more_than_the_one_over_the_target():
    family = Ur5eReach()
    tasks = family.sample_tasks(seed=0, n=20)
    seen = np.zeros((20, 15))
    seen[:, TIP] = over(tasks)
    action = np.zeros((20, 6))
    np.testing.assert_allclose(family.reward(seen, action, seen, tasks), 0.0)
    assert (family.reward(seen, action, seen + 0.1, tasks) < 0.0).all()


def test_the_jacobian_is_the_derivative_of_the_tip():
    joints, step = np.random.default_rng(0).uniform(-3, 3, (5, 6)), 1e-6
    _, jacobian = tip_and_jacobian(joints)
    for index, one in enumerate(np.eye(6)):
        moved = tip_and_jacobian(joints + step * one)[0] - tip_and_jacobian(joints - step * one)[0]
        np.testing.assert_allclose(jacobian[..., index], moved / (2 * step), atol=1e-8)


def test_told_the_target_the_script_brings_the_tip_there():
    family = Ur5eReach()
    tasks = family.sample_tasks(seed=1, n=8)
    simulator = family.simulator(8)
    seen = simulator.reset(np.arange(8), tasks)
    for _ in range(family.horizon):
        seen, _ = simulator.step(np.clip(towards(seen, tasks), -1.0, 1.0))
    simulator.close()
    assert np.linalg.norm(seen[:, TIP] - over(tasks), axis=-1).max() < 0.02
