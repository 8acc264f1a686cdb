"""One `reach` arm in robosuite's own environment: what the `sim` driver drives."""

from __future__ import annotations

import numpy as np

from fieldtune.sim.family import Array
from fieldtune.sim.manipulation.arms import Arm
from fieldtune.sim.manipulation.reach.environment import Reach
from fieldtune.sim.manipulation.simulators.single_robot import ArmRobot
from fieldtune.sim.physics.rendering import View

VIEW = View(
    lookat=(-0.15, 0.1, 1.05), distance=1.7, azimuth=140.0, elevation=-15.0, geom_groups=(1,)
)


class ReachRobot(ArmRobot):
    """A `SingleRobot` over `fieldtune.sim.manipulation.reach.environment.Reach`."""

    def __init__(self, arm: Arm) -> None:
        self._reach = Reach(arm)
        super().__init__(self._reach, VIEW)

    def reset(self, seed: int, task: Array) -> Array:
        """See `SingleRobot.reset`. `task` is the target `(3,)`; it only moves the green sphere."""
        return self._reach.start(seed, task)

    def step(self, action: Array) -> tuple[Array, bool]:
        """See `SingleRobot.step`. `action` `(3,)` in metres; never terminal."""
        displacement = np.asarray(action, dtype=np.float64)
        if displacement.shape != (3,) or not np.isfinite(displacement).all():
            raise ValueError(f"step: action is {displacement}, expected 3 finite numbers in metres")
        return self._move(displacement, 0.0)
