"""Limits that contradict each other: nothing jumps; what cannot be kept is said, or a fault."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import BoxConfig, CommandKind, JointsConfig, LimitsConfig
from fieldtune.robot.safety.build import LimitsError, build_limits, describe
from fieldtune.robot.safety.limits import LimitFault, allow, staying

PI, INF = math.pi, math.inf
PERIOD_S = 0.02
UNITS = {"position": "rad", "displacement": "rad", "velocity": "rad/s", "effort": "N m"}


def build(kind="position", *, u=(-PI, PI), unit=None, wraps=None, joints=True, **config):
    """Limits of one joint, observed in `q` and commanded by `u`, beside its hand's `height`."""

    def field(name, unit, low=-INF, high=INF):
        return FieldSpec(name=name, unit=unit, low=(low,), high=(high,))

    group = JointsConfig(
        names=("a",), position="q", command="u", command_kind=CommandKind(kind), wraps=wraps
    )
    action = (field("u", unit or UNITS[kind], *u),)
    return build_limits(
        LimitsConfig(joints=(group,) if joints else (), **config),
        observation_fields=(field("q", "rad", -PI, PI), field("height", "m")),
        robot_action_fields=action,
        policy_action_fields=action,
        period_s=PERIOD_S,
    )


def box(low=None, high=None, **given):
    return BoxConfig(low=(low,), high=(high,), action="u", **given)


def told(limits, command, q, previous=None, height=0.0):
    last = None if previous is None else np.array([previous])
    observation = np.array([q, height])
    action, reason = allow(np.array([command]), last, observation, limits, PERIOD_S, last)
    return float(action[0]), reason


def test_a_target_at_the_edge_of_its_box_stays_there():
    limits = build(box={"q": box(-2.0, 0.5)}, joint_velocity={"a": 0.5})
    q, previous = 0.45, None
    for _ in range(20):
        previous, reason = told(limits, 3.0, q, previous)
        assert abs(previous - q) <= 0.5 * PERIOD_S + 1e-12
        q = previous
    assert (q, reason) == (pytest.approx(0.5), "joint velocity a; joint position a")
    assert told(limits, 0.2, 0.5, 0.5) == (pytest.approx(0.49), "joint velocity a")


def test_a_box_about_a_targets_own_position_never_lets_it_lead_out():
    """Without a velocity too: a servo would be past the edge before it is seen there."""
    limits = build(box={"q": box(-2.0, 0.5)})
    assert told(limits, 3.0, 0.1) == (pytest.approx(0.5), "joint position a")
    assert told(limits, 0.4, 0.1) == (0.4, "")


def test_a_joint_that_stands_outside_its_box_may_stay_or_come_back():
    limits = build(box={"q": box(-2.0, 0.5)})
    assert told(limits, 3.0, 1.0) == (1.0, "joint position a")
    assert told(limits, 0.9, 1.0) == (0.9, "")


@pytest.mark.parametrize("edge", [1.0, -1.0])
def test_a_box_about_something_else_takes_a_target_back_to_where_the_joint_is(edge):
    limits = build(box={"height": box(-0.3, 0.3)}, action_rate={"u": 1.0})
    away = edge * 0.3
    assert told(limits, edge * 3.0, edge * 0.9, edge * 1.0, 0.0)[0] == edge * 1.02
    target, reason = told(limits, edge * 3.0, edge * 0.9, edge * 1.0, away)
    assert (target, reason) == (pytest.approx(edge * 0.98), "rate u; box u")  # not at once
    target, _ = told(limits, edge * 3.0, edge * 0.99, edge * 1.0, away)
    assert target == pytest.approx(edge * 0.99)
    target, _ = told(limits, edge * 3.0, edge * 1.5, edge * 1.0, away)
    assert target == pytest.approx(edge * 1.0)  # the joint is ahead of its target
    assert told(limits, edge * 0.99, edge * 1.0, edge * 1.0, away) == (edge * 0.99, "")


def test_a_box_holds_a_target_that_wraps_by_the_short_way():
    limits = build(wraps=True, box={"q": box(-3.2, 3.0)})
    assert told(limits, -3.1, 3.02, 3.02) == (pytest.approx(3.02), "box u")
    assert told(limits, 2.9, 3.02, 3.02) == (2.9, "")


@pytest.mark.parametrize("joint", [{"joint_velocity": {"a": 0.5}}, {"action_rate": {"u": 0.5}}, {}])
@pytest.mark.parametrize("ranges", [{"action_range": {"u": (-0.3, 0.3)}}, {"u": (-0.3, 0.3)}])
def test_a_joint_outside_what_it_may_be_told_is_a_fault_and_no_jump(joint, ranges):
    limits = build(**joint, **ranges)
    with pytest.raises(LimitFault, match=r"joint a stands at 2, .* jump by 1\.7 in one period"):
        told(limits, 0.0, 2.0)
    assert told(limits, 0.3, 0.305)[0] == pytest.approx(0.3)  # within what it may go in a period
    assert told(limits, 0.0, 0.2)[0] <= 0.2


