"""What scripts do with things on the table: pick up and put down, press, pull open.

Each skill is a script; it holds still when it is done. It knows no task and no reward.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fieldtune.sim.family import Array
from fieldtune.sim.manipulation.fixtures import KINDS
from fieldtune.sim.manipulation.scripts.script import (
    CLOSE,
    OPEN,
    Movement,
    Script,
    Seen,
    Wish,
    above,
    at,
    go,
    wait,
)

CLEAR = 0.13  # m above the table: over everything that stands there
GRIPPED = 8  # control periods to close the fingers on a block
HOOK = 0.02  # m from the middle of a handle's gap to where a finger pulls
LEADS = {"drawer": 0.05, "door": 0.4}  # how far ahead of the handle the hand aims


def put(seen: Seen, block: str, target: Callable[[Seen], Array], table: float) -> Script:
    """Put a block down with its centre at a point; once more where it slips.

    Args:
        seen: the first observation.
        block: its name.
        target: the point `(3,)`, in metres in the base frame, as it is seen at each step.
        table: the table's height, in metres in the base frame.
    """
    name, high = f"{block}_position", table + CLEAR
    while True:
        seen = yield from over(seen, lambda now: now.fields[name], high, OPEN)
        seen = yield from go(seen, lambda now: now.fields[name], OPEN, near=0.012, at_most=14)
        seen = yield from wait(seen, CLOSE, GRIPPED)
        seen = yield from go(seen, at(above(seen.hand, high)), CLOSE, near=0.03, at_most=12)
        if np.linalg.norm(seen.fields[name] - seen.hand) > 0.05:
            continue
        seen = yield from over(seen, target, high, CLOSE)
        seen = yield from go(seen, target, CLOSE, near=0.012, at_most=12)
        seen = yield from wait(seen, OPEN, 5)
        seen = yield from go(seen, at(above(seen.hand, high)), OPEN, near=0.03, at_most=12)
        while np.linalg.norm(seen.fields[name][:2] - target(seen)[:2]) < 0.04:
            seen = yield Wish(np.zeros(3), OPEN)


def press(seen: Seen, button: str, table: float) -> Script:
    """Press a button all the way, with closed fingers.

    Args:
        seen: the first observation.
        button: its name.
        table: the table's height, in metres in the base frame.
    """
    top, pressed = f"{button}_top", f"{button}_pressed"
    travel = KINDS["button"].travel
    while True:
        seen = yield from over(seen, lambda now: now.fields[top], table + CLEAR, CLOSE)
        while seen.fields[pressed][0] < 0.95 * travel and _beside(seen, seen.fields[top]) < 0.03:
            seen = yield Wish(seen.fields[top] + (0.0, 0.0, -0.02) - seen.hand, CLOSE)
        while seen.fields[pressed][0] >= 0.85 * travel:
            seen = yield from go(seen, at(above(seen.hand, table + CLEAR)), CLOSE, at_most=10)
            seen = yield Wish(np.zeros(3), CLOSE)


def pull(seen: Seen, name: str, kind: str, opening: float, table: float) -> Script:
    """Pull a drawer or a door open as far as asked, with closed fingers behind its handle.

    Args:
        seen: the first observation.
        name: of the thing.
        kind: `drawer` or `door`.
        opening: how far, in metres of a drawer, in radians of a door.
        table: the table's height, in metres in the base frame.
    """
    handle, value = f"{name}_handle", f"{name}_opening"
    offset, lead = KINDS[kind].offset, LEADS[kind]

    def ahead(now: Seen) -> Array:
        """Where the handle will be a little further on, and the finger that pulls it there."""
        so_far = now.fields[value][0]
        aim = np.asarray(min(so_far + lead, opening))
        way = offset(aim + 0.01) - offset(aim)
        place = now.fields[handle] - offset(np.asarray(so_far)) + offset(aim)
        return np.asarray(place + HOOK * way / np.linalg.norm(way))

    while True:
        if seen.fields[value][0] < 0.97 * opening:
            seen = yield from over(seen, lambda now: now.fields[handle], table + CLEAR, CLOSE)
            seen = yield from go(
                seen, lambda now: now.fields[handle], CLOSE, near=0.012, at_most=15
            )
            for _ in range(40):
                if (
                    seen.fields[value][0] >= 0.97 * opening
                    or _beside(seen, seen.fields[handle]) > 0.06
                ):
                    break
                seen = yield Wish(ahead(seen) - seen.hand, CLOSE)
        else:
            seen = yield from go(seen, at(above(seen.hand, table + CLEAR)), CLOSE, at_most=12)
            while seen.fields[value][0] >= 0.9 * opening:
                seen = yield Wish(np.zeros(3), CLOSE)


def over(seen: Seen, point: Callable[[Seen], Array], height: float, gripper: float) -> Movement:
    """Up first, where something is in the way, then to over a point.

    Args:
        seen: what is seen now.
        point: `(3,)` m in the base frame, as it is seen at each step; its own height is left aside.
        height: of the hand over it, in metres in the base frame.
        gripper: `OPEN` or `CLOSE`.
    """
    if seen.hand[2] < height - 0.04 and _beside(seen, point(seen)) > 0.03:
        seen = yield from go(seen, at(above(seen.hand, height)), gripper, near=0.03, at_most=12)
    return (
        yield from go(seen, lambda now: above(point(now), height), gripper, near=0.015, at_most=35)
    )


def _beside(seen: Seen, point: Array) -> float:
    return float(np.linalg.norm(seen.hand[:2] - point[:2]))
