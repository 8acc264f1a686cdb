"""One `reach` arm in robosuite's own environment: what the `sim` driver drives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array
from fieldtune.sim.manipulation.arms import Arm
from fieldtune.sim.manipulation.reach.environment import Reach
from fieldtune.sim.manipulation.simulators.tabletop import ACTION_LIMIT
from fieldtune.sim.physics.rendering import Renderer, View

VIEW = View(
    lookat=(-0.15, 0.1, 1.05), distance=1.7, azimuth=140.0, elevation=-15.0, geom_groups=(1,)
)


class ReachRobot:
    """A `SingleRobot` over `fieldtune.sim.manipulation.reach.environment.Reach`."""

    def __init__(self, arm: Arm) -> None:
        self._environment = Reach(arm)
        self._renderer = Renderer(
            self._environment.sim.model._model, self._environment.sim.data._data, VIEW
        )

    def reset(self, seed: int, task: Array) -> Array:
        """See `SingleRobot.reset`. `task` is the target `(3,)`; it only moves the green sphere."""
        return self._environment.start(seed, task)

    def step(self, action: Array) -> tuple[Array, bool]:
        """See `SingleRobot.step`. `action` `(3,)` in metres; never terminal."""
        displacement = np.asarray(action, dtype=np.float64)
        if displacement.shape != (3,) or not np.isfinite(displacement).all():
            raise ValueError(f"step: action is {displacement}, expected 3 finite numbers in metres")
        self._environment.step(np.append(displacement / ACTION_LIMIT, 0.0))
        return self._environment.observe(), False

    def signals(self) -> Array:
        """See `SingleRobot.signals`. The reward needs none."""
        return np.empty(0)

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """See `SingleRobot.render`. The target is the green sphere."""
        return self._renderer.picture(width, height)

    def close(self) -> None:
        """See `SingleRobot.close`."""
        self._renderer.close()
        self._environment.close()
