"""Limits: they only ever tighten, they say what they changed, and a fault outlives the process."""

from __future__ import annotations

import dataclasses
import os
import re
import resource
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import BoxConfig, CommandKind, LimitsConfig
from fieldtune.robot.safety.build import LimitsError, build_limits, describe
from fieldtune.robot.safety.latch import confirm, held_by, latch, latched, release
from fieldtune.robot.safety.limits import LimitFault, allow, check_applied, check_observation

INF = float("inf")
OBSERVATION = (
    FieldSpec(name="eef_pos", unit="m", low=(-1.0, -1.0), high=(1.0, 1.0)),
    FieldSpec(name="eef_vel", unit="m/s", low=(-INF, -INF), high=(INF, INF)),
)
ACTION = (
    FieldSpec(name="move", unit="m", low=(-0.5, -0.5), high=(0.5, 0.5)),
    FieldSpec(name="grip", unit="", low=(0.0,), high=(1.0,)),
)
PERIOD_S = 0.1
MOVE = {"action": "move", "command_kind": CommandKind.DISPLACEMENT}
REST = np.zeros(4)


def limits(policy_action=ACTION, **config):
    return build_limits(
        LimitsConfig(**config),
        observation_fields=OBSERVATION,
        robot_action_fields=ACTION,
        policy_action_fields=policy_action,
        period_s=PERIOD_S,
    )


def test_a_command_within_every_limit_passes_untouched():
    command = np.array([0.5, -0.5, 1.0])
    action, reason = allow(command, None, REST, limits(), PERIOD_S)
    assert action.tolist() == command.tolist()
    assert reason == ""


def test_a_tighter_range_clamps_and_says_which_component():
    tight = limits(action_range={"move": (-0.1, 0.2)})
    action, reason = allow(np.array([0.5, 0.0, 0.5]), None, REST, tight, PERIOD_S)
    assert (action.tolist(), reason) == ([0.2, 0.0, 0.5], "range move[0]")


def test_the_narrower_of_robot_and_bundle_counts():
    wide = (FieldSpec(name="move", unit="m", low=(-9.0,) * 2, high=(9.0,) * 2), ACTION[1])
    action, reason = allow(np.array([7.0, 0.1, 0.5]), None, REST, limits(wide), PERIOD_S)
    assert (action.tolist(), reason) == ([0.5, 0.1, 0.5], "range move[0]")


def test_rate_bounds_the_change_in_a_period():
    slow = limits(action_rate={"move": 1.0})
    previous = np.array([0.0, 0.0, 0.0])
    action, reason = allow(np.array([0.5, -0.05, 1.0]), previous, REST, slow, PERIOD_S)
    np.testing.assert_allclose(action, [0.1, -0.05, 1.0])
    assert reason == "rate move[0]"


def test_at_the_edge_of_a_box_only_the_way_back_is_open():
    boxed = limits(box={"eef_pos": BoxConfig(low=(None, -0.2), high=(0.3, 0.2), **MOVE)})
    at_edge = np.array([0.31, -0.2, 0.0, 0.0])
    action, reason = allow(np.array([0.4, -0.4, 0.5]), None, at_edge, boxed, PERIOD_S)
    assert (action.tolist(), reason) == ([0.0, 0.0, 0.5], "box move[0]; box move[1]")
    action, reason = allow(np.array([-0.4, 0.4, 0.5]), None, at_edge, boxed, PERIOD_S)
    assert (action.tolist(), reason) == ([-0.4, 0.4, 0.5], "")
    check_observation(at_edge, 0.0, boxed)


def test_the_box_wins_over_the_rate():
    boxed = limits(
        action_rate={"move": 0.1},
        box={"eef_pos": BoxConfig(low=(-0.3, -0.3), high=(0.3, 0.3), **MOVE)},
    )
    outside = np.array([0.4, 0.0, 0.0, 0.0])
    previous = np.array([0.5, 0.0, 0.0])
    action, _ = allow(np.array([0.5, 0.0, 0.0]), previous, outside, boxed, PERIOD_S)
    assert action[0] == 0.0


def test_a_box_without_an_actuator_is_a_fault_to_leave():
    boxed = limits(box={"eef_vel": BoxConfig(low=(-1.0, None), high=(1.0, None))})
    check_observation(np.array([0.0, 0.0, 1.0, 99.0]), 0.0, boxed)
    with pytest.raises(LimitFault, match=r"observation eef_vel\[0\] is 1.1, outside \[-1, 1\]"):
        check_observation(np.array([0.0, 0.0, 1.1, 0.0]), 0.0, boxed)


