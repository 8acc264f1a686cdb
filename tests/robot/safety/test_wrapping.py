"""Joints that turn without end: the seam of their angle is no place, and no way round is long."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import CommandKind, JointsConfig, LimitsConfig
from fieldtune.robot.safety.build import LimitsError, build_limits, describe
from fieldtune.robot.safety.limits import LimitFault, allow, check_observation, staying

PI, TURN, INF = math.pi, 2 * math.pi, math.inf
PERIOD_S = 0.05
FASTEST, QUICKEST = 2.0, 8.0
UNITS = {"position": "rad", "displacement": "rad", "velocity": "rad/s", "effort": "N m"}
angles = st.floats(-PI, PI)


def build(
    kind=None,
    *,
    names=("j",),
    unit=None,
    observed="rad",
    q=(-PI, PI),
    u=(-PI, PI),
    velocity=None,
    wraps=True,
    period_s=PERIOD_S,
    **config,
):
    """Limits of joints that are observed in `q` (and `v`) and commanded by `u`, in these bounds."""
    width = len(names)

    def field(name, unit, low, high):
        return FieldSpec(name=name, unit=unit, low=(low,) * width, high=(high,) * width)

    command = {} if kind is None else {"command": "u", "command_kind": CommandKind(kind)}
    group = JointsConfig(names=names, position="q", velocity=velocity, wraps=wraps, **command)
    action = (field("u", unit or UNITS.get(kind, ""), *u),)
    return build_limits(
        LimitsConfig(joints=(group,), **config),
        observation_fields=(field("q", observed, *q), field("v", "rad/s", -INF, INF)),
        robot_action_fields=action,
        policy_action_fields=action,
        period_s=period_s,
    )


@pytest.fixture
def continuous(tmp_path):
    """A URDF with two joints that turn without end, and one that does not."""
    path = tmp_path / "r.urdf"
    path.write_text(
        '<robot><joint name="j" type="continuous"><limit velocity="2" effort="5"/></joint>'
        '<joint name="k" type="continuous"><limit velocity="2" effort="5"/></joint>'
        '<joint name="l" type="revolute"><limit lower="-1" upper="1" velocity="2" effort="5"/>'
        "</joint></robot>"
    )
    return str(path)


def wrapped(angle):
    """In [−π, π), in plain arithmetic."""
    while angle >= PI:
        angle -= TURN
    while angle < -PI:
        angle += TURN
    return angle


def short_way(there, here):
    """The shortest of the ways there are, by trying them."""
    return min((there - here + turns * TURN for turns in range(-3, 4)), key=abs)


def slowly(command, previous, before, here):
    """`allow` of one joint that wraps: rate, acceleration and velocity in plain arithmetic."""
    start = here if previous is None else previous
    speed = 0.0 if previous is None else short_way(previous, before) / PERIOD_S
    wanted = short_way(command, start) / PERIOD_S
    wanted = min(max(wanted, speed - QUICKEST * PERIOD_S), speed + QUICKEST * PERIOD_S)
    wanted = min(max(wanted, -FASTEST), FASTEST)
    return start + wanted * PERIOD_S


@given(start=angles, commands=st.lists(angles | st.sampled_from([-PI, PI, 3.1, -3.1]), max_size=60))
def test_commanded_positions_lead_the_short_way_round_within_the_limits(start, commands):
    limits = build("position", joint_velocity={"j": FASTEST}, joint_acceleration={"j": QUICKEST})
    q, previous, before, speed = start, None, None, 0.0
    for command in commands:
        observation = np.array([q, 0.0])
        check_observation(observation, 0.0, limits)
        before = staying(observation, limits) if before is None else before
        action, reason = allow(np.array([command]), previous, observation, limits, PERIOD_S, before)
        assert bool(reason) == (action[0] != command)
        assert -PI <= action[0] <= PI
        moved = short_way(action[0], q)
        way = short_way(command, q)
        assert abs(moved) <= FASTEST * PERIOD_S + 1e-9
        assert abs(moved / PERIOD_S - speed) <= QUICKEST * PERIOD_S + 1e-6
        if abs(way) < PI - 1e-6:  # opposite, both ways are as short
            slow = slowly(command, None if previous is None else previous[0], before[0], start)
            assert abs(short_way(action[0], wrapped(slow))) < 1e-6
        before = before if previous is None else previous
        q, previous, speed = action[0], action, moved / PERIOD_S


def test_a_position_across_the_seam_is_sent_as_asked_where_it_is_near():
    limits = build("position", joint_velocity={"j": FASTEST})
    action, reason = allow(np.array([-3.1]), None, np.array([3.1, 0.0]), limits, PERIOD_S)
    assert (action[0], reason) == (-3.1, "")
    action, reason = allow(np.array([-2.0]), None, np.array([3.1, 0.0]), limits, PERIOD_S)
    assert (action[0], reason) == (pytest.approx(3.1 + 0.1 - TURN), "joint velocity j")
    action, reason = allow(np.array([2.0]), None, np.array([-3.1, 0.0]), limits, PERIOD_S)
    assert (action[0], reason) == (pytest.approx(-3.1 - 0.1 + TURN), "joint velocity j")


def test_the_action_rate_is_kept_across_the_seam():
    limits = build("position", action_rate={"u": 1.0})
    previous, observation = np.array([3.12]), np.array([3.12, 0.0])
    action, reason = allow(np.array([-3.0]), previous, observation, limits, PERIOD_S)
    assert (action[0], reason) == (pytest.approx(3.12 + 0.05 - TURN), "rate u")


@pytest.mark.parametrize(("kind", "first"), [("position", 0.5 + 0.05), ("velocity", 0.05)])
def test_an_episodes_first_command_keeps_the_action_rate_from_where_the_joint_is(kind, first):
    limits = build(kind, action_rate={"u": 1.0})
    action, reason = allow(np.array([3.0]), None, np.array([0.5, 0.0]), limits, PERIOD_S)
    assert (action[0], reason) == (pytest.approx(first), "rate u")
    assert not any("first command" in line for line in describe(limits, None))


def test_a_first_command_of_which_nobody_says_what_it_is_is_said_to_be_unchecked():
    limits = build(action_rate={"u": 1.0})
    action, _ = allow(np.array([3.0]), None, np.array([0.5, 0.0]), limits, PERIOD_S)
    assert action[0] == 3.0
    said = [line for line in describe(limits, None) if "first command: NOT CHECKED" in line]
    assert len(said) == 1


@pytest.mark.parametrize(("unit", "turn"), [("rad", TURN), ("deg", 360.0)])
def test_a_turn_is_one_in_the_commands_own_unit(unit, turn):
    half = turn / 2
    limits = build(
        "position",
        unit=unit,
        observed=unit,
        q=(-half, half),
        u=(-half, half),
        joint_velocity={"j": FASTEST},
    )
    observation = np.array([0.49 * turn, 0.0])
    action, reason = allow(np.array([-0.45 * turn]), None, observation, limits, PERIOD_S)
    step = FASTEST * PERIOD_S * turn / TURN
    assert (action[0], reason) == (pytest.approx(-0.51 * turn + step), "joint velocity j")


@given(
    here=angles,
    command=angles,
    moved=st.floats(-0.09, 0.09),
    turns=st.integers(-3, 3),
    kind=st.sampled_from(["position", "displacement", "velocity", "effort"]),
)
def test_whole_turns_change_nothing(here, command, moved, turns, kind):
    for told in (command, 0.0):  # now, and before: half a turn away, either way is right
        assume(abs(abs(short_way(told, here)) - PI) > 1e-6)
    limits = build(
        kind,
        q=(-INF, INF),
        u=(-PI, PI),
        joint_velocity={"j": FASTEST},
        joint_acceleration={"j": QUICKEST},
    )
    command, previous = np.array([command]), np.array([0.0])
    told = []
    for turned in (0.0, turns * TURN):
        there = np.array([here + turned, 0.0])
        earlier = np.array([here - moved, 0.0])
        check_observation(there, 0.0, limits, earlier=earlier, elapsed_s=PERIOD_S)
        with pytest.raises(LimitFault, match="joint j: velocity"):
            check_observation(there + 0.21, 0.0, limits, earlier=earlier, elapsed_s=PERIOD_S)
        told.append(
            [
                float(allow(command, before, there, limits, PERIOD_S, there[:1])[0][0])
                for before in (None, previous)
            ]
        )
    for one, other in zip(*told, strict=True):
        assert abs(short_way(wrapped(one), wrapped(other))) < 1e-6 or abs(abs(one) - PI) < 1e-6


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_velocity_from_positions_knows_the_seam(continuous, direction):
    limits = build(model=continuous, wraps=None)
    earlier, there = np.array([3.12159, 0.0]), np.array([-3.12159, 0.0])  # 0.8 rad/s
    check_observation(
        direction * there, 0.0, limits, earlier=direction * earlier, elapsed_s=PERIOD_S
    )
    with pytest.raises(LimitFault, match=r"joint j: velocity -?2\.46\d* observed"):
        check_observation(
            direction * (there + 0.083),
            0.0,
            limits,
            earlier=direction * earlier,
            elapsed_s=PERIOD_S,
        )


@pytest.mark.parametrize("wraps", [True, False, ("j",), None])
def test_the_config_says_what_wraps_as_yaml_does(wraps):
    given = {"names": ["j"], "position": "q", "wraps": list(wraps) if wraps == ("j",) else wraps}
    assert JointsConfig.model_validate(given).wraps == wraps


def test_a_seam_that_the_config_denies_is_a_jump():
    limits = build(wraps=False, joint_velocity={"j": FASTEST})
    with pytest.raises(LimitFault, match=r"joint j: velocity -124\.8"):
        check_observation(
            np.array([-3.12, 0.0]),
            0.0,
            limits,
            earlier=np.array([3.12, 0.0]),
            elapsed_s=PERIOD_S,
        )


def test_only_the_joints_without_ends_wrap(continuous):
    limits = build(model=continuous, names=("j", "l", "k"), wraps=None)
    assert limits.joints[0].wrapping.wraps.tolist() == [True, False, True]
    limits = build(names=("j", "k"), wraps=("k",))
    assert limits.joints[0].wrapping.wraps.tolist() == [False, True]
    assert build(names=("j", "k"), wraps=None).joints[0].wrapping is None  # nothing is known
    limits = build(model=continuous, joint_position={"j": (-1.0, 1.0)}, wraps=None)
    assert limits.joints[0].wrapping is None


def test_mixed_joints_turn_each_in_its_own_way(continuous):
    limits = build("position", model=continuous, names=("j", "l"), wraps=None)
    observation = np.array([3.1, -0.9, 0.0, 0.0])
    action, reason = allow(np.array([-2.0, 0.9]), None, observation, limits, PERIOD_S)
    np.testing.assert_allclose(action, [3.2 - TURN, -0.8])
    assert reason == "joint velocity j; joint velocity l"


@given(
    start=st.floats(-1.0, 2.0),
    commands=st.lists(st.floats(0.0, TURN) | st.sampled_from([0.0, 2.5, TURN]), max_size=40),
)
def test_a_joint_with_ends_under_an_angle_that_wraps_never_leaves_them(start, commands):
    """An encoder from 0 to 2π whose seam lies within the joint's range."""
    ends = {"joint_position": {"j": (-1.0, 2.0)}, "joint_velocity": {"j": FASTEST}}
    limits = build("position", q=(0.0, TURN), u=(0.0, TURN), **ends)
    q, previous = start, None
    for command in commands:
        observation = np.array([q % TURN, 0.0])
        check_observation(observation, 0.0, limits)
        action, _ = allow(np.array([command]), previous, observation, limits, PERIOD_S)
        moved = short_way(action[0], q)
        wanted = min(max(wrapped(command - 0.5) + 0.5, -1.0), 2.0)  # in the turn around the middle
        if abs(command - 0.5 - PI) > 1e-6:
            assert abs(wanted - (q + moved)) <= abs(wanted - q) + 1e-9
        assert abs(moved) <= FASTEST * PERIOD_S + 1e-9
        q, previous = q + moved, action
        assert -1.0 - 1e-9 <= q <= 2.0 + 1e-9
    with pytest.raises(LimitFault, match="joint j: position"):
        check_observation(np.array([4.0, 0.0]), 0.0, limits)


