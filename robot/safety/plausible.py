"""How far an observation may be from anything that training saw, where nothing else bounds it.

Pure functions of fields. It must not know the model, the config or the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.safety.layout import bounds
from fieldtune.robot.safety.units import of_one

Array = NDArray[np.float64]

FARTHEST = 1e9  # in whatever unit: networks and their training compute in float32
TIMES = 10


def plausible(fields: Sequence[FieldSpec], seen: Sequence[FieldSpec] | None) -> tuple[Array, Array]:
    """Lowest and highest plausible value of each component, infinite where nothing is known.

    That is ten times the largest magnitude that training saw in the whole field, or ten rad, m,
    rad/s, m/s, N m or N (ten of any other unit) where that is more: a joint that hardly moved in
    the data may move on the robot.

    Args:
        fields: the robot's observation fields.
        seen: the same fields with the data's own range in the place of bounds.
    """
    if seen is None:
        low, high = bounds(fields)
        return np.full_like(low, -np.inf), np.full_like(high, np.inf)
    reach = np.concatenate(
        [
            np.full(field.width, TIMES * max(of_one(field.unit), *map(abs, data.low + data.high)))
            for field, data in zip(fields, seen, strict=True)
        ]
    )
    return -reach, reach
