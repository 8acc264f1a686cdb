"""Points that are moved about, many at once, and one that draws itself.

Knows how far an action moves; no tasks, but to draw one, and no reward.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array

WHITE, INK, GREEN, PATH = (255, 255, 255), (28, 32, 38), (0, 158, 115), (152, 161, 173)
RADIUS = 0.06  # m, of the point as it is drawn


class Points:
    """Implements `fieldtune.sim.family.BatchSimulator`: the action is added, clipped to ±`step`.

    Every episode starts at the origin, whatever the seed; none ends before its horizon.
    """

    def __init__(self, n_envs: int, step: float) -> None:
        self.n_envs, self._most = n_envs, step
        self._position = np.zeros((n_envs, 2))

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:  # noqa: ARG002
        """See `BatchSimulator.reset`."""
        self._position = np.zeros((self.n_envs, 2))
        return self._position.copy()

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """See `BatchSimulator.step`."""
        self._position = self._position + np.clip(actions, -self._most, self._most)
        return self._position.copy(), np.zeros(self.n_envs, dtype=np.bool_)

    def signals(self) -> Array:
        """See `BatchSimulator.signals`: none."""
        return np.zeros((self.n_envs, 0))

    def close(self) -> None:
        """Nothing is held."""


class DrawnPoint:
    """Implements `fieldtune.sim.family.SingleRobot`.

    Args:
        step: as of `Points`.
        reached: radius of the ring that is drawn round the goal, m.
        furthest: half the side of what is drawn, m.
    """

    def __init__(self, step: float, reached: float, furthest: float) -> None:
        self._points = Points(1, step)
        self._reached, self._furthest = reached, furthest
        self._goal, self._path = np.zeros(2), [np.zeros(2)]

    def reset(self, seed: int, task: Array) -> Array:
        """See `SingleRobot.reset`."""
        self._goal = np.array(task)
        start = self._points.reset(np.array([seed]), task[None])[0]
        self._path = [start]
        return start.copy()

    def step(self, action: Array) -> tuple[Array, bool]:
        """See `SingleRobot.step`."""
        position = self._points.step(action[None])[0][0]
        self._path.append(position)
        return position.copy(), False

    def signals(self) -> Array:
        """See `SingleRobot.signals`: none."""
        return self._points.signals()[0]

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """See `SingleRobot.render`: seen from above, x to the right and y up; the goal in green."""
        scale = 2 * self._furthest / min(width, height)  # m a pixel
        x = (np.arange(width) + 0.5 - width / 2) * scale
        y = (height / 2 - np.arange(height) - 0.5) * scale
        picture = np.full((height, width, 3), WHITE, np.uint8)

        def away(place: Array) -> Array:
            return np.hypot(x[None, :] - place[0], y[:, None] - place[1])

        for place in self._path:
            picture[away(place) <= max(RADIUS / 3, scale)] = PATH
        picture[np.abs(away(self._goal) - self._reached) <= max(RADIUS / 3, scale)] = GREEN
        picture[away(self._path[-1]) <= max(RADIUS, scale)] = INK
        return picture

    def close(self) -> None:
        """Nothing is held."""
