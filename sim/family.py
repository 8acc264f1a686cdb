"""The task-family contract: what every simulated family declares and can do.

Holds the types only. A family knows its own physics and reward; it does not know how policies are
trained, stored or run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Field:
    """One named, ordered group of numbers in an observation or an action.

    `low` and `high` have one entry per component; infinite where the quantity is unbounded.
    """

    name: str
    unit: str
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high):
            raise ValueError(
                f"field {self.name!r}: {len(self.low)} lower bounds but {len(self.high)} upper ones"
            )

    @property
    def width(self) -> int:
        return len(self.low)


def width(fields: tuple[Field, ...]) -> int:
    """Total number of components over `fields`."""
    return sum(field.width for field in fields)


def bounds(fields: tuple[Field, ...]) -> tuple[Array, Array]:
    """Concatenated lower and upper bounds, each `(component,)`."""
    low = np.array([value for field in fields for value in field.low])
    high = np.array([value for field in fields for value in field.high])
    return low, high


@dataclass(frozen=True)
class TaskSplit:
    """Task parameters, each `(task, parameter)`: those trained on and those held out."""

    train: Array
    test: Array


class BatchSimulator(Protocol):
    """Many independent copies of one family's simulation, stepped together.

    Copy `i` starts from a state that depends only on `seeds[i]`, so a result does not depend on
    how copies were grouped into batches.
    """

    n_envs: int

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:
        """Start an episode in every copy.

        Args:
            seeds: `(env,)`, one start state each.
            tasks: `(env, parameter)`; only families whose *dynamics* vary look at them.

        Returns:
            Observations `(env, observation)`.
        """
        ...

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Advance every copy by one control period.

        Returns:
            Next observations `(env, observation)`, and whether each copy reached a *terminal*
            state. Reaching the horizon is not terminal. A terminated copy keeps its last
            observation until the next `reset`.
        """
        ...

    def close(self) -> None:
        """Free the physics states. The simulator cannot be used afterwards."""
        ...


class SingleRobot(Protocol):
    """One robot in the family's reference environment: what the `sim` driver stands in with."""

    def reset(self, seed: int, task: Array) -> Array:
        """Bring the robot to a start state; return its observation `(observation,)`."""
        ...

    def step(self, action: Array) -> tuple[Array, bool]:
        """Apply one action for one control period; return the observation and `terminated`."""
        ...

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """An RGB picture `(height, width, 3)`."""
        ...

    def close(self) -> None: ...


class TaskFamily(Protocol):
    """A set of tasks that share a robot, an observation and an action."""

    @property
    def name(self) -> str: ...

    @property
    def robot(self) -> str:
        """The robot's model, e.g. `sawyer`."""
        ...

    @property
    def observation_fields(self) -> tuple[Field, ...]: ...

    @property
    def action_fields(self) -> tuple[Field, ...]: ...

    @property
    def task_fields(self) -> tuple[Field, ...]:
        """What one task's parameters are, with the range they are drawn from."""
        ...

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        ...

    @property
    def period_s(self) -> float:
        """Control period in seconds."""
        ...

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` tasks, `(n, parameter)`. Depends on `seed` alone."""
        ...

    def split(self) -> TaskSplit:
        """The family's fixed training and held-out tasks."""
        ...

    def reward(
        self, observation: Array, action: Array, next_observation: Array, task: Array
    ) -> Array:
        """Reward of each transition. Leading dimensions broadcast; the last is the feature.

        Any data can thus be labelled for any task, and a robot's log scored offline.
        """
        ...

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator: ...

    def single_robot(self) -> SingleRobot: ...
