"""The task-family contract: what every simulated family declares and can do.

Holds types, and what most families answer alike. A family knows its own physics and reward; it does
not know how policies are trained, stored or run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError

Array = NDArray[np.float64]
Truths = NDArray[np.bool_]

SPLIT_SEED = 20220717
# Of held-out tasks. A new one is drawn where settings were chosen on the ones before
# (docs/settings.md says when, and how often each was looked at).
HELD_OUT_SEED = 20261126
SEED = "seed"  # unit of a task's parameter that draws where episodes start; no reward depends on it


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

    @staticmethod
    def unbounded(name: str, unit: str, width: int = 1) -> Field:
        """A field that may take any value.

        Args:
            name: of the field.
            unit: of every component.
            width: number of components.
        """
        return Field(name, unit, (-float("inf"),) * width, (float("inf"),) * width)

    @property
    def width(self) -> int:
        return len(self.low)


def width(fields: tuple[Field, ...]) -> int:
    """Total number of components over `fields`."""
    return sum(field.width for field in fields)


def rewarded(task_fields: tuple[Field, ...]) -> Truths:
    """Which parameters of a task its reward depends on, `(parameter,)`: all that are no seed."""
    return np.array([field.unit != SEED for field in task_fields for _ in range(field.width)])


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

    @staticmethod
    def drawn(sample_tasks: Callable[[int, int], Array], *, train: int, test: int) -> TaskSplit:
        """A fixed split, the same in every release, where the reference published none.

        Args:
            sample_tasks: a family's own.
            train: how many tasks to train on.
            test: how many to hold out, drawn apart from them.
        """
        return TaskSplit(sample_tasks(SPLIT_SEED, train), sample_tasks(HELD_OUT_SEED, test))


class MissingSignals(ValueError):
    """A reward was asked for without what it is computed from. The message names the signals."""


class LabelsAlone(UserError, NotImplementedError):
    """A family of labelled data was asked to move or to pay. The message says what it can do."""


def require_signals(name: str, fields: tuple[Field, ...], signals: Array | None) -> Array:
    """`signals` as they were given, once it is certain that a reward can be computed from them.

    Args:
        name: of the family, for the error.
        fields: the family's `signal_fields`.
        signals: `(..., signal)`.

    Raises:
        MissingSignals: there are none, or not as many as `fields` say.
    """
    if signals is None or signals.shape[-1] != width(fields):
        listed = ", ".join(f"{field.name} ({field.width}, {field.unit})" for field in fields)
        found = "none" if signals is None else f"{signals.shape[-1]} numbers a transition"
        raise MissingSignals(
            f"{name}: the reward needs signals that no observation shows: {listed}; got {found}: "
            "pass those that were recorded with the transitions"
        )
    return signals


class BatchSimulator(Protocol):
    """Many independent copies of one family's simulation, stepped together.

    Copy `i` starts from a state that depends only on `seeds[i]`, so a result does not depend on
    how copies were grouped into batches. Other simulators of the process may be stepped at the same
    time, in other threads.
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

    def signals(self) -> Array:
        """What was measured over the last step, `(env, signal)`, as `TaskFamily.signal_fields`.

        Of a copy that had terminated before, and before any step, it says nothing.
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

    def signals(self) -> Array:
        """What was measured over the last step, `(signal,)`; see `BatchSimulator.signals`."""
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
    def signal_fields(self) -> tuple[Field, ...]:
        """What the reward needs of a transition that (s, a, s') do not hold; often empty.

        Measured by the simulator or by the robot's own sensors and kept with the data, so that they
        can be labelled for any task. No network ever sees a signal.
        """
        ...

    @property
    def dynamics_vary(self) -> bool:
        """Whether a task changes how s' follows from (s, a): then the context must hold s'."""
        ...

    @property
    def sparse_reward(self) -> bool:
        """Whether every reward is 0, in a state that is success, or −1, in any other."""
        ...

    @property
    def reward_bounds(self) -> tuple[float, float]:
        """The least and the most that a transition can pay; infinite where nothing bounds it."""
        ...

    @property
    def success_reward(self) -> float | None:
        """An episode succeeded if its last step paid this much or more; None where nothing says
        what success is."""
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
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,
    ) -> Array:
        """Reward of each transition. Leading dimensions broadcast; the last is the feature.

        Any data can thus be labelled for any task, and a robot's log scored offline. Where tasks
        change the dynamics too, a relabelled reward is that of a transition of the *other* task.

        Args:
            observation, next_observation: `(..., observation)`, before and after the action.
            action: `(..., action)`, in physical units.
            task: `(..., parameter)`.
            signals: `(..., signal)`, recorded with the transitions; None where `signal_fields` is
                empty.

        Returns:
            `(...,)`.

        Raises:
            MissingSignals: the family has `signal_fields`, and `signals` are not given.
        """
        ...

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator: ...

    def single_robot(self) -> SingleRobot: ...


class FamilyDefaults:
    """What most families say: no signals, the same dynamics for all tasks, no sparse reward, and
    neither bounds of rewards that are not, nor success.

    Attributes:
        scripted: what makes the family's scripted data, `module` or `module:attribute`
            (`fieldtune.sim.scripted`); None where its data come from an agent.
        in_pictures: a sentence on what pictures of the robot show besides it.
    """

    scripted: ClassVar[str | None] = None
    in_pictures: ClassVar[str] = ""

    @property
    def signal_fields(self) -> tuple[Field, ...]:
        return ()

    @property
    def dynamics_vary(self) -> bool:
        return False

    @property
    def sparse_reward(self) -> bool:
        return False

    @property
    def reward_bounds(self) -> tuple[float, float]:
        return (-1.0, 0.0) if self.sparse_reward else (-float("inf"), float("inf"))

    @property
    def success_reward(self) -> float | None:
        return 0.0 if self.sparse_reward else None