def test_the_ends_of_an_angle_that_wraps_are_within_what_it_may_be_told():
    limits = build(wraps=True, u=(-3.14159, 3.14159))
    assert told(limits, -3.1, 3.1415926)[0] == -3.1
    with pytest.raises(LimitFault, match="joint a stands at"):
        told(build(wraps=True, u=(-3.0, 3.0), joint_velocity={"a": 0.5}), 0.0, 3.1)


def test_a_target_brakes_before_the_end_of_its_range():
    limits = build(action_range={"u": (-1.0, 1.0)}, joint_acceleration={"a": 2.0})
    q, previous, before, speed = 0.0, None, np.array([0.0]), 0.0
    for _ in range(300):
        action, _ = allow(np.array([3.0]), previous, np.array([q, 0.0]), limits, PERIOD_S, before)
        assert abs((action[0] - q) / PERIOD_S - speed) <= 2.0 * PERIOD_S + 1e-9
        speed = (action[0] - q) / PERIOD_S
        before = before if previous is None else previous
        previous, q = action, float(action[0])
    assert 0.99 < q <= 1.0


@pytest.mark.parametrize("kind", ["displacement", "velocity", "effort"])
@pytest.mark.parametrize(
    "limit",
    [
        {"joint_position": {"a": (-1.0, 0.3)}},
        {"joint_velocity": {"a": 0.1}},
        {"joint_acceleration": {"a": 1.0}},
        {"action_rate": {"u": 1.0}},
    ],
)
def test_a_range_without_rest_is_refused_where_a_joint_has_limits(kind, limit):
    for ranges in ({"action_range": {"u": (0.2, 0.4)}}, {"u": (-0.4, -0.2)}):
        with pytest.raises(LimitsError, match=r"robot\.limits\.joints\[0\]\.command.*cannot be 0"):
            build(kind, **ranges, **limit)
    build(kind, action_range={"u": (0.0, 0.4)}, **limit)
    build(kind, action_range={"u": (0.2, 0.4)})


@pytest.mark.parametrize(
    "config",
    [
        {"joint_position": {"a": (-1.0, 0.3)}, "action_range": {"u": (0.5, 1.0)}},
        {"box": {"q": box(-1.0, 0.3)}, "action_range": {"u": (0.5, 1.0)}},
        {"box": {"q": box(0.5, None)}, "joint_position": {"a": (-1.0, 0.3)}},
    ],
)
def test_positions_that_no_limit_leaves_a_place_are_refused(config):
    with pytest.raises(LimitsError, match="joint 'a' has no place to be told"):
        build(**config)


def test_a_box_needs_to_know_what_its_action_commands():
    with pytest.raises(LimitsError, match=r"nothing says what 'u' \(in 'rad'\) commands") as caught:
        build(joints=False, box={"q": box(-2.0, 0.5)})
    assert "robot.limits.box.q.command_kind: displacement, velocity or effort" in str(caught.value)
    with pytest.raises(LimitsError, match="nothing says"):
        build(joints=False, box={"q": box(-2.0, 0.5, command_kind=CommandKind.POSITION)})
    with pytest.raises(LimitsError, match="command_kind is velocity, and 'u' commands position"):
        build(box={"q": box(-2.0, 0.5, command_kind=CommandKind.VELOCITY)})
    with pytest.raises(LimitsError, match="none is given"):
        build(box={"q": BoxConfig(low=(0.0,), high=(1.0,), command_kind=CommandKind.VELOCITY)})
    for told_so in (
        {"box": {"q": box(-2.0, 0.5, command_kind=CommandKind.DISPLACEMENT)}},
        {"box": {"q": box(-2.0, 0.5)}, "unit": "rad/s"},
        {"box": {"q": box(-2.0, 0.5)}, "unit": "N m"},
    ):
        assert told(build(joints=False, **told_so), 1.0, 0.6) == (0.0, "box u")


def test_a_range_that_nobody_can_hold_against_where_the_robot_stands_is_said():
    said = "limit action u, whether the robot stands within its range: NOT CHECKED"
    tight = {"action_range": {"u": (-0.3, 0.3)}}
    assert said in "\n".join(describe(build(joints=False, **tight), None))
    assert said not in "\n".join(describe(build(joints=False), None))
    assert said not in "\n".join(describe(build(**tight), None))


