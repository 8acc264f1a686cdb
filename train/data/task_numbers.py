"""Tasks as numbers that are near where tasks are alike, and which of them are the same.

Pure functions of a family's task fields. Knows nothing of data or learning.
"""

from __future__ import annotations

import numpy as np

from fieldtune.sim.family import Array, TaskFamily, TaskSplit

FULL_TURN = 360.0
SAME = 1e-9  # of a parameter's range


def unwound(family: TaskFamily, tasks: Array) -> Array:
    """Tasks `(task, parameter)` as numbers that are near where tasks are alike.

    A direction on a full turn becomes its cosine and sine: 1° and 359° are neighbours.
    """
    columns: list[Array] = []
    ranges = [
        (f.unit, high - low)
        for f in family.task_fields
        for low, high in zip(f.low, f.high, strict=True)
    ]
    for (unit, reach), values in zip(ranges, tasks.T, strict=True):
        if unit == "degrees" and reach == FULL_TURN:
            columns += [np.cos(np.deg2rad(values)), np.sin(np.deg2rad(values))]
        else:
            columns.append(values)
    return np.stack(columns, axis=-1)


def in_both(family: TaskFamily, tasks: TaskSplit) -> tuple[int, int] | None:
    """A training task and a held-out one, by index, that are the same task; None of none."""
    if not (len(tasks.train) and len(tasks.test)):
        return None
    train, test = unwound(family, tasks.train), unwound(family, tasks.test)
    every = np.concatenate([train, test])
    span = every.max(axis=0) - every.min(axis=0)
    alike = (np.abs(train[:, None] - test[None]) <= SAME * span).all(axis=-1)
    found = np.argwhere(alike)
    return None if not len(found) else (int(found[0, 0]), int(found[0, 1]))
