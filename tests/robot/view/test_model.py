"""The robot in 3-D: surfaces closed and facing outwards, bodies where their joints put them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import JointsConfig, LimitsConfig
from fieldtune.robot.view.model import NoModel, model_of
from fieldtune.robot.view.scene import places, pushes
from fieldtune.robot.view.shapes import box, capsule, cylinder, ellipsoid, normals, simplified

HALF = np.array([0.1, 0.2, 0.3])
MODEL = """
<mujoco>
  <compiler angle="degree"/>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body name="upper" pos="0 0 1">
      <joint name="shoulder" axis="0 1 0"/>
      <geom type="capsule" fromto="0 0 0 1 0 0" size="0.05" rgba="1 0 0 1"/>
      <body name="lower" pos="1 0 0">
        <joint name="rail" type="slide" axis="1 0 0"/>
        <geom type="box" size="0.1 0.1 0.1"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


def field(name, width, unit="rad"):
    return FieldSpec(name=name, unit=unit, low=(-9.0,) * width, high=(9.0,) * width)


FIELDS = (field("speed", 2, "m/s"), field("turn", 1, "deg"), field("out", 1, "mm"))


def volume(surface):
    a, b, c = np.moveaxis(surface.vertices[surface.faces], 1, 0)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize(
    ("surface", "expected"),
    [
        (box(HALF), 8 * HALF.prod()),
        (ellipsoid(HALF), 4 / 3 * math.pi * HALF.prod()),
        (capsule(0.1, 0.3), math.pi * 0.01 * (0.6 + 4 / 3 * 0.1)),
        (cylinder(0.1, 0.3), math.pi * 0.01 * 0.6),
    ],
    ids=["box", "ellipsoid", "capsule", "cylinder"],
)
def test_a_surface_is_closed_and_faces_outwards(surface, expected):
    assert volume(surface) == pytest.approx(expected, rel=0.05)
    outward = np.einsum("ij,ij->i", normals(surface), surface.vertices)
    assert (outward >= -1e-9).all()
    assert volume(simplified(surface, 0.01)) == pytest.approx(expected, rel=0.15)


@pytest.fixture
def limits(tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(MODEL)

    def make(*joints):
        groups = [
            JointsConfig(names=("shoulder",), position="turn"),
            JointsConfig(names=("rail",), position="out"),
        ]
        return LimitsConfig(model=str(path), joints=joints or tuple(groups))

    return make


def test_bodies_are_where_the_configured_joints_put_them_in_their_own_units(limits):
    model = model_of(limits(), None, "mine", FIELDS)
    assert [body.name for body in model.bodies] == ["upper", "lower"]
    assert model.bodies[0].colours[0].tolist() == [255, 0, 0, 255]
    positions, turns = model.poses(np.array([[0.0, 0.0, 0.0, 0.0], [7.0, 7.0, 90.0, 500.0]]))
    np.testing.assert_allclose(positions[0], [[0, 0, 1], [1, 0, 1]], atol=1e-9)
    np.testing.assert_allclose(positions[1], [[0, 0, 1], [0, 0, -0.5]], atol=1e-9)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(turns[1, 0], [0, half, 0, half], atol=1e-9)


def test_what_cannot_be_shown_is_said_with_a_cure(limits, tmp_path):
    broken = tmp_path / "broken.xml"
    broken.write_text("<mujoco><nonsense/></mujoco>")
    wrong = limits(JointsConfig(names=("elbow",), position="turn"))
    for arguments, says in (
        ((None, None, "mine", FIELDS), "no model of robot 'mine' is known: set robot.limits.model"),
        ((None, str(broken), "mine", FIELDS), "mujoco cannot read the model"),
        ((wrong, None, "mine", FIELDS), "no hinge or slide 'elbow'"),
        ((None, limits().model, "mine", FIELDS), "no observation field 'joint_position'"),
    ):
        with pytest.raises(NoModel, match=says):
            model_of(*arguments)


def test_a_built_in_arm_is_shown_where_its_own_forward_kinematics_put_it():
    from fieldtune.sim.manipulation.arms import ARMS

    arm = ARMS["panda"]
    fields = (field("joint_position", 7), field("joint_velocity", 7))
    model = model_of(None, None, "panda", fields)
    observed = np.array([*arm.home_joints, *[0.0] * 7])
    positions, _ = model.poses(observed[None])
    hand = positions[0, [body.name for body in model.bodies].index("link7")]
    reached = np.array(arm.home_position)
    assert np.linalg.norm(hand - reached) < 0.25  # the gripper is below
    assert np.linalg.norm((hand - reached)[:2]) < 0.05
    assert sum(len(body.surface.faces) for body in model.bodies) < 40_000


def test_points_and_arrows_go_by_names_and_units():
    observation = (
        field("joint_position", 7),
        field("end_effector_position", 3, "m"),
        field("block_position", 3, "mm"),
        field("gripper_to_block", 3, "m"),
    )
    action = (field("gripper", 1), field("end_effector_displacement", 3, "m"))
    assert [(one.name, one.start, one.factor) for one in places(observation)] == [
        ("end_effector_position", 7, 1.0),
        ("block_position", 10, 1e-3),
    ]
    (push,) = pushes(action, observation)
    assert (push.start, push.at.start) == (1, 7)