ends = st.tuples(st.floats(-3.0, 2.9), st.floats(0.05, 4.0)).map(
    lambda pair: (pair[0], min(pair[0] + pair[1], 3.1))
)
speeds = st.floats(0.05, 20.0)


@st.composite
def configs(draw):
    """Any limits of one joint, of which each may be there or not."""
    found = {}
    if draw(st.booleans()):
        found["joint_position"] = {"a": draw(ends)}
    if draw(st.booleans()):
        found["joint_acceleration"] = {"a": draw(st.floats(0.5, 200.0))}
    if draw(st.booleans()):
        found["action_rate"] = {"u": draw(speeds)}
    if draw(st.booleans()):
        found["action_range"] = {"u": draw(ends)}
    if draw(st.booleans()):
        found["box"] = {draw(st.sampled_from(["q", "height"])): box(*draw(ends))}
    return found | {"joint_velocity": {"a": draw(speeds)}}


requests = st.lists(st.floats(-PI, PI) | st.sampled_from([-PI, PI]), min_size=1, max_size=40)


def made(kind, config, wraps=None):
    try:
        return build(kind, wraps=wraps, **config)
    except LimitsError as error:  # told before anything moves
        if "cannot be 0" in str(error) or "has no place" in str(error):
            return None
        raise


@given(
    config=configs(),
    wraps=st.booleans(),
    start=st.floats(-PI, PI),
    follows=st.floats(0.05, 1.0),
    commands=requests,
)
def test_a_commanded_position_never_changes_faster_than_velocity_rate_and_acceleration(
    config, wraps, start, follows, commands
):
    if wraps:
        config = {key: value for key, value in config.items() if key != "joint_position"}
    limits = made("position", config, wraps)
    if limits is None:
        return
    fastest = min(config["joint_velocity"]["a"], config.get("action_rate", {}).get("u", INF))

    def way(there, here):
        return math.remainder(there - here, 2 * PI) if wraps else there - here

    held = [config.get("joint_position", {}).get("a"), _own_box(config)]
    held = [(low, high) for low, high in filter(None, held) if not wraps]
    quickest = config.get("joint_acceleration", {}).get("a", INF)
    if not all(low <= start <= high for low, high in held) or "height" in config.get("box", {}):
        quickest = INF  # it may stop at once
    if not limits.low[0] <= start <= limits.high[0] or (wraps and "box" in config):
        quickest = INF
    q, previous, before, speed = start, None, None, 0.0
    for command in commands:
        observation = np.array([q, q / 2])
        before = staying(observation, limits) if before is None else before
        wanted = np.clip([command], limits.low, limits.high)
        try:
            action, _ = allow(wanted, previous, observation, limits, PERIOD_S, before)
        except LimitFault:
            if previous is None:  # it begins outside of its range, and nothing is commanded
                assert not limits.low[0] <= q <= limits.high[0]
                return
            raise
        last = q if previous is None else previous[0]
        assert abs(way(action[0], last)) <= fastest * PERIOD_S + 1e-9
        assert abs(way(action[0], last) / PERIOD_S - speed) <= quickest * PERIOD_S + 1e-6
        speed = way(action[0], last) / PERIOD_S
        assert limits.low[0] <= action[0] <= limits.high[0]
        for low, high in held:
            if low <= last <= high:  # a target that is inside stays so
                assert low - 1e-9 <= action[0] <= high + 1e-9
        before = before if previous is None else previous
        previous = action
        q = math.remainder(q + follows * way(action[0], q), 2 * PI)


def _own_box(config):
    found = config.get("box", {}).get("q")
    return None if found is None else (found.low[0], found.high[0])


@given(
    kind=st.sampled_from(["velocity", "displacement"]),
    config=configs(),
    start=st.floats(-PI, PI),
    commands=requests,
)
def test_a_commanded_velocity_never_leaves_the_joints_velocity_and_position(
    kind, config, start, commands
):
    limits = made(kind, config)
    if limits is None:
        return
    fastest = config["joint_velocity"]["a"]
    low, high = config.get("joint_position", {}).get("a", (-INF, INF))
    q, previous, before = start, None, None
    for command in commands:
        observation = np.array([q, q / 2])
        before = staying(observation, limits) if before is None else before
        wanted = np.clip([command], limits.low, limits.high)
        action, _ = allow(wanted, previous, observation, limits, PERIOD_S, before)
        moved = action[0] * (PERIOD_S if kind == "velocity" else 1.0)
        assert abs(moved) <= fastest * PERIOD_S + 1e-9
        assert limits.low[0] <= action[0] <= limits.high[0]
        assert q + moved <= max(high, q) + 1e-9
        assert q + moved >= min(low, q) - 1e-9
        before = before if previous is None else previous
        q, previous = q + moved, action
