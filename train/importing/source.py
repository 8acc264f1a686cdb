"""Where imported episodes come from, and what their tasks are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fieldtune.sim.family import Array, TaskSplit
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import Split

SPLITS: tuple[Split, Split] = ("train", "test")


class Source(Protocol):
    """Where episodes come from."""

    def episodes(self, task: str) -> list[LabelledEpisode]:
        """Those of the task called `task`. Raises `DatasetError`."""
        ...

    def how(self) -> dict[str, Any]:
        """What the card says of it."""
        ...


@dataclass(frozen=True)
class NamedTasks:
    """Tasks and what the data call them: `names[split][i]` is the i-th of that split."""

    names: dict[Split, list[str]]
    split: TaskSplit

    def parameters(self, split: Split) -> Array:
        return self.split.train if split == "train" else self.split.test
