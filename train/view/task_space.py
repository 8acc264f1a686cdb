"""z drawn in the task's own space: a velocity, a direction, a place; by the training tasks of a
run, whose z a bundle knows, and whose parameters the data do.

Arithmetic on arrays and a look at a dataset; must not know the viewer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.manifest import Manifest
from fieldtune.robot.view.belief_space import Space
from fieldtune.sim.family import Array, Field
from fieldtune.train.evaluation.task_map import TaskMap, turns

Floats = NDArray[np.float64]


def task_space(manifest: Manifest, tasks: Array, fields: tuple[Field, ...]) -> Space | None:
    """Where a z of this bundle lies among tasks; None where the tasks are not those it was made
    with, or have too many parameters to be drawn.

    Args:
        manifest: of the bundle, whose task embeddings are of `tasks` in their order.
        tasks: training tasks, `(task, parameter)`.
        fields: what the parameters are.
    """
    embeddings = np.array(manifest.task_embeddings)
    turning = tuple(turns(field) for field in fields for _ in range(field.width))
    if len(embeddings) != len(tasks) or len(turning) > 3 or (any(turning) and len(turning) > 1):
        return None
    directional = any(turning)
    known = TaskMap(embeddings, tasks, turning, nearest=min(len(tasks), len(turning) + 1))

    def place(z: Floats) -> Floats:
        found = known(z)
        if directional:
            angle = np.deg2rad(found[:, 0])
            return np.stack([np.cos(angle), np.sin(angle)], axis=1)
        if found.shape[1] == 1:
            return np.column_stack([found, np.zeros(len(found))])
        return found

    size = float(np.ptp(place(embeddings), axis=0).max()) or 1.0
    says = ", ".join(f"{field.name}, {field.unit}" for field in fields)
    return Space(place, size, says)
