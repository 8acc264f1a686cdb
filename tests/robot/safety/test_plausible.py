"""What nobody bounds is held against what training saw, and a person has the last word."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import BoxConfig, JointsConfig, LimitsConfig
from fieldtune.robot.safety.build import build_limits, describe
from fieldtune.robot.safety.fault import Implausible
from fieldtune.robot.safety.limits import LimitFault, check_observation

INF = math.inf
FIELDS = (
    FieldSpec(name="q", unit="rad", low=(-3.0,) * 2, high=(3.0,) * 2),
    FieldSpec(name="v", unit="rad/s", low=(-INF,) * 2, high=(INF,) * 2),
    FieldSpec(name="height", unit="mm", low=(0.0,), high=(INF,)),
)
SEEN = (
    FieldSpec(name="q", unit="rad", low=(-0.1,) * 2, high=(0.1,) * 2),
    FieldSpec(name="v", unit="rad/s", low=(-4.6e-5, -5.0), high=(4.6e-5, 4.0)),
    FieldSpec(name="height", unit="mm", low=(3.0,), high=(4.0,)),
)
ACTION = (FieldSpec(name="u", unit="", low=(-1.0,), high=(1.0,)),)


def build(seen=SEEN, fields=FIELDS, **config):
    return build_limits(
        LimitsConfig(**config),
        observation_fields=fields,
        robot_action_fields=ACTION,
        policy_action_fields=ACTION,
        period_s=0.1,
        observation_seen=seen,
    )


def observe(limits, q=0.0, v=0.0, w=0.0, height=0.0):
    check_observation(np.array([q, 0.0, v, w, height]), 0.0, limits)


def test_what_no_driver_bounds_may_reach_ten_times_what_its_field_was_in_the_data():
    limits = build()
    observe(limits, v=49.0, w=-49.0)  # the joint that rested in the data as well
    for bad in (51.0, -51.0, 1e30):
        with pytest.raises(LimitFault, match=re.escape(f"observation v[0] is {bad:g}, outside [")):
            observe(limits, v=bad)
    with pytest.raises(Implausible, match=r"ten times what training saw.*robot\.limits\.box\.v "):
        observe(limits, v=51.0)


def test_a_field_that_hardly_moved_in_the_data_still_gets_ten_of_the_unit():
    still = (
        SEEN[0],
        FieldSpec(name="v", unit="rad/s", low=(0.0,) * 2, high=(1e-6,) * 2),
        SEEN[2],
    )
    observe(build(still), v=9.9, height=9_900.0)  # 10 rad/s; 10 m in mm
    with pytest.raises(Implausible, match=r"v\[0\] is 10\.1, outside \[-10, 10\]"):
        observe(build(still), v=10.1)
    with pytest.raises(Implausible, match=r"height is 10100, outside \[0, 10000\]"):
        observe(build(still), height=10_100.0)


def test_a_drivers_own_bounds_are_not_the_datas_to_narrow():
    observe(build(), q=3.1)
    with pytest.raises(LimitFault, match=r"q\[0\] is 3\.5, outside \[-3\.3, 3\.3\]$") as caught:
        observe(build(), q=3.5)
    assert not isinstance(caught.value, Implausible)


def test_a_persons_box_takes_the_place_of_the_datas_range():
    box = {"v": BoxConfig(low=(-900.0, None), high=(900.0, None))}
    observe(build(box=box), v=800.0)
    with pytest.raises(LimitFault, match=r"v\[0\] is 901, outside \[-900, 900\]$"):
        observe(build(box=box), v=901.0)
    with pytest.raises(Implausible, match=r"v\[1\]"):
        observe(build(box=box), w=800.0)


def test_a_joints_own_limit_is_no_less_for_the_data(tmp_path):
    model = tmp_path / "r.urdf"
    model.write_text(
        '<robot><joint name="a" type="continuous"><limit velocity="2"/></joint>'
        '<joint name="b" type="continuous"><limit velocity="2"/></joint></robot>'
    )
    group = JointsConfig(names=("a", "b"), position="q", velocity="v")
    limits = build(model=str(model), joints=(group,))
    with pytest.raises(LimitFault, match="joint a: velocity 2"):
        observe(limits, v=2.2)


def test_what_training_bounds_and_what_nothing_does_is_said_before_anything_moves():
    text = describe(build(), None)
    assert (
        "limit observation v[0] to v[1] in [-50, 50], else fault: ten times what training saw"
        in text
    )
    assert not any("NOT CHECKED" in line for line in text)
    text = "\n".join(describe(build(seen=None), None))
    assert "limit observation v[0] to v[1] NOT CHECKED: bounded by no driver, model, bundle" in text
    assert "limit observation height NOT CHECKED" in text
    group = JointsConfig(names=("a", "b"), velocity="v")
    text = "\n".join(
        describe(build(seen=None, joints=(group,), joint_velocity={"a": 1.0, "b": 2.0}), None)
    )
    assert "limit observation v" not in text
