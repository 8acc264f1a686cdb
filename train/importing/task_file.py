"""Which tasks there are, what the data call them, and which of them are held out: from a file.

Knows a family's task fields; not where episodes come from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fieldtune import plain_yaml
from fieldtune.sim.family import Array, TaskFamily, TaskSplit, bounds
from fieldtune.train.data.dataset import DatasetError, Split
from fieldtune.train.data.task_numbers import in_both
from fieldtune.train.importing.source import SPLITS, NamedTasks


def family_tasks(family: TaskFamily) -> NamedTasks:
    """The family's own tasks by number, as the reference counts them: training tasks first."""
    split = family.split()
    train, total = len(split.train), len(split.train) + len(split.test)
    return NamedTasks(
        {"train": [str(n) for n in range(train)], "test": [str(n) for n in range(train, total)]},
        split,
    )


def read_tasks(path: Path, family: TaskFamily) -> NamedTasks:
    """A task file: `{"train": {NAME: [parameter, ...], ...}, "test": {...}}`, JSON or YAML.

    Raises:
        DatasetError: names the file, the task, the value and what was expected.
    """
    try:
        known = _parsed(path)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: task file cannot be read ({error})") from error
    form = (
        'expected {"train": {NAME: [parameter, ...], ...}, "test": {...}}, at least one task each'
    )
    if not isinstance(known, dict) or set(known) != set(SPLITS):
        raise DatasetError(f"{path}: the task file is {_short(known)}; {form}")
    names: dict[Split, list[str]] = {}
    parameters: dict[Split, Array] = {}
    for split in SPLITS:
        tasks = known[split]
        if not isinstance(tasks, dict) or not tasks:
            raise DatasetError(f"{path}: {split!r} is {_short(tasks)}; {form}")
        names[split] = [str(name) for name in tasks]
        parameters[split] = np.array(
            [task_parameters(path, name, value, family) for name, value in tasks.items()]
        )
    every = names["train"] + names["test"]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise DatasetError(
            f"{path}: task {twice[0]!r} is there twice: a task is trained on or held out, once"
        )
    return named_tasks(path, names, parameters, family)


def named_tasks(
    where: object,
    names: dict[Split, list[str]],
    parameters: dict[Split, Array],
    family: TaskFamily,
) -> NamedTasks:
    """Tasks of both splits, `parameters[split]` `(task, parameter)`.

    Args:
        where: the file, for the error.

    Raises:
        DatasetError: one task is in both, under whatever name.
    """
    split_up = TaskSplit(parameters["train"], parameters["test"])
    same = in_both(family, split_up)
    if same is not None:
        trained, held_out = names["train"][same[0]], names["test"][same[1]]
        raise DatasetError(
            f"{where}: {trained!r} in 'train' and {held_out!r} in 'test' are the same task, "
            f"{split_up.train[same[0]].tolist()}: what is held out must not be trained on; remove "
            "one"
        )
    return NamedTasks(names, split_up)


def _parsed(path: Path) -> Any:
    """What the file holds; a name given twice is an error. `.json` is JSON, any other YAML."""
    text = path.read_text(encoding="utf-8")
    if path.suffix.lower() != ".json":
        return plain_yaml.parse(text)
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ValueError(f"key {name!r} is given twice")
    return dict(pairs)


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is no number in JSON")


def task_parameters(where: object, name: Any, value: Any, family: TaskFamily) -> list[float]:
    """A task's parameters as they are given, checked against the family's fields.

    Args:
        where: the file, for the error.
        name: the task's.
        value: a number, or a list of them.

    Raises:
        DatasetError: they are no numbers, not as many, or outside of the family's.
    """
    low, high = bounds(family.task_fields)
    given = value if isinstance(value, list) else [value]
    fields = ", ".join(
        f"{field.name} ({field.width}, {field.unit}, {min(field.low):g} to {max(field.high):g})"
        for field in family.task_fields
    )
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in given)
    if not numbers or len(given) != len(low) or not _within(given, low, high):
        raise DatasetError(
            f"{where}: task {name!r} is {_short(value)}, {family.name} expects {fields}"
        )
    return [float(v) for v in given]


def _within(given: Sequence[float], low: Array, high: Array) -> bool:
    return all(least <= v <= most for least, v, most in zip(low, given, high, strict=True))


def _short(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):  # an alias inside itself
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