@pytest.mark.parametrize("kind", ["displacement", "velocity", "effort"])
def test_ends_hold_in_whichever_turn_the_angle_is_told(kind):
    limits = build(kind, q=(0.0, TURN), u=(-9.0, 9.0), joint_position={"j": (-1.0, 1.0)})
    outwards, reason = allow(np.array([-5.0]), None, np.array([TURN - 1.0, 0.0]), limits, PERIOD_S)
    assert (outwards[0], reason) == (pytest.approx(0.0, abs=1e-9), "joint position j")
    inwards, reason = allow(np.array([0.05]), None, np.array([TURN - 1.0, 0.0]), limits, PERIOD_S)
    assert (inwards[0], reason) == (0.05, "")


@given(
    start=st.floats(-2 * TURN, 2 * TURN),
    commands=st.lists(st.floats(-2 * TURN, 2 * TURN), max_size=40),
)
def test_commands_that_count_turns_never_jump_by_one(start, commands):
    bounds = (-2 * TURN, 2 * TURN)
    limits = build("position", q=(-INF, INF), u=bounds, joint_velocity={"j": FASTEST})
    q, previous = start, None
    for command in commands:
        observation = np.array([q, 0.0])
        action, reason = allow(np.array([command]), previous, observation, limits, PERIOD_S)
        assert abs(action[0] - q) <= FASTEST * PERIOD_S + 1e-9
        assert bounds[0] <= action[0] <= bounds[1]
        assert bool(reason) == (action[0] != command)
        q, previous = action[0], action


