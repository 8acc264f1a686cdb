"""Which task a recorded episode is of: by a name, by its parameters in the data, or by a file.

Knows episodes and a mapping's `tasks`; not what else an episode holds.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fieldtune.sim.family import Array, TaskFamily
from fieldtune.train.data.dataset import DatasetError, Split
from fieldtune.train.importing.fields import Rows, columns_of
from fieldtune.train.importing.mapping import Tasks
from fieldtune.train.importing.recording import RecordedEpisode
from fieldtune.train.importing.source import SPLITS, NamedTasks, task_name
from fieldtune.train.importing.task_file import named_tasks, task_parameters

_SEED = 20260101  # which tasks are held out follows from their names alone
_STEADY = 1e-6  # of their size: parameters that change by less are the same


@dataclass(frozen=True)
class Told:
    """What is known of an episode's task; parameters and split where they are not looked up."""

    name: str
    parameters: tuple[float, ...] | None = None
    split: Split | None = None


@dataclass(frozen=True)
class TaskTable:
    """A mapping's `tasks.file`: `rows[i]` by column name, values as they stand."""

    path: Path
    rows: tuple[Mapping[str, Any], ...]

    @cached_property
    def _by_key(self) -> dict[tuple[str | None, str | None], list[Mapping[str, Any]]]:
        """Rows by what they say of file and episode; None where they say nothing."""
        found: dict[tuple[str | None, str | None], list[Mapping[str, Any]]] = {}
        for row in self.rows:
            file, episode = (
                task_name(row[key]) if key in row else None for key in ("file", "episode")
            )
            found.setdefault((file, episode), []).append(row)
        return found

    def row(self, file: Path, episode: RecordedEpisode) -> Mapping[str, Any]:
        """The one that is of an episode: by `file` (its name), `episode` (name or number), or both.

        Raises:
            DatasetError: none is, or several.
        """
        number = re.match(r"\D*(\d+)", episode.name)  # demo_3 is 3
        called = {episode.name, number[0], number[1]} if number else {episode.name}
        found = [
            row
            for place in dict.fromkeys((None, file.name, str(file)))
            for name in (None, *called)
            for row in self._by_key.get((place, name), ())
        ]
        if len(found) != 1:
            known = sorted({key for row in self.rows for key in ("file", "episode") if key in row})
            raise DatasetError(
                f"{self.path}: {len(found)} rows are of {file.name}, {episode.name!r} (by "
                f"{known}), expected one: name each episode once"
            )
        return found[0]


