"""A task family of labelled data alone: its YAML file says fields and tasks, and nothing moves.

Knows what such a file holds; no simulator, no reward function, and no data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveInt, model_validator
from pydantic import Field as Key

from fieldtune import settings
from fieldtune.sim.family import (
    Array,
    BatchSimulator,
    FamilyDefaults,
    Field,
    LabelsAlone,
    SingleRobot,
    TaskFamily,
    TaskSplit,
    bounds,
)

Name = Annotated[str, Key(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Parameters = tuple[FiniteFloat, ...]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FieldText(_Section):
    """One field: `low` and `high`, a number for each component, or `width` where nothing bounds
    it."""

    name: Name
    unit: str
    low: Parameters = ()
    high: Parameters = ()
    width: PositiveInt | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> FieldText:
        if bool(self.low) != bool(self.high) or len(self.low) != len(self.high):
            raise ValueError(
                f"{len(self.low)} numbers in low and {len(self.high)} in high: expected one of "
                "each a component, or width alone where nothing bounds it"
            )
        if not self.low and self.width is None:
            raise ValueError("expected low and high, or width where nothing bounds it")
        if self.low and self.width not in (None, len(self.low)):
            raise ValueError(f"width is {self.width}, but low and high have {len(self.low)}")
        for low, high in zip(self.low, self.high, strict=True):
            if not low < high:
                raise ValueError(f"low {low:g}, high {high:g}: expected low < high")
        return self

    def field(self) -> Field:
        if not self.low:
            return Field.unbounded(self.name, self.unit, self.width or 1)
        return Field(self.name, self.unit, self.low, self.high)


Fields = Annotated[tuple[FieldText, ...], Key(min_length=1)]
Tasks = Annotated[tuple[Parameters, ...], Key(min_length=1)]


class TasksText(_Section):
    """Parameters of the tasks that are trained on and held out, each list in the order of `task`;
    data name them by number, training tasks first."""

    train: Tasks
    test: Tasks


class Definition(_Section):
    """The family's file.

    `name` is by what datasets and bundles know it, `robot` the model's name, as the driver says it.
    `observation`, `action` and `task` are fields in order; an action and a task need bounds.
    `tasks` may be left out where a task file is imported with the data. `sparse_reward` says that
    every reward is 0 in success and −1 elsewhere; `reward_bounds` what a step pays at least and at
    most; `success_reward` what the last step of an episode pays at least that succeeded;
    `dynamics_vary` that tasks differ in what an action does.
    """

    name: Name
    robot: Name
    period_s: Annotated[float, Key(gt=0)]
    horizon: PositiveInt
    observation: Fields
    action: Fields
    task: Fields
    tasks: TasksText | None = None
    sparse_reward: bool = False
    reward_bounds: tuple[FiniteFloat, FiniteFloat] | None = None
    success_reward: FiniteFloat | None = None
    dynamics_vary: bool = False

    @model_validator(mode="after")
    def _is_whole(self) -> Definition:
        for key in ("observation", "action", "task"):
            named = [one.name for one in getattr(self, key)]
            twice = {name for name in named if named.count(name) > 1}
            if twice:
                raise ValueError(f"{key}: field {min(twice)!r} is there twice: rename one")
            unbounded = [one.name for one in getattr(self, key) if not one.low]
            if unbounded and key != "observation":
                raise ValueError(f"{key}: field {unbounded[0]!r} needs low and high")
        if self.reward_bounds and not self.reward_bounds[0] < self.reward_bounds[1]:
            raise ValueError(f"reward_bounds are {list(self.reward_bounds)}: expected low < high")
        if self.tasks is not None:
            for split in ("train", "test"):
                for index, task in enumerate(getattr(self.tasks, split)):
                    self._require_task(f"tasks.{split}[{index}]", task)
        return self

    def _require_task(self, place: str, task: Parameters) -> None:
        low, high = bounds(tuple(one.field() for one in self.task))
        if len(task) != len(low) or not ((low <= task) & (task <= high)).all():
            fields = ", ".join(f"{one.name} ({len(one.low)}, {one.unit})" for one in self.task)
            raise ValueError(f"{place} is {list(task)}: expected {fields}, within the bounds")


@dataclass(frozen=True)
class LabelOnlyFamily(FamilyDefaults):
    """Implements `fieldtune.sim.family.TaskFamily`, but for what moves or pays: that raises
    `LabelsAlone`."""

    definition: Definition

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def robot(self) -> str:
        return self.definition.robot

    @property
    def period_s(self) -> float:
        return self.definition.period_s

    @property
    def horizon(self) -> int:
        return self.definition.horizon

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return tuple(one.field() for one in self.definition.observation)

    @property
    def action_fields(self) -> tuple[Field, ...]:
        return tuple(one.field() for one in self.definition.action)

    @property
    def task_fields(self) -> tuple[Field, ...]:
        return tuple(one.field() for one in self.definition.task)

    @property
    def dynamics_vary(self) -> bool:
        return self.definition.dynamics_vary

    @property
    def sparse_reward(self) -> bool:
        return self.definition.sparse_reward

    @property
    def reward_bounds(self) -> tuple[float, float]:
        given = self.definition.reward_bounds
        return super().reward_bounds if given is None else given

    @property
    def success_reward(self) -> float | None:
        given = self.definition.success_reward
        return super().success_reward if given is None else given

    def sample_tasks(self, seed: int, n: int) -> Array:
        """`n` tasks within the bounds, `(n, parameter)`; no data are of them."""
        low, high = bounds(self.task_fields)
        return np.random.default_rng(seed).uniform(low, high, (n, len(low)))

    def split(self) -> TaskSplit:
        """The file's tasks; where it has none, `LabelsAlone` with the cure."""
        tasks = self.definition.tasks
        if tasks is None:
            raise LabelsAlone(
                f"{self.name}: its file lists no tasks: add them, or give the data's with --tasks"
            )
        return TaskSplit(np.array(tasks.train), np.array(tasks.test))

    def reward(
        self,
        observation: Array,  # noqa: ARG002
        action: Array,  # noqa: ARG002
        next_observation: Array,  # noqa: ARG002
        task: Array,  # noqa: ARG002
        signals: Array | None = None,  # noqa: ARG002
    ) -> Array:
        raise LabelsAlone(
            f"{self.name} has no reward function, only the rewards in its data: these cannot be "
            "labelled for other tasks (leave out data.relabelled)"
        )

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator:  # noqa: ARG002
        self._cannot_move()

    def single_robot(self) -> SingleRobot:
        self._cannot_move()

    def _cannot_move(self) -> NoReturn:
        raise LabelsAlone(
            f"{self.name} is a family of labelled data alone, without a simulator: import data, "
            "train, export, run the robot with its own driver, and finetune"
        )


def read(file: Path) -> LabelOnlyFamily:
    """The family that a YAML file defines. Raises `ConfigError` with file, key, value and cure."""
    return LabelOnlyFamily(settings.load(Definition, file))


def require_simulator(family: TaskFamily, command: str) -> None:
    """Raises `LabelsAlone` where `family` has none, which `command` needs."""
    if isinstance(family, LabelOnlyFamily):
        raise LabelsAlone(
            f"{command} needs a simulator and a reward function, and {family.name} has only "
            "labelled data (docs/families.md)"
        )
