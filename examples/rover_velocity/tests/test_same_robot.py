"""The family's robot and the driver's are the same, as far as this can be told without moving."""

import pytest

pytest.importorskip("mujoco", reason="a family needs fieldtune[train], which is not installed")

from rover_velocity.driver import RoverVelocityDriver
from rover_velocity.family import RoverVelocity
from rover_velocity.wheels import RADIUS, TRACK


def described(fields):
    return [(one.name, one.unit, tuple(one.low), tuple(one.high)) for one in fields]


def test_they_say_the_same_of_themselves():
    family = RoverVelocity()
    driver = RoverVelocityDriver("rover-velocity", RoverVelocityDriver.Options())
    assert driver.robot == family.robot
    assert driver.period_s == pytest.approx(family.period_s)
    assert described(driver.observation_fields) == described(family.observation_fields)
    assert described(driver.action_fields) == described(family.action_fields)


def test_wheels_are_as_large_and_as_far_apart_as_in_the_model():
    model = RoverVelocity().model()
    left, right = model.body("left"), model.body("right")
    assert left.pos[1] - right.pos[1] == pytest.approx(TRACK)
    (wheel,) = (g for g in range(model.ngeom) if model.geom_bodyid[g] == left.id)
    assert model.geom_size[wheel][0] == pytest.approx(RADIUS)
