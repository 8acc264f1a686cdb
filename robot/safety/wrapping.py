"""Angles that wrap: a joint that is at the same place again after a whole turn.

Pure functions of angles in rad. It must not know fields, configs, or what is limited.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

TURN = 2 * math.pi
GAP = 1e-3  # rad: bounds written as ±3.1416 or ±3.14159 are a whole turn
OVERLAP = 0.1  # of a turn: wider bounds count turns


@dataclass(frozen=True)
class Wrapping:
    """Which of a group's joints wrap, and the ends of each, infinite for none: `(joint,)` arrays.

    Of a joint with ends only how its angle is told wraps: an encoder from 0 to 360 degrees.
    """

    wraps: Flags
    low: Array
    high: Array

    @cached_property
    def lap(self) -> Array:
        """A whole turn where a joint wraps, else 0."""
        return np.where(self.wraps, TURN, 0.0)

    @cached_property
    def ended(self) -> Flags:
        return np.isfinite(self.low) & np.isfinite(self.high)

    @cached_property
    def centre(self) -> Array:
        """The middle between a joint's ends; 0 where it has none."""
        ends = np.where(self.ended, [self.low, self.high], 0.0)
        return ends.mean(axis=0)

    def way(self, there: Array, here: Array) -> Array:
        """How far `there` is from `here`, the short way round: never more than half a turn."""
        return short_way(there, here, self.lap)

    def placed(self, angles: Array) -> Array:
        """The same angles within half a turn of the middle between the ends."""
        return angles - self.lap * np.rint((angles - self.centre) / TURN)


def short_way(there: Array, here: Array, lap: Array) -> Array:
    """How far `there` is from `here`, the short way round where `lap` is `TURN`, not where it is
    0."""
    difference = there - here
    return difference - lap * np.rint(difference / TURN)


@dataclass(frozen=True)
class Targets:
    """Angles that joints may be told to turn to: `low/high` `(joint,)`, of those that wrap.

    Where they are a whole turn (`crosses`) the hardware takes the short way across their ends.
    Where they are more, hardware may count turns: what it is told then never jumps by a turn.
    """

    wrapping: Wrapping
    low: Array
    high: Array

    @cached_property
    def within_a_turn(self) -> Flags:
        return self.wrapping.wraps & (self.high - self.low <= (1 + OVERLAP) * TURN)

    @cached_property
    def crosses(self) -> Flags:
        return self.within_a_turn & (self.high - self.low >= TURN - GAP)

    def start(self, here: Array) -> Array:
        """Observed angles, told as commands tell them."""
        return np.where(self.within_a_turn, self.folded(here), here)

    def folded(self, angles: Array) -> Array:
        """Angles outside the bounds, by whole turns as near to them as they can be."""
        outside = (angles < self.low) | (angles > self.high)
        middle = (self.low + self.high) / 2
        turned = angles - self.wrapping.lap * np.rint((angles - middle) / TURN)
        return np.where(outside, turned, angles)

    def turns(self, wanted: Array, start: Array) -> Array:
        """Whole turns to add to `wanted`, within the bounds, for the way from `start` to go.

        That is the short way for a joint without ends, else the way between its ends. It leads
        across the bounds only where the hardware crosses them.
        """
        wrapping = self.wrapping
        inside = np.rint((start - wrapping.centre) / TURN)
        inside -= np.rint((wanted - wrapping.centre) / TURN)
        turns = np.where(wrapping.ended, inside, np.rint((start - wanted) / TURN))
        fewest = np.ceil((self.low - wanted) / TURN)
        most = np.floor((self.high - wanted) / TURN)
        held = np.minimum(np.maximum(turns, fewest), most)
        return np.where(wrapping.wraps, np.where(self.crosses, turns, held), 0.0)
