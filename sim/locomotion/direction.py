"""Families whose hidden task is the direction to run in: what they share.

Knows no particular robot.
"""

from __future__ import annotations

import numpy as np

from fieldtune.sim.family import Array, Field
from fieldtune.sim.locomotion.family import LocomotionFamily

TURN = 360.0  # degrees


class DirectionFamily(LocomotionFamily):
    """Run along θ, which no observation shows."""

    @property
    def task_fields(self) -> tuple[Field, ...]:
        return (Field("direction", "degrees", (0.0,), (TURN,)),)

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` directions in degrees, `(n, 1)`, uniform on a full turn."""
        return np.random.default_rng(seed).uniform(0.0, TURN, (n, 1))


def free_torso_fields(joints: int) -> tuple[Field, ...]:
    """What is seen of a robot whose torso moves freely: qpos without x and y, then qvel."""
    return (
        Field.unbounded("torso_height", "m"),
        Field.unbounded("torso_orientation", "quaternion", 4),
        Field.unbounded("joint_position", "rad", joints),
        Field.unbounded("torso_velocity", "m/s", 3),
        Field.unbounded("torso_angular_velocity", "rad/s", 3),
        Field.unbounded("joint_velocity", "rad/s", joints),
    )


def along(moved: Array, task: Array) -> Array:
    """The part of `moved` `(..., axis)`, x and y first, along the direction `task` `(..., 1)`."""
    angle = np.deg2rad(task[..., 0])
    return moved[..., 0] * np.cos(angle) + moved[..., 1] * np.sin(angle)
