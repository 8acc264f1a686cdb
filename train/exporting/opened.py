"""A dataset of ours, opened for export: its family, its episodes in order, its tasks by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fieldtune.sim.family import Array, Field, TaskFamily
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import DatasetError, Split, read_dataset, read_metadata
from fieldtune.train.importing.source import SPLITS

MOST_IN_TEXT = 6  # parameters of a task that its text shows


@dataclass(frozen=True)
class Labelled:
    """An episode, its split and its task's text."""

    split: Split
    text: str
    episode: LabelledEpisode


@dataclass(frozen=True)
class Opened:
    """What is exported. `tasks[split]` are texts and parameters `(parameter,)`, in order."""

    family: TaskFamily
    episodes: tuple[Labelled, ...]
    tasks: dict[Split, dict[str, Array]]
    measured: bool

    @property
    def texts(self) -> list[str]:
        """Every task's, training tasks first."""
        return [text for split in SPLITS for text in self.tasks[split]]


def open_for_export(folder: Path) -> Opened:
    """Read a dataset with the family that its metadata name.

    Raises:
        DatasetError: it is none, or was thinned out, so that its rows do not follow each other.
        UnknownFamily: its family is not installed.
    """
    metadata = read_metadata(folder)
    family = make_family(metadata["family"])
    if family.robot != metadata.get("robot"):
        family = make_family(metadata["family"], robot=metadata.get("robot"))
    dataset = read_dataset(folder, family)
    if dataset.thinned:
        raise DatasetError(
            f"{folder}: its episodes were thinned out, and other formats hold whole ones: import "
            "the data once more with --stride 1, and export that"
        )
    names = metadata.get("how", {}).get("task_names", {})
    numbers = iter(range(len(dataset.train_tasks) + len(dataset.test_tasks)))
    tasks: dict[Split, dict[str, Array]] = {}
    found: list[Labelled] = []
    for split in SPLITS:
        held_out = split == "test"
        parameters = dataset.test_tasks if held_out else dataset.train_tasks
        by_task = dataset.test if held_out else dataset.train
        tasks[split] = {}
        for index, episodes in enumerate(by_task):
            number = next(numbers)
            name = names[split][index] if split in names else str(number)
            text = _text(family, name, parameters[index])
            tasks[split][text] = parameters[index]
            found += [Labelled(split, text, episode) for episode in episodes]
    measured = bool(family.signal_fields) and all(e.episode.signals is not None for e in found)
    return Opened(family, tuple(found), tasks, measured)


def _text(family: TaskFamily, name: str, parameters: Array) -> str:
    """`reach, task 3: target_position 0.5 0.1 0.2 m`; its name makes it the only one."""
    if len(parameters) > MOST_IN_TEXT:
        return f"{family.name}, task {name}"
    said, start = [], 0
    for field in family.task_fields:
        said.append(_field(field, parameters[start : start + field.width]))
        start += field.width
    return f"{family.name}, task {name}: {', '.join(said)}"


def _field(field: Field, values: Array) -> str:
    numbers = " ".join(f"{value:.4g}" for value in values)
    return f"{field.name} {numbers} {field.unit}".strip()
