"""The family's robot and the driver's are the same, as far as this can be told without moving."""

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="a family needs fieldtune[train], which is not installed")

from ur5e_reach.driver import Ur5eReachDriver
from ur5e_reach.family import TIP, Ur5eReach
from ur5e_reach.kinematics import tip


def described(fields):
    return [(one.name, one.unit, tuple(one.low), tuple(one.high)) for one in fields]


def test_they_say_the_same_of_themselves():
    family = Ur5eReach()
    driver = Ur5eReachDriver("ur5e-reach", Ur5eReachDriver.Options())
    assert driver.robot == family.robot
    assert driver.period_s == pytest.approx(family.period_s)
    assert described(driver.observation_fields) == described(family.observation_fields)
    assert described(driver.action_fields) == described(family.action_fields)


def test_the_driver_computes_the_tip_where_the_simulator_sees_it():
    family = Ur5eReach(start_noise=1.0)
    robot = family.single_robot()
    task = family.sample_tasks(seed=0, n=1)[0]
    for seed in range(5):
        seen = robot.reset(seed, task)
        np.testing.assert_allclose(tip(seen[:6]), seen[TIP], atol=1e-9)
    robot.close()
