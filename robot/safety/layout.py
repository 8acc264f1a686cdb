"""Where each field's components are in a vector, and the error of limits that make no sense.

Knows field specifications. It must not know any limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.manifest import FieldSpec

Array = NDArray[np.float64]


class LimitsError(Exception):
    """Limits that contradict the robot or the bundle. Names the key, the value and the cure."""


class Layout:
    """A driver's observation or action fields, in order. `kind` is for errors."""

    def __init__(self, kind: str, fields: Sequence[FieldSpec]) -> None:
        self.kind = kind
        self.names = tuple(_component_names(fields))
        self.low, self.high = bounds(fields)
        self.units = {field.name: field.unit for field in fields}
        self._parts: dict[str, slice] = {}
        start = 0
        for field in fields:
            self._parts[field.name] = slice(start, start + field.width)
            start += field.width

    def find(self, rule: str, name: str) -> slice:
        """The components of field `name`, wanted by the config's `rule`."""
        if name in self._parts:
            return self._parts[name]
        raise unknown(f"robot.limits.{rule}", f"{self.kind} field", name, self._parts)


def unknown(key: str, what: str, name: str, known: Iterable[str]) -> LimitsError:
    """The error for a name that is none of `known`."""
    known = list(known)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return LimitsError(f"{key}: unknown {what} {name!r}: {hint}")


def bounds(fields: Sequence[FieldSpec]) -> tuple[Array, Array]:
    """Lowest and highest of each component."""
    low = np.array([value for field in fields for value in field.low])
    high = np.array([value for field in fields for value in field.high])
    return low, high


def _component_names(fields: Sequence[FieldSpec]) -> Iterable[str]:
    for field in fields:
        if field.width == 1:
            yield field.name
        else:
            yield from (f"{field.name}[{index}]" for index in range(field.width))