def test_an_observation_far_outside_the_robots_own_bounds_is_a_fault():
    check_observation(np.array([1.05, 0.0, 0.0, 0.0]), 0.0, limits())
    with pytest.raises(LimitFault, match=r"observation eef_pos\[0\] is 1.2, outside"):
        check_observation(np.array([1.2, 0.0, 0.0, 0.0]), 0.0, limits())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_observation_that_is_no_number_is_a_fault_where_nothing_bounds_it_too(bad):
    for index, name in enumerate(("eef_pos[0]", "eef_pos[1]", "eef_vel[0]", "eef_vel[1]")):
        observed = REST.copy()
        observed[index] = bad
        with pytest.raises(LimitFault, match=re.escape(f"observation {name} is {bad:g}") + "$"):
            check_observation(observed, 0.0, limits())


@pytest.mark.parametrize("bad", [1e10, -1e30, np.finfo(np.float64).max])
def test_no_observation_is_beyond_what_networks_compute_with(bad):
    check_observation(np.array([0.0, 0.0, 1e9, -1e9]), 0.0, limits())
    for index in (2, 3):
        observed = REST.copy()
        observed[index] = bad
        with pytest.raises(LimitFault, match=r"outside \[-1e\+09, 1e\+09\]: .* check the sensor"):
            check_observation(observed, 0.0, limits())


def test_an_old_observation_is_a_fault():
    check_observation(REST, 1.0, limits())
    with pytest.raises(LimitFault, match=r"1\.001 s old"):
        check_observation(REST, 1.001, limits())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_command_that_is_no_number_is_a_fault(bad):
    with pytest.raises(LimitFault, match=r"action move\[1\] is"):
        allow(np.array([0.0, bad, 0.0]), None, REST, limits(), PERIOD_S)


def test_a_command_outside_the_policys_own_range_is_a_fault():
    with pytest.raises(LimitFault, match=r"action grip is 1.1, outside \[0, 1\]"):
        allow(np.array([0.0, 0.0, 1.1]), None, REST, limits(), PERIOD_S)


def test_a_vector_of_another_width_is_a_fault():
    with pytest.raises(LimitFault, match="shape"):
        allow(np.zeros(2), None, REST, limits(), PERIOD_S)
    with pytest.raises(LimitFault, match="shape"):
        check_observation(np.zeros(3), 0.0, limits())


_FULL = limits(
    action_range={"move": (-0.3, 0.3)},
    action_rate={"move": 2.0, "grip": 1.0},
    box={"eef_pos": BoxConfig(low=(-0.5, None), high=(0.5, 0.1), **MOVE)},
)


@given(
    arrays(np.float64, 3, elements=st.floats(0, 1)),
    arrays(np.float64, 3, elements=st.floats(0, 1)) | st.none(),
    arrays(np.float64, 4, elements=st.floats(-1, 1)),
)
def test_what_is_allowed_keeps_every_limit_and_differs_only_with_a_reason(unit, before, observed):
    command = np.array([-0.5, -0.5, 0.0]) + unit
    previous = None if before is None else np.array([-0.3, -0.3, 0.0]) + before * [0.6, 0.6, 1]
    action, reason = allow(command, previous, observed, _FULL, PERIOD_S)
    assert (action >= _FULL.low).all()
    assert (action <= _FULL.high).all()
    assert bool(reason) == (action.tolist() != command.tolist())
    for index in (0, 1):
        if observed[index] >= _FULL.box_high[index]:
            assert action[index] <= 0
        if observed[index] <= _FULL.box_low[index]:
            assert action[index] >= 0
    if previous is not None and "box" not in reason:
        assert (np.abs(action - previous) <= _FULL.rate * PERIOD_S + 1e-12).all()


def test_hardware_may_apply_another_action_but_none_outside_the_policys_range():
    allowed, tight = np.array([0.1, 0.2, 0.5]), limits(action_range={"move": (-0.2, 0.2)})
    for applied in ([0.1, 0.2, 0.5], [0.0, 0.0, 1.0], [0.5, -0.5, 0.0], [0.54, 0.2, 1.04]):
        check_applied(np.array(applied), allowed, tight)
    for applied in (
        [1e30, 0.2, 0.5],
        [0.1, 0.2, 1.1],
        [0.1, np.nan, 0.5],
        [0.1, 0.2],
        [np.inf] * 3,
    ):
        with pytest.raises(LimitFault, match="the driver says that it applied"):
            check_applied(np.array(applied), allowed, tight)


