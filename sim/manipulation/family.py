"""What every family of tasks on the table declares in the same way.

A family adds its scene, its tasks, where an episode starts, its reward and its script. It is
described without loading mujoco or robosuite: those are imported when a simulator is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from fieldtune.sim.family import (
    Array,
    BatchSimulator,
    FamilyDefaults,
    Field,
    SingleRobot,
    TaskSplit,
    Truths,
)
from fieldtune.sim.manipulation.arms import Arm, arm
from fieldtune.sim.manipulation.scene import Scene, Start, observation_fields
from fieldtune.sim.manipulation.scripts.script import Script, Seen
from fieldtune.sim.manipulation.variation import NOTHING, Variation

TABLE_CENTRE = (0.56, 0.0)  # x, y in the base frame


@dataclass(frozen=True)
class ManipulationFamily(FamilyDefaults, ABC):
    """An arm over a scene; reward 0 in a state that is success, −1 in every other."""

    robot: str = "sawyer"
    variation: Variation = NOTHING

    scripted: ClassVar[str | None] = "fieldtune.sim.manipulation.scripted"

    def __post_init__(self) -> None:
        arm(self.name, self.robot)
        self.variation.noise(self.observation_fields)

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    @abstractmethod
    def scene(self) -> Scene:
        """What stands on the table, the same for every task."""

    @property
    @abstractmethod
    def task_fields(self) -> tuple[Field, ...]: ...

    @property
    @abstractmethod
    def horizon(self) -> int: ...

    @abstractmethod
    def sample_tasks(self, seed: int, n: int) -> Array: ...

    @abstractmethod
    def start(self, seed: int, task: Array) -> Start:
        """Where the episode of `seed` starts; both simulators ask."""

    @abstractmethod
    def success(self, observation: Array, task: Array) -> Truths:
        """Whether a state is success, boolean; leading dimensions broadcast."""

    @abstractmethod
    def script(self, seen: Seen, task: Array) -> Script:
        """A way to do `task` `(parameter,)` from what is first `seen`."""

    @abstractmethod
    def other_task(self, task: Array, rng: np.random.Generator) -> Array:
        """A task that could be meant in the very same scene instead of `task`, `(parameter,)`."""

    @property
    def arm(self) -> Arm:
        return arm(self.name, self.robot)

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return observation_fields(self.arm, self.scene)

    @property
    def action_fields(self) -> tuple[Field, ...]:
        return (
            Field("end_effector_displacement", "m", (-0.05,) * 3, (0.05,) * 3),
            Field("gripper_command", "normalised", (-1.0,), (1.0,)),
        )

    @property
    def sparse_reward(self) -> bool:
        return True

    @property
    def period_s(self) -> float:
        return 0.05

    def split(self) -> TaskSplit:
        """50 training and 10 held-out tasks, fixed."""
        return TaskSplit.drawn(self.sample_tasks, train=50, test=10)

    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,  # noqa: ARG002
    ) -> Array:
        """See `TaskFamily.reward`: 0 where the step ended in success, −1 elsewhere."""
        del observation, action
        return np.where(self.success(next_observation, task), 0.0, -1.0)

    def part(self, observation: Array, name: str) -> Array:
        """The components of the field called `name`, `(..., width)`."""
        start = 0
        for field in self.observation_fields:
            if field.name == name:
                return observation[..., start : start + field.width]
            start += field.width
        known = ", ".join(field.name for field in self.observation_fields)
        raise KeyError(f"{self.name}: no observation field {name!r}; there are: {known}")

    def with_variation(self, variation: Variation) -> Self:
        """See `fieldtune.sim.manipulation.variation.CanVary`."""
        return replace(self, variation=variation)

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator:
        """`n_envs` arms in compiled code, as `variation` says.

        The first call in a process loads robosuite (seconds).
        """
        if self.variation != NOTHING:
            from fieldtune.sim.manipulation.simulators.varied_batch import VariedBatch

            return VariedBatch(self.arm, self.scene, self.start, self.variation, n_envs, threads)
        from fieldtune.sim.manipulation.simulators.batch import TabletopBatch

        return TabletopBatch(self.arm, self.scene, self.start, n_envs, threads)

    def single_robot(self) -> SingleRobot:
        """One arm in robosuite's own environment, stepped by its own `step`; it never varies."""
        from fieldtune.sim.manipulation.simulators.single_robot import TabletopRobot

        return TabletopRobot(self.arm, self.scene, self.start)


def on_table(arm: Arm, x: Array | float, y: Array | float, height: float) -> Array:
    """Points above the table, `(..., 3)` m in the arm's base frame.

    Args:
        arm: what knows the table's height.
        x, y: in metres; they broadcast.
        height: in metres above the table.
    """
    return np.stack(np.broadcast_arrays(x, y, arm.table_height + height), axis=-1)


def turned(angle: float) -> Array:
    """The quaternion of a turn about the vertical, `(4,)`."""
    return np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
