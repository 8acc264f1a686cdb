"""What stands on the table, and what an observation holds of it.

Pure data and arithmetic: no mujoco, no robosuite. Positions are in metres in the arm's base frame,
which is parallel to the world's; orientations are quaternions (w, x, y, z).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np

from fieldtune.sim.family import Array, Field
from fieldtune.sim.manipulation.arms import Arm
from fieldtune.sim.manipulation.fixtures import KINDS

Home = Literal["home", "low", "high"]


@dataclass(frozen=True)
class Block:
    """A loose box: half its size along each axis, in metres."""

    name: str
    half_size: tuple[float, float, float]
    rgba: tuple[float, float, float, float]


@dataclass(frozen=True)
class Fixture:
    """Something that stands where a task puts it, and perhaps moves in one joint."""

    name: str
    kind: str


@dataclass(frozen=True)
class Marker:
    """A sphere that shows in pictures where a hidden goal is. It touches nothing."""

    name: str
    radius: float


@dataclass(frozen=True)
class Scene:
    """Everything on the table, and which of the arm's postures an episode starts near."""

    home: Home = "home"
    blocks: tuple[Block, ...] = ()
    fixtures: tuple[Fixture, ...] = ()
    markers: tuple[Marker, ...] = ()

    def home_joints(self, arm: Arm) -> tuple[float, ...]:
        return {"home": arm.home_joints, "low": arm.low_joints, "high": arm.high_joints}[self.home]


@dataclass(frozen=True)
class Start:
    """Where an episode starts.

    `joints` `(joint,)`, the arm's; `blocks` `(block, 7)`, position and orientation; `fixtures`
    `(fixture, 3)`, positions; `marks` `(marker, 3)`.
    """

    joints: Array
    blocks: Array = field(default_factory=lambda: np.zeros((0, 7)))
    fixtures: Array = field(default_factory=lambda: np.zeros((0, 3)))
    marks: Array = field(default_factory=lambda: np.zeros((0, 3)))


Starts = Callable[[int, Array], Start]
"""An episode's seed and task `(parameter,)` to where it starts."""


def arm_fields(arm: Arm) -> tuple[Field, ...]:
    """What every arm reports."""
    n = arm.joints
    return (
        Field("joint_position", "rad", arm.joint_low, arm.joint_high),
        Field.unbounded("joint_velocity", "rad/s", n),
        Field("end_effector_position", "m", (-arm.reach,) * 3, (arm.reach,) * 3),
        Field.unbounded("end_effector_velocity", "m/s", 3),
    )


@cache
def observation_fields(arm: Arm, scene: Scene) -> tuple[Field, ...]:
    """What the arm, its gripper and a tracker of what is on the table report, in order; then how
    far each thing is from the end effector.

    The last say nothing new. Learned from fifty layouts, a policy finds a thing in the fifty-first
    by them and misses it by absolute places alone (docs/manipulation.md).
    """
    gaps = [Field.unbounded(f"gripper_to_{name}", "m", 3) for name in _points(scene)]
    return (*reported_fields(arm, scene), *gaps)


def reported_fields(arm: Arm, scene: Scene) -> tuple[Field, ...]:
    """What is measured: `observation_fields` without what follows from it."""
    fields = [*arm_fields(arm), Field.unbounded("gripper_opening", "m")]
    for block in scene.blocks:
        fields.append(Field.unbounded(f"{block.name}_position", "m", 3))
        fields.append(Field.unbounded(f"{block.name}_orientation", "quaternion", 4))
    for fixture in scene.fixtures:
        kind = KINDS[fixture.kind]
        fields.append(Field.unbounded(f"{fixture.name}_{kind.point}", "m", 3))
        if kind.joint is not None:
            fields.append(Field.unbounded(f"{fixture.name}_{kind.joint}", kind.unit))
    return tuple(fields)


def with_gaps(arm: Arm, scene: Scene, reported: Array) -> Array:
    """Observations `(..., observation)`: what is reported, then the way from hand to each thing.

    Args:
        arm: which arm reports.
        scene: what stands on the table.
        reported: `(..., reported)`, the numbers of `reported_fields`.
    """
    hand, points = _gap_columns(arm, scene)
    gaps = [reported[..., point : point + 3] - reported[..., hand : hand + 3] for point in points]
    return np.concatenate([reported, *gaps], axis=-1)


@cache  # asked in every step of every simulator
def _gap_columns(arm: Arm, scene: Scene) -> tuple[int, tuple[int, ...]]:
    """Where in what is reported the end effector's position starts, and each thing's."""
    starts, start = {}, 0
    for one in reported_fields(arm, scene):
        starts[one.name] = start
        start += one.width
    return starts["end_effector_position"], tuple(starts[p] for p in _points(scene).values())


def _points(scene: Scene) -> dict[str, str]:
    """By the thing, the field that says where a hand goes for it."""
    blocks = {block.name: f"{block.name}_position" for block in scene.blocks}
    return blocks | {one.name: f"{one.name}_{KINDS[one.kind].point}" for one in scene.fixtures}


@dataclass(frozen=True)
class Addresses:
    """Where a model's `qpos` holds what: the two fingers, each block, each fixture's joint.

    `fixtures` has −1 for one that has no joint. `mocaps` are the rows of `mocap_pos` that say where
    the fixtures stand: robosuite has some of its own.
    """

    fingers: tuple[int, int]
    blocks: tuple[int, ...]
    fixtures: tuple[int, ...]
    mocaps: tuple[int, ...]


def observe(
    arm: Arm, scene: Scene, addresses: Addresses, base: Array, moved: Array, qpos: Array, at: Array
) -> Array:
    """Observations `(..., observation)` as `observation_fields` has them.

    Args:
        arm: whose gripper it is.
        scene: what there is.
        addresses: into `qpos`.
        base: `(3,)` the base frame's origin in the world.
        moved: `(..., 2·joint + 6)` joint and end-effector positions and velocities.
        qpos: `(..., nq)` MuJoCo's joint positions.
        at: `(..., fixture, 3)` where the fixtures stand, in the world.
    """
    left, right = addresses.fingers
    parts = [moved, (qpos[..., left] - qpos[..., right] - arm.fingers_closed)[..., None]]
    for start in addresses.blocks:
        quaternion = qpos[..., start + 3 : start + 7]
        parts.append(qpos[..., start : start + 3] - base)
        parts.append(np.where(quaternion[..., :1] < 0, -quaternion, quaternion))  # w ≥ 0
    for index, (fixture, address) in enumerate(
        zip(scene.fixtures, addresses.fixtures, strict=True)
    ):
        kind = KINDS[fixture.kind]
        moving = address >= 0
        value = qpos[..., address] if moving else np.zeros(qpos.shape[:-1])
        parts.append(at[..., index, :] - base + kind.offset(value))
        if moving:
            parts.append(value[..., None])
    return with_gaps(arm, scene, np.concatenate(parts, axis=-1))
