"""One joint of a robot's model, and numbers as its files write them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fieldtune.robot.safety.models.xml_tree import ModelError


@dataclass(frozen=True)
class JointModel:
    """One hinge or slide. Units: rad or m, per second, N m or N; infinite where nothing is said."""

    name: str
    rotates: bool
    low: float = -math.inf
    high: float = math.inf
    velocity: float = math.inf
    effort_low: float = -math.inf
    effort_high: float = math.inf

    @property
    def endless(self) -> bool:
        """Whether it turns as far as one likes: URDF's `continuous`, MJCF's hinge without range."""
        return self.rotates and self.low == -math.inf and self.high == math.inf


def numbers(text: str, key: str, *counts: int) -> list[float]:
    """The finite numbers of an attribute. `key` says where it is, for errors.

    Raises `ModelError` unless there are as many as one of `counts` says.
    """
    try:
        found = [float(word) for word in text.split()]
    except ValueError:
        found = [math.nan]
    if len(found) not in counts or not all(math.isfinite(value) for value in found):
        wanted = " or ".join(map(str, counts))
        raise ModelError(f"{key} is {text[:80]!r}: expected {wanted} finite numbers")
    return found