def test_limits_are_pure():
    command, previous = np.array([0.5, 0.5, 0.5]), np.zeros(3)
    before = {f.name: np.copy(getattr(_FULL, f.name)) for f in dataclasses.fields(_FULL)}
    first = allow(command, previous, REST, _FULL, PERIOD_S)
    second = allow(command, previous, REST, _FULL, PERIOD_S)
    assert (first[0].tolist(), first[1]) == (second[0].tolist(), second[1])
    assert (command.tolist(), previous.tolist()) == ([0.5] * 3, [0.0] * 3)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(_FULL, name), value)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"action_range": {"move": (-0.6, 0.1)}}, "limits can only be tightened"),
        ({"action_range": {"move": (0.2, 0.1)}}, "the lower bound first"),
        ({"action_range": {"mov": (0.0, 0.1)}}, "unknown action field 'mov': did you mean 'move'?"),
        ({"action_rate": {"zzz": 1.0}}, "unknown action field 'zzz': known: move, grip"),
        ({"observation_age_s": 1.5}, "limits can only be tightened"),
        ({"late_fraction": 0.3}, "late_fraction is 0.3, without a reason at most 0.2: limits can"),
        ({"box": {"eef_po": BoxConfig(low=(0,), high=(1,))}}, "did you mean 'eef_pos'?"),
        ({"box": {"eef_pos": BoxConfig(low=(0,), high=(1,))}}, "the field is 2 wide"),
        ({"box": {"eef_pos": BoxConfig(low=(1, 0), high=(0, 1))}}, "is not below"),
        (
            {"box": {"eef_pos": BoxConfig(low=(0, 0), high=(1, 1), action="grip")}},
            "'grip' is 1 wide",
        ),
        (
            {
                "action_range": {"move": (0.1, 0.2)},
                "box": {"eef_pos": BoxConfig(low=(0, 0), high=(1, 1), **MOVE)},
            },
            "cannot stop motion",
        ),
    ],
)
def test_limits_that_make_no_sense_are_refused(config, says):
    with pytest.raises(LimitsError, match=r"robot\.limits") as caught:
        limits(**config)
    assert says in str(caught.value)


def test_robot_and_bundle_without_a_common_range_are_refused():
    elsewhere = (FieldSpec(name="move", unit="m", low=(3.0,) * 2, high=(9.0,) * 2), ACTION[1])
    with pytest.raises(LimitsError, match="no common range"):
        limits(elsewhere)


def test_every_limit_is_described():
    text = "\n".join(describe(_FULL, 60.0))
    for part in (
        "action move[0] in [-0.3, 0.3], changes by at most 2 a second",
        "action grip in [0, 1]",
        "observation eef_pos[0] in [-0.5, 0.5], held by move[0]",
        "observation eef_pos[0] in [-1.1, 1.1], else fault",
        "observation age 1 s, else fault",
        "control periods left out 20%, else fault",
        "run 60 s",
    ):
        assert part in text


def test_a_latched_fault_stays_until_released(tmp_path):
    path = tmp_path / "state" / "fault.txt"
    assert latched(path) is None
    latch(path, "the arm is hot")
    latch(path, "something later")
    assert latched(path) == "the arm is hot"
    release(path)
    assert latched(path) is None
    release(path)


def test_an_empty_latch_file_still_latches(tmp_path):
    path = tmp_path / "fault.txt"
    path.touch()
    assert latched(path) == "unknown fault"


def test_a_latch_on_a_full_disk_latches_all_the_same(tmp_path):
    path = tmp_path / "fault.txt"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        latch(path, "the arm is hot")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert latched(path) == "unknown fault"


def test_who_holds_the_robot_is_told_apart_from_why(tmp_path):
    path = tmp_path / "fault.txt"
    confirm(path)
    assert (latched(path), held_by(path)) == (None, None)
    latch(path, "two\nlines")
    assert held_by(path) is None
    confirm(path)
    assert (latched(path), held_by(path)) == ("two\nlines", str(os.getpid()))
    release(path)
    assert held_by(path) is None