def test_the_same_place_by_another_turn_is_said():
    limits = build("position", q=(-INF, INF), u=(-2 * TURN, 2 * TURN))
    action, reason = allow(np.array([0.5 + TURN]), None, np.array([0.45, 0.0]), limits, PERIOD_S)
    assert (action[0], reason) == (pytest.approx(0.5), "joint turn j")


def test_a_command_for_less_than_a_turn_is_never_led_across_its_gap():
    limits = build("position", u=(-3.0, 3.0), joint_velocity={"j": FASTEST})
    action, reason = allow(np.array([-2.9]), None, np.array([2.9, 0.0]), limits, PERIOD_S)
    assert (action[0], reason) == (pytest.approx(2.8), "joint velocity j")
    assert "wraps at a whole turn, told within [-3, 3] and never across" in "\n".join(
        describe(limits, None)
    )


def test_a_model_alone_does_not_decide_what_hardware_does_at_the_seam(continuous):
    def told(**given):
        return build("position", model=continuous, **given)

    with pytest.raises(LimitsError, match=r"robot\.limits\.joints\[0\]: 'j' has no ends") as caught:
        told(q=(-INF, INF), wraps=None)
    assert "say robot.limits.joints[0].wraps: true where the hardware" in str(caught.value)
    for fields in ({"q": (-PI, PI), "wraps": None}, {"q": (-INF, INF), "wraps": True}):
        action, reason = allow(
            np.array([-3.1]), None, np.array([3.1, 0.0]), told(**fields), PERIOD_S
        )
        assert (action[0], reason) == (-3.1, "")
    action, _ = allow(
        np.array([-3.1]),
        None,
        np.array([3.1, 0.0]),
        told(q=(-INF, INF), wraps=False),
        PERIOD_S,
    )
    assert action[0] == pytest.approx(3.0)


