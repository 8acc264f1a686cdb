"""The action that leaves a robot where it is: told by the config or a person, never guessed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import CommandKind, JointsConfig, LimitsConfig
from fieldtune.robot.driver_trial.still_action import NotStill, StillActionUnknown, still_action
from fieldtune.robot.safety.build import build_limits
from fieldtune.robot.safety.limits import Limits

POSITION = FieldSpec(name="position", unit="rad", low=(-3.0,) * 2, high=(3.0,) * 2)
HERE = np.array([0.4, -0.7])


def spec(name: str, unit: str, width: int = 2, most: float = 3.0) -> FieldSpec:
    return FieldSpec(name=name, unit=unit, low=(-most,) * width, high=(most,) * width)


def limits(*actions: FieldSpec, **joints: object) -> Limits:
    groups = (JointsConfig(names=("a", "b"), position="position", **joints),) if joints else ()
    return build_limits(
        LimitsConfig(joints=groups),
        observation_fields=(POSITION,),
        robot_action_fields=actions,
        policy_action_fields=actions,
        period_s=0.02,
    )


def still(*actions: FieldSpec, given=None, simulated=False, here=HERE, **joints) -> list[float]:
    made = limits(*actions, **joints)
    return still_action(here, made, actions, given=given or {}, simulated=simulated).tolist()


def test_a_commanded_position_is_the_observed_one_and_not_zero():
    target = spec("target", "rad")
    kind = {"command": "target", "command_kind": CommandKind.POSITION}
    assert still(target, **kind) == HERE.tolist()


def test_a_position_in_degrees_is_the_observed_one_in_degrees():
    target = spec("target", "deg", most=170.0)
    kind = {"command": "target", "command_kind": CommandKind.POSITION}
    assert still(target, **kind) == pytest.approx(np.degrees(HERE).tolist())


@pytest.mark.parametrize("kind", [CommandKind.DISPLACEMENT, CommandKind.VELOCITY])
def test_a_displacement_or_a_velocity_is_zero(kind):
    unit = "rad" if kind is CommandKind.DISPLACEMENT else "rad/s"
    assert still(spec("go", unit), command="go", command_kind=kind) == [0.0, 0.0]


@pytest.mark.parametrize("unit", ["m/s", "degrees/s"])
def test_a_velocity_is_known_by_its_unit(unit):
    assert still(spec("go", unit, 3)) == [0.0] * 3


@pytest.mark.parametrize("unit", ["rad", "m", "N m", "", "normalised"])
def test_what_nobody_has_said_is_not_guessed(unit):
    says = r"nothing says which target leaves the robot where it is.*--still target=VALUE"
    with pytest.raises(StillActionUnknown, match=says):
        still(spec("target", unit))


def test_an_effort_is_not_guessed_either():
    with pytest.raises(StillActionUnknown, match="An effort of 0 lets an arm fall"):
        still(spec("push", "N m"), command="push", command_kind=CommandKind.EFFORT)


def test_a_person_may_say_it():
    assert still(spec("push", "N m"), given={"push": [0.5]}) == [0.5, 0.5]
    assert still(spec("push", "N m"), given={"push": [0.5, -1]}) == [0.5, -1.0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pull": [0.0]}, "--still pull: no such action field; known: push"),
        ({"push": [0.0] * 3}, "--still push: 3 numbers, expected 1 or 2"),
        ({"push": [4.0]}, r"push\[0\] would have to be 4, outside \[-3, 3\]"),
        ({"push": [math.nan]}, "would have to be nan"),
    ],
)
def test_what_a_person_says_is_held_against_the_robot(given, says):
    with pytest.raises(NotStill, match=says):
        still(spec("push", "N m"), given=given)


def test_an_observation_in_another_unit_than_the_command_is_found_before_anything_moves():
    """Joints that stand at 40 degrees, told as 40 rad."""
    kind = {"command": "target", "command_kind": CommandKind.POSITION}
    with pytest.raises(NotStill, match="do observation and action have the same unit and zero"):
        still(spec("target", "rad"), here=np.array([40.0, 0.0]), **kind)


def test_a_simulation_may_be_told_nothing():
    high = FieldSpec(name="push", unit="", low=(0.5,), high=(2.0,))
    assert still(spec("go", "N m"), high, simulated=True) == [0.0, 0.0, 0.5]
