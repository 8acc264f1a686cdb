"""Models: limits are what MuJoCo itself reads, and a bad file is an error that says where."""

from __future__ import annotations

import math
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
import robosuite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldtune.robot.safety.models.joint import JointModel
from fieldtune.robot.safety.models.read import read_model
from fieldtune.robot.safety.models.xml_tree import ModelError

ROBOTS = Path(robosuite.__file__).parent / "models/assets/robots"
ASSETS = Path(gymnasium.__file__).parent / "envs/mujoco/assets"
URDF = Path(robosuite.__file__).parent / "models/assets/bullet_data"
MODELS = [
    *(ROBOTS / name / "robot.xml" for name in ("sawyer", "panda", "ur5e", "xarm7", "gr1", "spot")),
    *(
        ASSETS / f"{name}.xml"
        for name in ("ant", "half_cheetah", "hopper", "humanoid", "walker2d", "swimmer", "pusher")
    ),
]


def assert_same_as_mujoco(path: Path) -> int:
    """Compare every named hinge and slide; returns how many limits were compared."""
    model, read, compared = mujoco.MjModel.from_xml_path(str(path)), read_model(str(path)), 0
    for index in range(model.njnt):
        joint = model.joint(index)
        if joint.type[0] not in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE):
            continue
        if not joint.name:
            continue
        ours = read.pop(joint.name)
        assert ours.rotates == (joint.type[0] == mujoco.mjtJoint.mjJNT_HINGE)
        expected = joint.range if model.jnt_limited[index] else (-math.inf, math.inf)
        assert ours.endless == (ours.rotates and not model.jnt_limited[index])
        np.testing.assert_allclose((ours.low, ours.high), expected, rtol=1e-12, err_msg=joint.name)
        effort = mujoco_effort(model, index)
        np.testing.assert_allclose((ours.effort_low, ours.effort_high), effort, rtol=1e-12)
        compared += int(np.isfinite([*expected, *effort]).sum())
    assert read == {}
    return compared


def mujoco_effort(model: mujoco.MjModel, joint: int) -> tuple[float, float]:
    """What all of a joint's actuators can give, from MuJoCo's compiled numbers alone."""
    low = high = 0.0
    driven = False
    for index in range(model.nu):
        kind = model.actuator_trntype[index]
        if kind != mujoco.mjtTrn.mjTRN_JOINT or model.actuator_trnid[index, 0] != joint:
            continue
        driven = True
        ends = np.array([-math.inf, math.inf])
        if model.actuator_forcelimited[index]:
            ends = model.actuator_forcerange[index].copy()
        gain = model.actuator_gainprm[index, 0]
        pure = model.actuator_biastype[index] == mujoco.mjtBias.mjBIAS_NONE
        if pure and model.actuator_ctrllimited[index]:
            pushes = np.sort(gain * model.actuator_ctrlrange[index])
            ends = np.array([max(ends[0], pushes[0]), min(ends[1], pushes[1])])
        ends = np.sort(ends * model.actuator_gear[index, 0])
        low, high = low + ends[0], high + ends[1]
    if not driven:
        low, high = -math.inf, math.inf
    if model.jnt_actfrclimited[joint]:
        own = model.jnt_actfrcrange[joint]
        low, high = max(low, own[0]), min(high, own[1])
    return low, high


