"""How a script moves a hand: coroutines that are sent what is seen and yield what to do.

Holds the movements that scripts are made of. It knows no simulator, no task and no data set.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np

from fieldtune.sim.family import Array


class Seen(NamedTuple):
    """The end effector's position `(3,)`, and the other fields of an observation by name."""

    hand: Array
    fields: dict[str, Array]


class Wish(NamedTuple):
    """A displacement that would bring the hand where it should be, `(3,)` m, and the gripper."""

    gap: Array
    gripper: float


OPEN, CLOSE = -0.7, 0.7  # any number of that sign does; room for noise to show
Script = Generator[Wish, Seen, None]
Movement = Generator[Wish, Seen, Seen]


def go(
    seen: Seen,
    aim: Callable[[Seen], Array],
    gripper: float,
    near: float = 0.015,
    at_most: int = 30,
) -> Movement:
    """Move the hand to a point that may move itself.

    Args:
        seen: what is seen now.
        aim: the point `(3,)`, in metres in the base frame, as it is seen at each step.
        gripper: `OPEN` or `CLOSE`.
        near: end within this distance of the point, in metres.
        at_most: end after this many steps anyway.
    """
    for _ in range(at_most):
        gap = aim(seen) - seen.hand
        if np.linalg.norm(gap) < near:
            break
        seen = yield Wish(gap, gripper)
    return seen


def wait(seen: Seen, gripper: float, steps: int) -> Movement:
    """Stay in place, working the gripper.

    Args:
        seen: what is seen now; the hand stays where it is.
        gripper: `OPEN` or `CLOSE`.
        steps: for how long.
    """
    place = seen.hand
    for _ in range(steps):
        seen = yield Wish(place - seen.hand, gripper)
    return seen


def wander(seen: Seen, table: float, rng: np.random.Generator) -> Script:
    """Go to one point over the table after another, opening and closing as it happens.

    Args:
        seen: the first observation.
        table: the table's height, in metres in the base frame.
        rng: of points and gripper.
    """
    while True:
        point = np.append(rng.uniform((0.4, -0.22), (0.74, 0.22)), table + rng.uniform(0.02, 0.2))
        gripper = OPEN if rng.random() < 0.5 else CLOSE
        seen = yield from go(seen, at(point), gripper, at_most=20)
        seen = yield Wish(np.zeros(3), gripper)


def at(point: Array) -> Callable[[Seen], Array]:
    """Aim at a fixed point `(3,)`."""
    return lambda _: point


def above(point: Array, height: float) -> Array:
    """`point` `(3,)` with another height (m, base frame)."""
    return np.array([point[0], point[1], height])
