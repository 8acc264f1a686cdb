"""Tasks drawn within the bounds of their parameters, for families that say no more of them.

Knows fields and seeds; no robot.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fieldtune.errors import UserError
from fieldtune.sim.family import Array, Field, TaskSplit, bounds


class NoBounds(UserError, ValueError):
    """There is nothing to draw tasks within. The message names the family and the cure."""


class DrawnTasks:
    """What draws tasks uniformly, and splits them by seeds that never change.

    Attributes:
        name: of the family.
        task_fields: what a task's parameters are; bounds finite.
        tasks: how many tasks are trained on, and how many held out.
    """

    name: ClassVar[str]
    task_fields: ClassVar[tuple[Field, ...]]
    tasks: ClassVar[tuple[int, int]] = (40, 10)

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` tasks `(n, parameter)`. Raises `NoBounds`."""
        low, high = bounds(self.task_fields)
        if not np.isfinite([low, high]).all():
            raise NoBounds(
                f"{self.name}: task_fields have no finite bounds to draw tasks within: give them, "
                "or a sample_tasks(seed, n)"
            )
        return np.random.default_rng(seed).uniform(low, high, (n, len(low)))

    def split(self) -> TaskSplit:
        """As many tasks to train on and to hold out as `tasks` says."""
        train, test = self.tasks
        return TaskSplit.drawn(self.sample_tasks, train=train, test=test)
