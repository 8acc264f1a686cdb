"""`Reach`: the arm over an empty table, and a hidden target.

The truth that the fast simulator is held to. It knows nothing of batches or learning.
Importing this module imports robosuite.
"""

from __future__ import annotations

import numpy as np

from fieldtune.sim.family import Array
from fieldtune.sim.manipulation.arms import Arm
from fieldtune.sim.manipulation.scene import Marker, Scene, Start
from fieldtune.sim.manipulation.simulators.tabletop import Tabletop
from fieldtune.sim.manipulation.start import start_joints


class Reach(Tabletop):
    """Move the end effector to a target that no observation shows; the gripper is left as it is."""

    def __init__(self, arm: Arm) -> None:
        self.target = np.zeros(3)
        super().__init__(arm, Scene(markers=(Marker("target", 0.025),)))

    def start(self, seed: int, target: Array) -> Array:
        """Reset to the start state of `seed` with `target` `(3,)` in the base frame, in metres."""
        self.target = np.asarray(target, dtype=np.float64)
        joints = start_joints(self.arm.home_joints, seed)
        self.begin(Start(joints=joints, marks=self.target[None]))
        return self.observe()

    def observe(self) -> Array:
        """What the arm itself reports, `(observation,)`; see `observe_arm`."""
        return self.observe_arm()

    def reward(self, action: Array | None = None) -> float:  # noqa: ARG002
        """Minus the distance of the end effector to the target, in metres."""
        position = self.observe()[2 * self.arm.joints : 2 * self.arm.joints + 3]
        return -float(np.linalg.norm(position - self.target))

    def _check_success(self) -> bool:
        return self.reward() > -0.02