def test_what_wraps_is_described(continuous):
    text = "\n".join(describe(build("position", model=continuous, wraps=None), None))
    assert (
        "limit joint j: velocity at most 2, effort in [-5, 5], wraps at a whole turn, told" in text
    )
    text = "\n".join(describe(build(model=continuous, names=("l",), wraps=None), None))
    assert "wraps" not in text


def test_a_velocity_that_angles_cannot_show_is_said_to_be_unchecked():
    def lines(**given):
        return "\n".join(describe(build(joint_velocity={"j": 40.0}, **given), None))

    said = "limit joint velocity of j, ... NOT CHECKED"
    assert said not in lines()  # 2 rad a period
    assert said in lines(period_s=0.1)  # 4 rad a period: the short way is the other one
    assert said not in lines(period_s=0.1, velocity="v")
    assert said not in lines(period_s=0.1, wraps=False)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"wraps": ("k",)}, "unknown joint of robot.limits.joints[0].names 'k'"),
        ({"observed": "m", "q": (-1.0, 1.0)}, "'q' is in 'm': only what rotates wraps"),
        ({"joint_position": {"j": (-5.0, 5.0)}}, "'j' has ends 10 rad apart, more than a turn"),
    ],
)
def test_joints_that_cannot_wrap_are_refused(given, says):
    with pytest.raises(LimitsError, match=r"robot\.limits\.joints\[0\]\.wraps") as caught:
        build(**given)
    assert says in str(caught.value)
