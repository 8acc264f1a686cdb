"""What every locomotion family declares in the same way.

A family adds its body, what is seen of it, its tasks and its reward. It is described without
loading mujoco or gymnasium: those are imported when something is simulated. Must not know any
particular robot.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from importlib.resources import files
from typing import ClassVar

import numpy as np

from fieldtune.sim.family import (
    Array,
    BatchSimulator,
    FamilyDefaults,
    Field,
    SingleRobot,
    TaskSplit,
)
from fieldtune.sim.locomotion.simulators import Body, LocomotionRobot
from fieldtune.sim.physics.bodies import BodyBatch


class LocomotionFamily(FamilyDefaults, ABC):
    """A robot of gymnasium's, driven by torques for 200 steps; see `TaskFamily` for what each is.

    Attributes:
        name: as in the registry.
        robot: the model's name.
    """

    name: ClassVar[str]
    robot: ClassVar[str]

    @property
    @abstractmethod
    def body(self) -> Body:
        """The robot."""

    @property
    @abstractmethod
    def observation_fields(self) -> tuple[Field, ...]: ...

    @property
    @abstractmethod
    def task_fields(self) -> tuple[Field, ...]: ...

    @abstractmethod
    def sample_tasks(self, seed: int, n: int) -> Array: ...

    @abstractmethod
    def split(self) -> TaskSplit: ...

    @abstractmethod
    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,
    ) -> Array: ...

    @property
    def action_fields(self) -> tuple[Field, ...]:
        strongest = (self.body.strongest,) * self.body.actions
        return (Field("joint_torque", "normalised", tuple(-s for s in strongest), strongest),)

    @property
    def horizon(self) -> int:
        return 200

    @property
    def period_s(self) -> float:
        return self.body.period_s

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator:
        """`n_envs` robots; bit-identical to gymnasium's, whatever the batch and the threads."""
        return BodyBatch(self.body, n_envs, threads)

    def single_robot(self) -> SingleRobot:
        """One robot in gymnasium's own environment."""
        return LocomotionRobot(self.body)


def published_split(name: str) -> TaskSplit:
    """The reference's own training and held-out tasks, `(task, 1)`, of the family called `name`."""
    listed = json.loads((files("fieldtune.sim") / "tasks" / f"{name}-tasks.json").read_text())
    values = np.array(listed["values"], dtype=np.float64)[:, None]
    return TaskSplit(train=values[listed["train"]], test=values[listed["eval"]])
