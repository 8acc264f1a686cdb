"""One arm in robosuite's own environment: what the `sim` driver drives.

Takes the environment, or arm, scene and start; must not know a family.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array
from fieldtune.sim.manipulation.arms import Arm
from fieldtune.sim.manipulation.scene import Scene, Starts
from fieldtune.sim.manipulation.simulators.tabletop import ACTION_LIMIT, Tabletop
from fieldtune.sim.physics.rendering import Renderer, View

VIEW = View(
    lookat=(0.03, 0.0, 0.88), distance=1.25, azimuth=140.0, elevation=-28.0, geom_groups=(1,)
)


class ArmRobot:
    """What every `SingleRobot` over a `Tabletop` does alike; how it resets and steps is its own."""

    def __init__(self, environment: Tabletop, view: View) -> None:
        self._environment = environment
        self._renderer = Renderer(environment.sim.model._model, environment.sim.data._data, view)

    def signals(self) -> Array:
        """See `SingleRobot.signals`. No reward needs any."""
        return np.empty(0)

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """See `SingleRobot.render`. Green spheres are hidden goals."""
        return self._renderer.picture(width, height)

    def close(self) -> None:
        """See `SingleRobot.close`."""
        self._renderer.close()
        self._environment.close()

    def _move(self, displacement: Array, gripper: float) -> tuple[Array, bool]:
        """Step by `displacement` `(3,)` in metres and the gripper's command; never terminal."""
        self._environment.step(np.append(displacement / ACTION_LIMIT, gripper))
        return self._environment.observe(), False


class TabletopRobot(ArmRobot):
    """A `SingleRobot` over `fieldtune.sim.manipulation.simulators.tabletop.Tabletop`."""

    def __init__(self, arm: Arm, scene: Scene, start: Starts) -> None:
        """Args:
        arm: the robot.
        scene: what stands on its table.
        start: asked once at every reset.
        """
        super().__init__(Tabletop(arm, scene), VIEW)
        self._start = start

    def reset(self, seed: int, task: Array) -> Array:
        """See `SingleRobot.reset`."""
        self._environment.begin(self._start(seed, np.asarray(task, dtype=np.float64)))
        return self._environment.observe()

    def step(self, action: Array) -> tuple[Array, bool]:
        """See `SingleRobot.step`. `action` `(4,)`: metres, gripper; never terminal."""
        asked = np.asarray(action, dtype=np.float64)
        if asked.shape != (4,) or not np.isfinite(asked).all():
            raise ValueError(
                f"step: action is {asked}, expected 4 finite numbers: 3 in metres, the gripper's"
            )
        return self._move(asked[:3], asked[3])
