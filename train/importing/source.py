"""Where imported episodes come from, and what their tasks are called."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fieldtune.sim.family import Array, TaskSplit
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import Split

MOST_SHOWN = 8
OWN_REWARDS = "the family's own, of (s, a, s') and the task"
SPLITS: tuple[Split, Split] = ("train", "test")


class Source(Protocol):
    """Where episodes come from."""

    def episodes(self, task: str) -> list[LabelledEpisode]:
        """Those of the task called `task`. Raises `DatasetError`."""
        ...

    def how(self) -> dict[str, Any]:
        """What the card says of it."""
        ...

    def left_out(self, tasks: Sequence[str]) -> list[str]:
        """What the data hold beside the episodes of `tasks`, once those were read, as sentences.

        Raises:
            DatasetError: episodes say themselves that they are of another task.
        """
        ...


@dataclass(frozen=True)
class NamedTasks:
    """Tasks and what the data call them: `names[split][i]` is the i-th of that split."""

    names: dict[Split, list[str]]
    split: TaskSplit

    def parameters(self, split: Split) -> Array:
        return self.split.train if split == "train" else self.split.test


def unnamed(
    pattern: str, tasks: Sequence[str], is_one: Callable[[Path], bool], root: Path = Path()
) -> list[str]:
    """A sentence where other names than `tasks`, in the place of `{task}`, are data too.

    Args:
        pattern: a path with `{task}` in it, below `root` where it is not absolute.
        is_one: whether what lies at a path may be data.
    """
    wild = "*".join(glob.escape(part) for part in str(root / pattern).split("{task}"))
    named = {str(root / pattern.replace("{task}", task)) for task in tasks}
    found = set(glob.glob(wild)) - named  # noqa: PTH207 (absolute ones too)
    others = sorted(path for path in found if is_one(Path(path)))
    if not others:
        return []
    some = ", ".join(repr(Path(other).name) for other in others[:MOST_SHOWN])
    more = ", …" if len(others) > MOST_SHOWN else ""
    return [f"{len(others)} more match {pattern!r}, and no task is called so: {some}{more}"]


def task_name(value: Any) -> str:
    """A value that names a task, as a task file has it: text, or a whole number without a point."""
    value = (
        value.item() if isinstance(value, np.generic | np.ndarray) and value.size == 1 else value
    )
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
