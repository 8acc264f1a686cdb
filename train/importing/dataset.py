"""`fieldtune import`: other people's labelled data, checked and written as a dataset of ours.

Knows sources only by what they give: a task's episodes by its name. All or nothing: whatever is
wrong with the data is said before anything is written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fieldtune import plain_yaml
from fieldtune.file_errors import require_writable
from fieldtune.sim.family import Array, TaskFamily, TaskSplit, bounds
from fieldtune.sim.label_only import LabelOnlyFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.admission import problem_of_all
from fieldtune.train.data.dataset import DatasetError, Split, write_dataset
from fieldtune.train.data.task_numbers import in_both
from fieldtune.train.importing.source import SPLITS, NamedTasks, Source
from fieldtune.train.importing.unit_check import far_from_simulated


@dataclass(frozen=True)
class Imported:
    """What was written, for a person to read.

    `reward_error` is the root mean square difference between the rewards in the data and the
    family's own, in units of the former's standard deviation; None where signals are missing,
    or the family has no reward function.
    `left_out` says what the source had beside.
    """

    id: str
    episodes: int
    transitions: int
    reward_error: float | None
    left_out: tuple[str, ...] = ()


def source_of(
    family: TaskFamily,
    hdf5: str | None,
    minari: str | None,
    task_attribute: str | None,
    stride: int | None,
    last: int | None,
    leave_out: Sequence[str] = (),
) -> Source:
    """The source that the command's options name.

    Args:
        family: what the data are of.
        hdf5: `--hdf5`, a pattern with `{task}` for a task's name.
        minari: `--minari`, such a pattern; with `task_attribute`, one dataset.
        task_attribute: `--task-attribute`, the episodes' attribute that names their task.
        stride: keep every n-th transition; None: 7 of HDF5, 1 of Minari.
        last: of HDF5, only the last n rows of each file; None: all.

    Raises:
        DatasetError: they name no source, more than one, or contradict each other.
    """
    from fieldtune.train.importing.hdf5_source import STRIDE, TransitionFiles
    from fieldtune.train.importing.minari_source import MinariAttribute, MinariDatasets

    if (hdf5 is None) == (minari is None):
        given = "neither" if hdf5 is None else "both"
        raise DatasetError(f"--hdf5 and --minari: {given} given, expected one of them")
    pattern, option = (hdf5, "--hdf5") if hdf5 is not None else (minari, "--minari")
    assert pattern is not None
    if task_attribute is None and "{task}" not in pattern:
        cure = " (or name --task-attribute)" if minari else ""
        raise DatasetError(
            f"{option} is {pattern!r}: put {{task}} where a task's name belongs{cure}"
        )
    if leave_out and task_attribute is None:
        raise DatasetError("--leave-out is for --task-attribute: the task file names all others")
    if hdf5 is not None:
        if task_attribute is not None:
            raise DatasetError("--task-attribute is for --minari: HDF5 files are one a task")
        return TransitionFiles(pattern, family, STRIDE if stride is None else stride, last)
    if last is not None:
        raise DatasetError("--last is for --hdf5: of Minari datasets, all episodes are taken")
    if task_attribute is not None:
        return MinariAttribute(pattern, task_attribute, family, stride or 1, tuple(leave_out))
    return MinariDatasets(pattern, family, stride or 1)


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
            [_parameters(path, name, value, family) for name, value in tasks.items()]
        )
    every = names["train"] + names["test"]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise DatasetError(
            f"{path}: task {twice[0]!r} is there twice: a task is trained on or held out, once"
        )
    split_up = TaskSplit(parameters["train"], parameters["test"])
    same = in_both(family, split_up)
    if same is not None:
        trained, held_out = names["train"][same[0]], names["test"][same[1]]
        raise DatasetError(
            f"{path}: {trained!r} in 'train' and {held_out!r} in 'test' are the same task, "
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


def _parameters(path: Path, name: Any, value: Any, family: TaskFamily) -> list[float]:
    low, high = bounds(family.task_fields)
    given = value if isinstance(value, list) else [value]
    fields = ", ".join(
        f"{field.name} ({field.width}, {field.unit}, {min(field.low):g} to {max(field.high):g})"
        for field in family.task_fields
    )
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in given)
    if not numbers or len(given) != len(low) or not _within(given, low, high):
        raise DatasetError(
            f"{path}: task {name!r} is {_short(value)}, {family.name} expects {fields}"
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


def import_dataset(
    folder: Path,
    family: TaskFamily,
    tasks: NamedTasks,
    source: Source,
    on_progress: Callable[[int, int, str], None] = lambda *_: None,
    *,
    trust_units: bool = False,
) -> Imported:
    """Read every task's episodes from `source`, then write them to `folder` as a dataset.

    Args:
        on_progress: told the tasks read, those in all, and the last one's name.
        trust_units: take observations that are far from what the family's simulator shows.

    Raises:
        DatasetError: `folder` exists, or something is wrong with the data
        (`fieldtune.train.data.admission`);
            nothing was written.
    """
    if folder.exists():
        raise DatasetError(
            f"{folder} exists; a dataset is never overwritten: remove it or choose another folder"
        )
    require_writable(folder)
    found: dict[Split, list[LabelledEpisode]] = {split: [] for split in SPLITS}
    total, done = sum(map(len, tasks.names.values())), 0
    for split in SPLITS:
        for index, name in enumerate(tasks.names[split]):
            of_task = source.episodes(name)
            if not of_task:
                raise DatasetError(f"task {name!r} ({split}) has no episode; every task needs one")
            found[split] += [replace(episode, task_index=index) for episode in of_task]
            done += 1
            on_progress(done, total, f"task {name}")
    left_out = source.left_out([name for split in SPLITS for name in tasks.names[split]])
    wrong = problem_of_all(family, tasks.split, found, tasks.names, once=True)
    if wrong:
        raise DatasetError(wrong)
    if not trust_units:
        named = (
            (f"task {tasks.names[split][episode.task_index]!r} ({split})", episode)
            for split in SPLITS
            for episode in found[split]
        )
        far = far_from_simulated(family, named)
        if far:
            raise DatasetError(
                f"{far}. The range is what {family.name}'s simulator shows, tenfold: convert the "
                "data to the family's units, or give --trust-units if they are right"
            )
    error = reward_error(family, tasks, found)
    how = source.how() | {"imported": True, "task_names": dict(tasks.names)}
    if left_out:
        how["left_out"] = left_out
    if error is not None:
        how["reward_error"] = round(error, 4)
    identity = write_dataset(
        folder,
        family,
        train=found["train"],
        test=found["test"],
        how=how,
        tasks=tasks.split,
        measured=False,
    )
    everything = found["train"] + found["test"]
    steps = sum(episode.steps for episode in everything)
    return Imported(identity, len(everything), steps, error, tuple(left_out))


def reward_error(
    family: TaskFamily, tasks: NamedTasks, found: dict[Split, list[LabelledEpisode]]
) -> float | None:
    """See `Imported.reward_error`. Near 0 where tasks, fields and reward are the family's.

    The rewards must not be all alike, which `import_dataset` sees to.
    """
    if family.signal_fields:
        return None
    if isinstance(family, LabelOnlyFamily):
        return None
    given, ours = [], []
    for split in SPLITS:
        for episode in found[split]:
            task = tasks.parameters(split)[episode.task_index]
            given.append(episode.rewards)
            ours.append(
                family.reward(
                    episode.observations[:-1], episode.actions, episode.next_observations, task
                )
            )
    theirs = np.concatenate(given)
    difference = float(np.sqrt(np.mean((theirs - np.concatenate(ours)) ** 2)))
    return difference / float(theirs.std())