def read_table(path: Path) -> TaskTable:
    """A CSV with a header, or a JSON list of objects.

    Raises:
        DatasetError: names file, row and cure.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        found: Any = (
            json.loads(text)
            if path.suffix.lower() == ".json"
            else list(csv.DictReader(text.splitlines(), strict=True))
        )
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from error
    form = "expected rows with 'file' or 'episode', and 'task' or the task's parameters"
    if not isinstance(found, list) or not found:
        raise DatasetError(f"{path}: has no rows; {form}")
    for index, row in enumerate(found):
        if not isinstance(row, dict) or not {"file", "episode"} & set(row) or None in row:
            raise DatasetError(f"{path}: row {index + 1} is {str(row)[:80]}; {form}")
        if row.get("split") not in (None, *SPLITS):
            raise DatasetError(
                f"{path}: row {index + 1}: 'split' is {row['split']!r}, expected one of {SPLITS}"
            )
    return TaskTable(path, tuple(found))


def told_by_table(
    table: TaskTable, family: TaskFamily, file: Path, episode: RecordedEpisode
) -> Told:
    """By a row of the file. Raises `DatasetError`."""
    row = table.row(file, episode)
    split = row.get("split")
    if "task" in row:
        return Told(task_name(row["task"]), split=split)
    values: list[Any] = []
    for field in family.task_fields:
        if field.name in row:
            given = row[field.name]
            values += given if isinstance(given, list) else [given]
        else:
            columns = [f"{field.name}.{index}" for index in range(field.width)]
            missing = [column for column in columns if column not in row]
            if missing:
                raise DatasetError(
                    f"{table.path}: no column 'task', {field.name!r} or {missing[0]!r}, only "
                    f"{sorted(row)}: a task has {field.name} ({field.width}, {field.unit})"
                )
            values += [row[column] for column in columns]
    numbers = [_number(value) for value in values]
    return _by_parameters(f"{table.path}", episode.name, numbers, family, split)


def told_by_columns(tasks: Tasks, family: TaskFamily, rows: Rows, name: str) -> Told:
    """By keys that hold the parameters, the same in each row. Raises `DatasetError`."""
    assert tasks.parameters is not None
    found = columns_of(tasks.parameters, family.task_fields, rows)
    spread = np.ptp(found, axis=0)
    changing = np.flatnonzero(~(spread <= _STEADY * np.maximum(np.abs(found).max(axis=0), 1.0)))
    if len(changing):
        at = changing[0]
        raise DatasetError(
            f"{rows.place}: parameter {at} of the task goes from {found[:, at].min():.6g} to "
            f"{found[:, at].max():.6g}: an episode is of one task; map a key that stays, or cut "
            "the episode where the task changes"
        )
    return _by_parameters(rows.place, name, found[0].tolist(), family, None)


def told_by_name(key: str, place: str, episode: RecordedEpisode) -> Told:
    """By an attribute, or a key that is the same in each row. Raises `DatasetError`."""
    if key in episode.attributes:
        return Told(task_name(episode.attributes[key]))
    column = episode.columns.get(key)
    if column is None:
        raise DatasetError(
            f"{place}: no attribute or key {key!r} ('tasks.name'), only attributes "
            f"{sorted(episode.attributes)}: name what says which task an episode is of"
        )
    if column.shape[1] != 1 or np.ptp(column) != 0:
        raise DatasetError(
            f"{place}: {key!r} ('tasks.name') goes from {column.min():g} to {column.max():g}, "
            f"{column.shape[1]} numbers a row: expected one that stays; use 'tasks.parameters' "
            "for numbers that are the task's"
        )
    return Told(task_name(float(column[0, 0])))


def tasks_in_data(
    told: Sequence[Told], held_out: int | None, family: TaskFamily, where: object
) -> NamedTasks:
    """The tasks whose parameters the data bring, sorted by them, and their split.

    Args:
        held_out: how many, drawn once and for all; None where each says its split.
        where: for the error.

    Raises:
        DatasetError: a split would be empty, or a task is in both.
    """
    known: dict[str, Told] = {}
    for one in told:
        before = known.setdefault(one.name, one)
        if before.split != one.split:
            raise DatasetError(f"{where}: task {one.name!r} is in both splits: it is in one")
    order = sorted(known.values(), key=lambda one: one.parameters or ())
    if held_out is not None:
        if held_out >= len(order):
            raise DatasetError(
                f"{where}: 'tasks.held_out' is {held_out}, the data have {len(order)} tasks: "
                "expected fewer, so that some are left to be trained on"
            )
        drawn = set(np.random.default_rng(_SEED).permutation(len(order))[:held_out].tolist())
        of = {one.name: SPLITS[index in drawn] for index, one in enumerate(order)}
    else:
        unsaid = [one.name for one in order if one.split is None]
        if unsaid:
            raise DatasetError(
                f"{where}: task {unsaid[0]!r} has no split: add a column 'split' (train or test), "
                "or set 'tasks.held_out' to how many are to be held out"
            )
        of = {one.name: one.split or SPLITS[0] for one in order}
    parts: dict[Split, list[Told]] = {
        split: [one for one in order if of[one.name] == split] for split in SPLITS
    }
    for split, part in parts.items():
        if not part:
            raise DatasetError(f"{where}: no task is in split {split!r}; each needs one")
    names: dict[Split, list[str]] = {
        split: [one.name for one in part] for split, part in parts.items()
    }
    parameters: dict[Split, Array] = {
        split: np.array([one.parameters for one in part]) for split, part in parts.items()
    }
    return named_tasks(where, names, parameters, family)


def _by_parameters(
    where: str, name: str, values: Sequence[Any], family: TaskFamily, split: Split | None
) -> Told:
    numbers = task_parameters(where, name, list(values), family)
    return Told(" ".join(f"{value:.9g}" for value in numbers), tuple(numbers), split)


def _number(value: Any) -> Any:
    """Text of a CSV as a number, where it is one."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
