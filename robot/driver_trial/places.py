"""Whether a robot stayed where it was, as far as its observation shows places.

Pure functions of fields and of what was read. It must not know what was commanded, nor why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.safety.joints import JointLimits
from fieldtune.robot.safety.layout import Layout
from fieldtune.robot.safety.units import UNITS
from fieldtune.robot.safety.wrapping import TURN, short_way

Array = NDArray[np.float64]

ANGLE, LENGTH = 0.03, 0.01  # rad, m: as far as an arm sinks in its position controllers
NOISY = 10.0  # times the usual difference of two readings, which 20 tell roughly
TOLD = 0.1  # of what is allowed: worth a note


class Moved(Exception):
    """The robot did not stay where it was. The message says what moved, and how far."""


@dataclass(frozen=True)
class Places:
    """The components of an observation that are places; value × `factor` is in rad or m.

    `allowed` is how far each may move, in rad or m, `lap` a whole turn where it is an angle, which
    is compared the short way round, else 0: `(place,)`.
    """

    names: tuple[str, ...]
    index: NDArray[np.int64]
    factor: Array
    allowed: Array
    lap: Array

    def noise(self, readings: Sequence[Array]) -> Array:
        """The usual difference of two readings one after the other: `(place,)`, in rad or m."""
        if len(readings) < 2:
            return np.zeros(len(self.names))
        rows = np.array(readings)[:, self.index] * self.factor
        return np.median(np.abs(self._way(rows[1:], rows[:-1])), axis=0)

    def left(self, readings: Sequence[Array], noise: Array) -> str:
        """What has moved further than it may, between the first reading and the last."""
        return self._said(readings, noise, self.allowed)

    def sank(self, readings: Sequence[Array], noise: Array) -> str:
        """What has moved at all, between the first reading and the last."""
        return self._said(readings, noise, TOLD * self.allowed)

    def _said(self, readings: Sequence[Array], noise: Array, allowed: Array) -> str:
        if not readings or not self.names:
            return ""
        first, last = readings[0][self.index], readings[-1][self.index]
        moved = np.abs(self._way(last * self.factor, first * self.factor))
        beyond = moved - np.maximum(allowed, NOISY * noise)
        if not (beyond > 0).any():
            return ""
        worst = int(np.argmax(beyond))
        return (
            f"it did not stay where it was: {self.names[worst]} was {first[worst]:.4g} and is "
            f"{last[worst]:.4g} {len(readings) - 1} cycles later"
        )

    def _way(self, there: Array, here: Array) -> Array:
        with np.errstate(invalid="ignore"):  # infinities, which are told elsewhere
            return short_way(there, here, self.lap)


def places_of(fields: Sequence[FieldSpec], joints: Iterable[JointLimits]) -> Places:
    """The positions of joints; where no joints show any, whatever is measured as a place is."""
    told = [group.position.part for group in joints if group.position is not None]
    components = Layout("observation", fields).names
    known = np.zeros(len(components), dtype=bool)
    for part in told:
        known[part] = True
    names, index, factors, allowed, laps, at = [], [], [], [], [], 0
    for field in fields:
        unit = UNITS["position"].get(field.unit)
        for _ in range(field.width):
            if unit is not None and (known[at] or not told):
                rotates, factor = unit
                names.append(components[at])
                index.append(at)
                factors.append(factor)
                allowed.append(ANGLE if rotates else LENGTH)
                laps.append(TURN if rotates else 0.0)
            at += 1
    return Places(
        tuple(names),
        np.array(index, dtype=np.int64),
        np.array(factors),
        np.array(allowed),
        np.array(laps),
    )