@pytest.mark.parametrize("path", MODELS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_limits_of_real_models_are_what_mujoco_reads(path):
    assert assert_same_as_mujoco(path) > 0


CLASSES = """
<mujoco>
  <compiler angle="{angle}"/>
  <default>
    <joint range="-10 20"/>
    <motor ctrlrange="-2 3" gear="5"/>
    <default class="slow">
      <joint range="-1 1" actuatorfrcrange="-4 4"/>
      <default class="slower"><joint limited="false"/><position kp="5"/></default>
    </default>
    <default class="general"><general gainprm="3" ctrlrange="-1 2" forcerange="-2.5 9"/></default>
  </default>
  <worldbody>
    <body childclass="slow">
      <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
      <joint name="a"/><joint name="a_slide" type="slide"/>
      <body>
        <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
        <joint name="b" class="slower"/><joint name="c" range="-3 4"/><joint range="0 1"/>
        <frame childclass="general"><body>
          <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/><joint name="d"/>
        </body></frame>
      </body>
    </body>
    <body>
      <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
      <joint name="e"/><joint name="f"/>
    </body>
    <body>
      <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/><joint name="g" type="ball" range="0 1"/>
    </body>
  </worldbody>
  <actuator>
    <motor joint="a"/><motor joint="c" gear="-1"/><motor joint="c" class="general"/>
    <position joint="b" class="slower"/><general joint="d" class="general"/>
    <general joint="e" class="slower"/><position joint="f" forcerange="-7 8" gear="2"/>
  </actuator>
</mujoco>
"""


@pytest.mark.parametrize("angle", ["degree", "radian"])
def test_classes_and_units_are_resolved_as_mujoco_does(tmp_path, angle):
    path = tmp_path / "classes.xml"
    path.write_text(CLASSES.format(angle=angle))
    assert assert_same_as_mujoco(path) > 10


def test_without_a_compiler_angles_are_in_degrees(tmp_path):
    path = tmp_path / "m.xml"
    path.write_text(
        '<mujoco><worldbody><body><joint name="j" range="-90 90"/><geom size="1"/></body>'
        "</worldbody></mujoco>"
    )
    assert read_model(str(path))["j"].high == pytest.approx(math.pi / 2)
    assert assert_same_as_mujoco(path) == 2


def test_included_files_count(tmp_path):
    (tmp_path / "arm.xml").write_text(
        '<mujocoinclude><body><joint name="j" range="-1 1"/><geom size="1"/></body></mujocoinclude>'
    )
    path = tmp_path / "scene.xml"
    path.write_text(
        '<mujoco><compiler angle="radian"/>'
        '<worldbody><include file="arm.xml"/></worldbody></mujoco>'
    )
    assert assert_same_as_mujoco(path) == 2


def test_a_model_that_includes_itself_is_refused(tmp_path):
    path = tmp_path / "loop.xml"
    path.write_text('<mujoco><include file="loop.xml"/></mujoco>')
    with pytest.raises(ModelError, match="twice"):
        read_model(str(path))


def test_urdf_gives_position_velocity_and_effort():
    read = read_model(str(URDF / "panda_description/urdf/panda_arm.urdf"))
    assert read["panda_joint1"] == JointModel(
        "panda_joint1", True, -2.8973, 2.8973, 2.1750, -87.0, 87.0
    )
    assert read["panda_joint4"].high == pytest.approx(-0.0698, abs=0.1)
    assert set(read) >= {f"panda_joint{index}" for index in range(1, 8)}


def test_urdf_soft_limits_tighten_and_continuous_joints_have_no_range(tmp_path):
    path = tmp_path / "r.urdf"
    path.write_text(
        '<robot><joint name="a" type="prismatic"><limit lower="-1" upper="1" velocity="2"/>'
        '<safety_controller k_velocity="1" soft_lower_limit="-0.5" soft_upper_limit="3"/></joint>'
        '<joint name="b" type="continuous"><limit effort="3" velocity="4"/></joint>'
        '<joint name="c" type="fixed"/></robot>'
    )
    inf = math.inf
    assert read_model(str(path)) == {
        "a": JointModel("a", False, -0.5, 1.0, 2.0, -inf, inf),
        "b": JointModel("b", True, -inf, inf, 4.0, -3.0, 3.0),
    }


def test_a_model_inside_an_installed_package_is_found():
    found = read_model("package://robosuite/models/assets/robots/sawyer/robot.xml")
    assert found["right_j0"].high == 3.0503


def urdf(limit: str, times: int = 1) -> str:
    return "<robot>" + f'<joint name="j" type="revolute">{limit}</joint>' * times + "</robot>"


BAD = [
    ("", "not well-formed"),
    ("<mujoco>", "not well-formed"),
    ("<html/>", "expected <mujoco>"),
    ('<!DOCTYPE x [<!ENTITY a "b">]><robot/>', "document type"),
    ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><robot/>', "document type"),
    ("<robot>" + "<a>" * 300 + "</a>" * 300 + "</robot>", "nest deeper"),
    ("<?xml version='1.0' encoding='nonsense'?><robot/>", "not well-formed"),
    (urdf(""), "without <limit>"),
    (urdf('<limit lower="1" upper="0"/>'), "is not a range"),
    (urdf('<limit lower="nan"/>'), "lower is 'nan'"),
    (urdf('<limit upper="1e999"/>'), "upper is '1e999'"),
    (urdf('<limit velocity="-1"/>'), "none below 0"),
    (urdf('<limit upper="${pi}"/>'), r"upper is '\$\{pi\}'"),
    (urdf("<limit/>", 2), "a name of its own"),
    ('<mujoco><worldbody><joint name="j" class="x"/></worldbody></mujoco>', "no default class"),
    ('<mujoco><worldbody><joint name="j" range="1"/></worldbody></mujoco>', "expected 2 finite"),
    ('<mujoco><worldbody><joint name="j" range="2 1"/></worldbody></mujoco>', "is not a range"),
    ('<mujoco><worldbody><joint name="j" limited="yes"/></worldbody></mujoco>', "true, false or"),
    ('<mujoco><include file="nowhere.xml"/></mujoco>', "cannot be read"),
    ("<mujoco><default><default/></default></mujoco>", "without a class"),
]


@pytest.mark.parametrize(("text", "says"), BAD)
def test_a_bad_model_is_refused_with_its_reason(tmp_path, text, says):
    path = tmp_path / "bad.xml"
    path.write_text(text)
    with pytest.raises(ModelError, match=says) as caught:
        read_model(str(path))
    assert "bad.xml" in str(caught.value) or "nowhere.xml" in str(caught.value)


@pytest.mark.parametrize(
    "place",
    ["nowhere.xml", "package://nowhere/x.xml", "package://robosuite", "package://../x", "."],
)
def test_a_model_that_is_not_there_is_refused(place):
    with pytest.raises(ModelError):
        read_model(place)


_TAGS = st.sampled_from(
    [
        "mujoco",
        "robot",
        "default",
        "worldbody",
        "body",
        "joint",
        "limit",
        "actuator",
        "motor",
        "general",
        "include",
        "compiler",
        "frame",
        "safety_controller",
    ]
)
_VALUES = st.sampled_from(
    ["", "0", "-1 1", "1 -1", "nan nan", "true", "main", "x", "1e400", "slide"]
)
_KEYS = st.sampled_from(
    [
        "name",
        "class",
        "childclass",
        "range",
        "limited",
        "type",
        "joint",
        "file",
        "lower",
        "upper",
        "gear",
        "ctrlrange",
        "angle",
        "velocity",
        "gainprm",
    ]
)


def _element(children):
    return st.builds(
        lambda tag, attributes, inner: (
            f"<{tag} "
            + " ".join(f'{key}="{value}"' for key, value in attributes.items())
            + f">{''.join(inner)}</{tag}>"
        ),
        _TAGS,
        st.dictionaries(_KEYS, _VALUES, max_size=4),
        st.lists(children, max_size=4),
    )


_TREES = st.recursive(st.just(""), _element, max_leaves=12)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | _TREES.map(str.encode)
    | st.sampled_from([CLASSES.encode(), (ASSETS / "ant.xml").read_bytes()]).flatmap(
        lambda data: st.tuples(
            st.integers(0, len(data) - 1), st.binary(max_size=3), st.integers(0, 5)
        ).map(lambda cut: data[: cut[0]] + cut[1] + data[cut[0] + cut[2] :])
    )
)
def test_any_bytes_give_joints_or_a_model_error(tmp_path, data):
    path = tmp_path / "any.xml"
    path.write_bytes(data)
    try:
        joints = read_model(str(path))
    except ModelError:
        return
    for joint in joints.values():
        assert joint.low <= joint.high
        assert joint.effort_low <= joint.effort_high
