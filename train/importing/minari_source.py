"""Other people's Minari datasets, read as episodes: one a task, or one for all of them.

In the latter an attribute of each episode names its task. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
from minari.storage import get_dataset_path
from numpy.typing import NDArray

from fieldtune.sim.family import TaskFamily, width
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.admission import ended_early, problem
from fieldtune.train.data.dataset import DatasetError, described
from fieldtune.train.data.subsample import thinned
from fieldtune.train.importing.formats.minari import minari_dataset
from fieldtune.train.importing.recording import RecordingError
from fieldtune.train.importing.source import task_name, unnamed


@dataclass(frozen=True)
class MinariDatasets:
    """A source of episodes: `pattern` with a name for `{task}` is a dataset, folder or id."""

    pattern: str
    family: TaskFamily
    stride: int = 1

    def episodes(self, task: str) -> list[LabelledEpisode]:
        """The episodes of the task called `task`.

        Raises:
            DatasetError: no such dataset, or not one of `family`; names dataset, value and cure.
        """
        opened = open_minari(self.pattern.replace("{task}", task), self.family)
        return [thinned_out(episode, self.stride) for _, episode in opened.episodes()]

    def how(self) -> dict[str, Any]:
        """For the card."""
        return {"policy": f"Minari datasets {Path(self.pattern).name}", "stride": self.stride}

    def left_out(self, tasks: Sequence[str]) -> list[str]:
        """As `Source.left_out`: datasets that the pattern means and no task does."""
        folders = Path(self.pattern.replace("{task}", tasks[0])).is_dir()
        root = Path() if folders else get_dataset_path("")
        return unnamed(self.pattern, tasks, Path.is_dir, root)


@dataclass(frozen=True)
class MinariAttribute:
    """A source of episodes: one dataset, an `attribute` of whose episodes names their task."""

    name: str
    attribute: str
    family: TaskFamily
    stride: int = 1
    leave_out: tuple[str, ...] = ()

    @cached_property
    def _by_task(self) -> dict[str, list[LabelledEpisode]]:
        found: dict[str, list[LabelledEpisode]] = {}
        for attributes, episode in open_minari(self.name, self.family).episodes():
            if self.attribute not in attributes:
                raise DatasetError(
                    f"{self.name}: an episode has no attribute {self.attribute!r}, only "
                    f"{sorted(attributes)}: name the one that says which task it is of"
                )
            task = task_name(attributes[self.attribute])
            found.setdefault(task, []).append(thinned_out(episode, self.stride))
        return found

    def episodes(self, task: str) -> list[LabelledEpisode]:
        """As `MinariDatasets.episodes`."""
        if task not in self._by_task:
            raise DatasetError(
                f"{self.name}: no episode has {self.attribute} = {task!r}; there are "
                f"{sorted(self._by_task)}: name the tasks in the task file as the dataset does"
            )
        return self._by_task[task]

    def how(self) -> dict[str, Any]:
        """For the card."""
        source = f"Minari dataset {Path(self.name).name}, task by {self.attribute}"
        return {"policy": source, "stride": self.stride}

    def left_out(self, tasks: Sequence[str]) -> list[str]:
        """As `Source.left_out`: what a person has named, and nothing else."""
        absent = [name for name in self.leave_out if name not in self._by_task]
        if absent:
            raise DatasetError(
                f"--leave-out {absent[0]!r}: no episode of {self.name} has {self.attribute} = "
                f"{absent[0]!r}; there are {sorted(self._by_task)}"
            )
        known = {*tasks, *self.leave_out}
        others = {task: len(of) for task, of in self._by_task.items() if task not in known}
        if others:
            listed = ", ".join(f"{task!r} ({count})" for task, count in sorted(others.items()))
            raise DatasetError(
                f"{self.name}: {sum(others.values())} episodes have a {self.attribute} that is no "
                f"task in the task file: {listed}: name these tasks there, mend their spelling, or "
                "give --leave-out NAME for each to leave its episodes out"
            )
        return [
            f"{len(self._by_task[name])} episodes of task {name!r} (--leave-out)"
            for name in self.leave_out
        ]


@dataclass(frozen=True)
class Opened:
    """A dataset that was found to be of `family`."""

    name: str
    dataset: minari.MinariDataset = field(repr=False)
    family: TaskFamily = field(repr=False)

    def episodes(self) -> Iterator[tuple[dict[str, Any], LabelledEpisode]]:
        """Each episode with its attributes; `task_index` 0. Raises `DatasetError`."""
        try:
            known = self.dataset.storage.get_episode_metadata(self.dataset.episode_indices)
            for found, attributes in zip(self.dataset.iterate_episodes(), known, strict=True):
                yield attributes, self._checked(found)
        except (OSError, RuntimeError, ValueError, LookupError, TypeError, MemoryError) as error:
            raise DatasetError(
                f"{self.name}: episodes cannot be read ({error}); fetch the dataset again"
            ) from error

    def _checked(self, found: Any) -> LabelledEpisode:
        steps = len(found.rewards)
        wanted = {
            "observations": (steps + 1, width(self.family.observation_fields)),
            "actions": (steps, width(self.family.action_fields)),
            "rewards": (steps,),
        }
        columns: dict[str, NDArray[np.float64]] = {}
        for name, shape in wanted.items():
            column = np.asarray(getattr(found, name), np.float64)
            if steps == 0 or column.shape != shape or not np.isfinite(column).all():
                raise DatasetError(
                    f"{self.name}: episode {found.id}: {name!r} is {list(column.shape)} with "
                    f"{int((~np.isfinite(column)).sum())} numbers that are not finite, expected "
                    f"{list(shape)}, at least one step, all finite: leave that episode out"
                )
            columns[name] = column
        episode = LabelledEpisode(
            0,
            columns["observations"],
            columns["actions"],
            columns["rewards"],
            bool(np.asarray(found.terminations)[-1]),
        )
        wrong = ended_early(found.terminations, found.truncations) or problem(episode, self.family)
        if wrong:
            raise DatasetError(f"{self.name}: episode {found.id}: {wrong}")
        return episode


def open_minari(name: str, family: TaskFamily) -> Opened:
    """The dataset in the folder `name`, or the one with that id among this machine's.

    Raises:
        DatasetError: there is none, or its spaces or fields are not `family`'s.
    """
    try:
        dataset = minari_dataset(name)
    except RecordingError as error:
        raise DatasetError(str(error)) from error
    for what, space, fields in (
        ("observations", dataset.observation_space, family.observation_fields),
        ("actions", dataset.action_space, family.action_fields),
    ):
        if not isinstance(space, gymnasium.spaces.Box) or space.shape != (width(fields),):
            listed = ", ".join(f"{field.name} ({field.width})" for field in fields)
            raise DatasetError(
                f"{name}: {what} are {space}, {family.name} ({family.robot}) has "
                f"{width(fields)} numbers, {listed}: import it into the family it was made with"
            )
    _same_fields(name, dataset, family)
    return Opened(name, dataset, family)


def _same_fields(name: str, dataset: minari.MinariDataset, family: TaskFamily) -> None:
    """Where the dataset says what its numbers are, they must be the family's."""
    known = dataset.storage.metadata.get("fieldtune")
    if not isinstance(known, dict):
        return
    for key, fields in (
        ("observation_fields", family.observation_fields),
        ("action_fields", family.action_fields),
    ):
        expected = described(fields)
        if known.get(key) != expected:
            raise DatasetError(
                f"{name}: {key} are {known.get(key)}, {family.name} ({family.robot}) has "
                f"{expected}: import it into the family it was made with"
            )


def thinned_out(episode: LabelledEpisode, stride: int) -> LabelledEpisode:
    """Every `stride`-th step of `episode`, from its first."""
    return thinned(episode, np.arange(0, episode.steps, stride))
