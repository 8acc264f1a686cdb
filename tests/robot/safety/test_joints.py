"""Joints: commands stay inside position, velocity, acceleration and effort, and say why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import CommandKind, JointsConfig, LimitsConfig, Loosenable
from fieldtune.robot.safety.build import LimitsError, build_limits, describe
from fieldtune.robot.safety.limits import LimitFault, allow, check_observation, staying

INF = math.inf
PERIOD_S = 0.1
LOW, HIGH, FASTEST, QUICKEST = -1.0, 2.0, 1.5, 4.0
KIND_UNITS = {"position": "rad", "displacement": "rad", "velocity": "rad/s", "effort": "N m"}
SAWYER = "package://robosuite/models/assets/robots/sawyer/robot.xml"
PANDA = "package://robosuite/models/assets/bullet_data/panda_description/urdf/panda_arm.urdf"


def field(name, unit, width=1, bound=INF):
    return FieldSpec(name=name, unit=unit, low=(-bound,) * width, high=(bound,) * width)


def build(kind=None, *, group=None, unit=None, observed="rad", width=1, action_bound=1e6, **config):
    """Limits of one joint that is observed in `q` and `v` and commanded by `u`."""
    wiring = {"names": ("j",), "position": "q", "velocity": "v"}
    if kind is not None:
        wiring |= {"command": "u", "command_kind": CommandKind(kind)}
    wiring |= group or {}
    return build_limits(
        LimitsConfig(
            joints=(JointsConfig(**{key: value for key, value in wiring.items() if value}),),
            **config,
        ),
        observation_fields=(
            field("q", observed, width),
            field("v", f"{observed}/s", width),
            field("t", "N m", width),
        ),
        robot_action_fields=(field("u", unit or KIND_UNITS.get(kind, "rad"), width, action_bound),),
        policy_action_fields=(field("u", "", width, action_bound),),
        period_s=PERIOD_S,
    )


ALL = {
    "joint_position": {"j": (LOW, HIGH)},
    "joint_velocity": {"j": FASTEST},
    "joint_acceleration": {"j": QUICKEST},
}


@pytest.mark.parametrize("kind", ["position", "displacement", "velocity"])
@given(
    start=st.floats(LOW, HIGH),
    commands=st.lists(st.floats(-1e3, 1e3) | st.sampled_from([-1e3, 1e3]), max_size=60),
)
def test_a_joint_that_follows_commands_never_leaves_its_limits(kind, start, commands):
    limits = build(kind, **ALL)
    q, v, previous, before = start, 0.0, None, None
    for command in commands:
        observation = np.array([q, v, 0.0])
        check_observation(observation, 0.0, limits)
        before = staying(observation, limits) if before is None else before
        wanted = np.array([command])
        action, reason = allow(wanted, previous, observation, limits, PERIOD_S, before)
        assert bool(reason) == (action[0] != command)
        moved = {"position": action[0] - q, "displacement": action[0]}.get(kind)
        moved = action[0] * PERIOD_S if moved is None else moved
        assert abs(moved / PERIOD_S) <= FASTEST + 1e-9
        assert abs(moved / PERIOD_S - v) <= QUICKEST * PERIOD_S + 1e-6
        before = before if previous is None else previous
        q, v, previous = q + moved, moved / PERIOD_S, action
        assert LOW - 1e-9 <= q <= HIGH + 1e-9


@pytest.mark.parametrize("kind", ["position", "displacement", "velocity"])
def test_without_an_acceleration_a_joint_may_stop_at_once(kind):
    limits = build(kind, joint_position={"j": (LOW, HIGH)}, joint_velocity={"j": FASTEST})
    observation = np.array([HIGH - 0.05, 0.0, 0.0])
    action, reason = allow(np.array([50.0]), None, observation, limits, PERIOD_S)
    expected = {"position": HIGH, "displacement": 0.05, "velocity": 0.5}[kind]
    assert action[0] == pytest.approx(expected)
    assert reason == "joint velocity j; joint position j"


@pytest.mark.parametrize("kind", ["position", "displacement", "velocity"])
def test_a_joint_that_starts_outside_may_only_come_back(kind):
    limits = build(kind, joint_position={"j": (LOW, HIGH)})
    observation = np.array([HIGH + 0.1, 0.0, 0.0])
    offset = HIGH + 0.1 if kind == "position" else 0.0
    outwards, reason = allow(np.array([offset + 1.0]), None, observation, limits, PERIOD_S)
    assert (outwards[0], reason) == (pytest.approx(offset), "joint position j")
    inwards, reason = allow(np.array([offset - 0.02]), None, observation, limits, PERIOD_S)
    assert (inwards[0], reason) == (offset - 0.02, "")


def test_a_command_in_degrees_is_held_to_limits_in_radians():
    limits = build("position", unit="deg", observed="deg", joint_position={"j": (-1.0, 1.0)})
    action, reason = allow(np.array([90.0]), None, np.zeros(3), limits, PERIOD_S)
    assert (action[0], reason) == (pytest.approx(math.degrees(1.0)), "joint position j")
    check_observation(np.array([60.0, 0.0, 0.0]), 0.0, limits)
    with pytest.raises(LimitFault, match="joint j: position 1"):
        check_observation(np.array([70.0, 0.0, 0.0]), 0.0, limits)


def test_efforts_are_bounded_and_never_push_outwards_at_a_limit():
    limits = build(
        "effort",
        joint_position={"j": (LOW, HIGH)},
        joint_velocity={"j": FASTEST},
        joint_effort={"j": 5.0},
    )

    def push(effort, q=0.0, v=0.0):
        observation = np.array([q, v, 0.0])
        action, reason = allow(np.array([effort]), None, observation, limits, PERIOD_S)
        return action[0], reason

    assert push(9.0) == (5.0, "joint effort j")
    assert push(-9.0) == (-5.0, "joint effort j")
    assert push(3.0, q=HIGH) == (0.0, "joint position j")
    assert push(-3.0, q=HIGH) == (-3.0, "")
    assert push(-3.0, q=LOW) == (0.0, "joint position j")
    assert push(3.0, v=FASTEST) == (0.0, "joint velocity j")
    assert push(-3.0, v=FASTEST) == (-3.0, "")


def test_the_range_of_the_action_holds_whatever_the_joints_rules_ask_for():
    limits = build("velocity", joint_acceleration={"j": 1.0}, action_range={"u": (-0.1, 0.1)})
    action, reason = allow(np.array([0.0]), np.array([0.5]), np.zeros(3), limits, PERIOD_S)
    assert (action[0], reason) == (0.1, "joint acceleration j; range u")


def observed(limits, q=0.0, v=0.0, t=0.0, earlier=None, elapsed_s=PERIOD_S):
    earlier = None if earlier is None else np.array(earlier)
    check_observation(np.array([q, v, t]), 0.0, limits, earlier=earlier, elapsed_s=elapsed_s)


def test_an_observed_joint_beyond_its_limits_is_a_fault():
    limits = build(None, group={"effort": "t"}, joint_effort={"j": 5.0}, **ALL)
    observed(limits, HIGH + 0.1, FASTEST, 5.2)
    with pytest.raises(
        LimitFault, match=r"joint j: position 2.2 observed, outside \[-1.15, 2.15\]"
    ):
        observed(limits, HIGH + 0.2)
    with pytest.raises(LimitFault, match=r"joint j: velocity -1\.6 observed"):
        observed(limits, v=-1.6)
    with pytest.raises(LimitFault, match=r"joint j: effort 5\.3 observed"):
        observed(limits, t=5.3)
    with pytest.raises(LimitFault, match="joint j: acceleration 5 observed"):
        observed(limits, v=0.5, earlier=[0.0, 0.0, 0.0])


def test_velocity_comes_from_positions_where_no_field_shows_it():
    limits = build(None, group={"velocity": None}, joint_velocity={"j": 1.0})
    observed(limits, q=5.0)
    observed(limits, q=0.1, earlier=[0.0, 9.0, 0.0])
    with pytest.raises(LimitFault, match=r"joint j: velocity 1\.5 observed"):
        observed(limits, q=0.15, earlier=[0.0, 0.0, 0.0])
    observed(limits, q=0.15, earlier=[0.0, 0.0, 0.0], elapsed_s=2 * PERIOD_S)


def test_an_observation_from_the_future_is_a_fault():
    with pytest.raises(LimitFault, match="this robot's monotonic clock"):
        check_observation(np.zeros(3), -1.1, build())


def test_an_observation_that_never_changes_is_a_fault_unless_that_is_allowed():
    check_observation(np.zeros(3), 0.0, build(), repeats=99)
    with pytest.raises(LimitFault, match="the same to the last bit for 100 periods"):
        check_observation(np.zeros(3), 0.0, build(), repeats=100)
    check_observation(np.zeros(3), 0.0, build(frozen_periods=None), repeats=10**9)


def arm(model, names, width=7, **config):
    return build(group={"names": names}, width=width, model=model, **config)


SAWYER_JOINTS = tuple(f"right_j{index}" for index in range(7))
PANDA_JOINTS = tuple(f"panda_joint{index}" for index in range(1, 8))


def test_limits_come_from_the_robots_model_and_are_described():
    limits = arm(SAWYER, SAWYER_JOINTS, joint_velocity={"right_j0": 1.0})
    assert limits.joints[0].high[1] == 2.2736
    text = "\n".join(describe(limits, None))
    assert "joint right_j0: position in [-3.0503, 3.0503], velocity at most 1, effort in" in text
    assert "limit joint effort of right_j0, ... NOT CHECKED" in text
    limits = arm(PANDA, PANDA_JOINTS)
    assert limits.joints[0].max_velocity[0] == 2.175


def test_the_config_tightens_the_model():
    limits = arm(
        PANDA,
        PANDA_JOINTS,
        joint_position={"panda_joint1": (-1.0, 1.0)},
        joint_velocity={"panda_joint1": 0.5},
        joint_effort={"panda_joint1": 10.0},
    ).joints[0]
    assert (limits.low[0], limits.high[0], limits.max_velocity[0]) == (-1.0, 1.0, 0.5)
    assert (limits.effort_low[0], limits.effort_high[0], limits.effort_high[1]) == (-10, 10, 87)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("joint_position", (-3.0, 0.0)),
        ("joint_velocity", 2.2),
        ("joint_effort", 88.0),
    ],
)
def test_the_model_is_loosened_only_by_name_with_a_reason(limit, value):
    wanted = {limit: {"panda_joint1": value}}
    with pytest.raises(LimitsError, match="limits can only be tightened") as caught:
        arm(PANDA, PANDA_JOINTS, **wanted)
    assert f"robot.limits.{limit}.panda_joint1 is" in str(caught.value)
    assert f"robot.limits.loosen.{limit}" in str(caught.value)
    limits = arm(PANDA, PANDA_JOINTS, loosen={Loosenable(limit): "measured on ours"}, **wanted)
    (line,) = [line for line in describe(limits, None) if "LOOSENED" in line]
    assert line.endswith("measured on ours")
    assert f"{limit}.panda_joint1" in line


def test_an_observation_may_be_older_only_by_name_with_a_reason():
    with pytest.raises(LimitsError, match="limits can only be tightened"):
        build(observation_age_s=1.5)
    limits = build(observation_age_s=1.5, loosen={Loosenable.OBSERVATION_AGE_S: "a slow camera"})
    assert limits.observation_age_s == 1.5
    assert "a slow camera" in "\n".join(describe(limits, None))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"loosen": {Loosenable.JOINT_EFFORT: "why not"}}, "loosens nothing: remove it"),
        ({"joint_velocity": {"k": 1.0}}, "unknown joint of robot.limits.joints 'k'"),
        ({"joint_position": {"j": (1.0, -1.0)}}, "expected the lower first"),
        ({"model": "nowhere.xml"}, "robot.limits.model: nowhere.xml: cannot be read"),
        ({"model": SAWYER}, "unknown joint of package://robosuite"),
        ({"group": {"names": ("j", "j")}}, "'j' appears twice"),
        ({"group": {"names": ("j", "k")}}, "'q' is 1 wide, the group has 2 joints"),
        ({"group": {"position": "p"}}, "unknown observation field 'p'"),
        ({"group": {"command": "u"}}, "belong together"),
        ({"kind": "position", "group": {"position": None}}, "is needed"),
        ({"kind": "position", "unit": "counts"}, "'u' is in 'counts': expected one of 'rad'"),
        ({"kind": "effort", "unit": "normalised"}, "'u' is in 'normalised'"),
        (
            {"model": SAWYER, "group": {"names": ("right_j0",)}, "observed": "m"},
            "which fits joints that slide, and right_j0 do not all",
        ),
    ],
)
def test_joints_that_make_no_sense_are_refused(arguments, says):
    with pytest.raises(LimitsError, match=r"robot\.limits") as caught:
        build(**arguments)
    assert says in str(caught.value)


def test_a_model_without_joints_is_refused():
    with pytest.raises(LimitsError, match=r"robot\.limits\.joints: say which fields"):
        build_limits(
            LimitsConfig(model=SAWYER),
            observation_fields=(field("q", "rad"),),
            robot_action_fields=(field("u", "rad"),),
            policy_action_fields=(field("u", "rad"),),
            period_s=PERIOD_S,
        )
