"""A dataset of ours, opened for export: its family, its episodes in order, its tasks by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldtune.sim.family import Array, Field, TaskFamily
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.registry import names as registered
from fieldtune.sim.registry import options
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import DatasetError, Split, read_dataset, read_metadata
from fieldtune.train.data.joining import own_name
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


def open_for_export(folder: Path, family: TaskFamily | None = None) -> Opened:
    """Read a dataset.

    Args:
        family: None: the one that its metadata name, with the options that it was made with.

    Raises:
        DatasetError: it is none, its family is not installed, or it was thinned out, so that its
            rows do not follow each other.
    """
    metadata = read_metadata(folder)
    family = _family_of(folder, metadata) if family is None else family
    dataset = read_dataset(folder, family)
    if dataset.thinned:
        raise DatasetError(
            f"{folder}: its episodes were thinned out, and other formats hold whole ones: import "
            "the data once more with --stride 1, and export that"
        )
    names = metadata.get("how", {}).get("task_names", {})
    numbers = iter(range(len(dataset.train_tasks) + len(dataset.test_tasks)))
    taken: set[str] = set()
    tasks: dict[Split, dict[str, Array]] = {}
    found: list[Labelled] = []
    for split in SPLITS:
        held_out = split == "test"
        parameters = dataset.test_tasks if held_out else dataset.train_tasks
        by_task = dataset.test if held_out else dataset.train
        tasks[split] = {}
        for index, episodes in enumerate(by_task):
            number = next(numbers)
            known = names.get(split, ())
            name = own_name(known[index] if index < len(known) else str(number), taken)
            text = _text(family, name, parameters[index])
            tasks[split][text] = parameters[index]
            found += [Labelled(split, text, episode) for episode in episodes]
    measured = bool(family.signal_fields) and all(e.episode.signals is not None for e in found)
    return Opened(family, tuple(found), tasks, measured)


def _family_of(folder: Path, metadata: dict[str, Any]) -> TaskFamily:
    name = metadata["family"]
    if name not in registered():
        raise DatasetError(
            f"{folder}: its family, {name!r}, is not installed: install its package, or give the "
            "file of a family of labelled data alone, --family FILE.yaml"
        )
    family = make_family(name)
    known = options(family)
    told = {k: v for k, v in metadata.get("family_options", {}).items() if k in known}
    if family.robot != metadata.get("robot"):
        told["robot"] = metadata.get("robot")
    return make_family(name, **told) if told else family


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
