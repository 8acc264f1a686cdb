"""How to push a block: go over it to its far side, come down, push; start over where it slips."""

from __future__ import annotations

import numpy as np

from fieldtune.sim.family import Array
from fieldtune.sim.manipulation.scripts.script import (
    CLOSE,
    Movement,
    Script,
    Seen,
    Wish,
    above,
    at,
    go,
)

OVER = 0.08  # m above the table, clear of the block
LOW = 0.022  # m above the table
BEHIND = 0.065  # m from the block's centre
THERE = 0.015  # m from the goal, done
LOST = 0.035  # m off the line from the block to the goal: go round again


def push(seen: Seen, goal: Array, table: float) -> Script:
    """Push the block to the goal, with closed fingers, until it is there; then let be.

    Args:
        seen: the first observation.
        goal: `(2,)` m in the base frame.
        table: the table's height, in metres in the base frame.
    """
    over, low = table + OVER, table + LOW
    while True:
        if _left(seen, goal) > THERE:
            seen = yield from _round(seen, goal, over, low)
            seen = yield from _forwards(seen, goal, low)
        else:
            seen = yield Wish(np.zeros(3), CLOSE)


def _block(seen: Seen) -> Array:
    return seen.fields["block_position"]


def _left(seen: Seen, goal: Array) -> float:
    return float(np.linalg.norm(goal - _block(seen)[:2]))


def _direction(seen: Seen, goal: Array) -> Array:
    way = goal - _block(seen)[:2]
    return way / max(float(np.linalg.norm(way)), 1e-6)


def _behind(seen: Seen, goal: Array, height: float) -> Array:
    place = _block(seen)[:2] - BEHIND * _direction(seen, goal)
    return np.array([place[0], place[1], height])


def _round(seen: Seen, goal: Array, over: float, low: float) -> Movement:
    """Over the block, then down behind it."""
    if seen.hand[2] < over - 0.02:
        seen = yield from go(seen, at(above(seen.hand, over)), CLOSE, near=0.02, at_most=8)
    seen = yield from go(seen, lambda now: _behind(now, goal, over), CLOSE, near=0.02, at_most=15)
    return (yield from go(seen, lambda now: _behind(now, goal, low), CLOSE, near=0.015, at_most=10))


def _forwards(seen: Seen, goal: Array, low: float) -> Movement:
    """Push along the line until the block is there or no longer in front of the hand."""
    for _ in range(40):
        if _left(seen, goal) < THERE:
            break
        way = _direction(seen, goal)
        from_block = seen.hand[:2] - _block(seen)[:2]
        aside = from_block - way * float(from_block @ way)
        if np.linalg.norm(aside) > LOST or from_block @ way > 0.01:
            break
        step = way * min(0.05, _left(seen, goal) + 0.01) - 1.0 * aside
        seen = yield Wish(np.array([step[0], step[1], low - seen.hand[2]]), CLOSE)
    return seen
