"""What of an observation and of an action can be seen in space, by the names and units of fields.

Pure functions of fields; must not know the viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fieldtune.export.manifest import FieldSpec

_METRES = {"m": 1.0, "mm": 1e-3}


@dataclass(frozen=True)
class Place:
    """A point: three components of the observation from `start` on, times `factor` in metres."""

    name: str
    start: int
    factor: float


@dataclass(frozen=True)
class Push:
    """An action that points somewhere: three components from `start` on, at the place `at`."""

    name: str
    start: int
    factor: float
    at: Place


def places(fields: Sequence[FieldSpec]) -> list[Place]:
    """Fields three wide in m or mm whose name ends in `position`: `end_effector_position`."""
    found, start = [], 0
    for field in fields:
        if field.width == 3 and field.unit in _METRES and field.name.endswith("position"):
            found.append(Place(field.name, start, _METRES[field.unit]))
        start += field.width
    return found


def pushes(action: Sequence[FieldSpec], observation: Sequence[FieldSpec]) -> list[Push]:
    """Action fields three wide in m, mm or these a second, whose name begins as a place's does:
    `end_effector_displacement` is drawn at `end_effector_position`."""
    by_prefix = {place.name.rpartition("_")[0]: place for place in places(observation)}
    found, start = [], 0
    for field in action:
        at = by_prefix.get(field.name.rpartition("_")[0])
        unit = field.unit.removesuffix("/s")
        if at is not None and field.width == 3 and unit in _METRES:
            found.append(Push(field.name, start, _METRES[unit], at))
        start += field.width
    return found
