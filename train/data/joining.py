"""Two datasets of one family made into a third: new tasks, without collecting the old ones again.

Neither of the two is changed. Knows datasets only; not where their episodes come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fieldtune.sim.family import TaskFamily, TaskSplit
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import (
    Dataset,
    DatasetError,
    Split,
    read_dataset,
    read_metadata,
    write_dataset,
)
from fieldtune.train.data.doubled import Placed, twice
from fieldtune.train.data.task_numbers import in_both


def join_datasets(out: Path, family: TaskFamily, first: Path, added: Path) -> str:
    """Write the tasks and episodes of `first`, and behind them those of `added`; return the id.

    Args:
        out: the new dataset's folder.
        family: of both.
        first, added: datasets.

    Raises:
        DatasetError: one cannot be read, as `require_joinable`, or `out` exists; nothing was
            written.
    """
    old, new = read_dataset(first, family), read_dataset(added, family)
    how, how_added = read_metadata(first)["how"], read_metadata(added)["how"]
    split = require_joinable(
        family,
        first,
        old,
        TaskSplit(new.train_tasks, new.test_tasks),
        {"train": _one_after_another(new.train), "test": _one_after_another(new.test)},
        how_added.get("task_names"),
    )
    if family.signal_fields:
        measured = all(e.signals is not None for task in (*old.train, *old.test) for e in task)
    else:
        measured = old.id.startswith("fieldtune/") and new.id.startswith("fieldtune/")
    joined: dict[str, Any] = {
        "joined": [*how.get("joined", []), how_added],
        "joined_to": old.digest,
    }
    names, names_added = how.get("task_names", {}), how_added.get("task_names", {})
    if names or names_added:
        joined["task_names"] = joined_names(
            names, names_added, (len(old.train), len(old.test)), (len(new.train), len(new.test))
        )
    return write_dataset(
        out,
        family,
        train=_one_after_another([*old.train, *new.train]),
        test=_one_after_another([*old.test, *new.test]),
        how=how | joined,
        tasks=split,
        measured=measured,
    )


def require_joinable(
    family: TaskFamily,
    first: Path,
    old: Dataset,
    tasks: TaskSplit,
    added: Mapping[Split, Sequence[LabelledEpisode]],
    names: Mapping[Split, Sequence[str]] | None = None,
) -> TaskSplit:
    """The tasks of both, those of `old` first.

    Args:
        first: where `old` is from, for errors.
        tasks: what is added, of which `added` are the episodes by split.
        names: what a person calls these tasks; their numbers where not given.

    Raises:
        DatasetError: a task or an episode is in both, or only one of them has the signals that
            rewards need.
    """
    for name, ours, theirs in (
        ("train", old.train_tasks, tasks.train),
        ("test", old.test_tasks, tasks.test),
    ):
        known = {tuple(task) for task in ours.tolist()}
        both = [task for task in theirs.tolist() if tuple(task) in known]
        if both:
            raise DatasetError(
                f"{name} task {both[0]} is in {first} already: leave it out of what is added"
            )
    split = TaskSplit(
        np.concatenate([old.train_tasks, tasks.train]),
        np.concatenate([old.test_tasks, tasks.test]),
    )
    same = in_both(family, split)
    if same is not None:
        raise DatasetError(
            f"task {split.train[same[0]].tolist()} is trained on in one of {first} and what is "
            "added, and held out in the other: what is held out must not be trained on; leave it "
            "out"
        )
    if family.signal_fields:
        before = all(e.signals is not None for task in (*old.train, *old.test) for e in task)
        if before != all(e.signals is not None for part in added.values() for e in part):
            raise DatasetError(
                f"only one of {first} and what is added has the family's signals: join data that "
                "both have them, or both have none"
            )
    there: dict[Split, Sequence[LabelledEpisode]] = {
        "train": _one_after_another(old.train),
        "test": _one_after_another(old.test),
    }
    counts: dict[Split, int] = {"train": len(old.train), "test": len(old.test)}
    copies = twice(
        family,
        _placed("added ", added, counts, names),
        _placed(f"{first}: ", there, {"train": 0, "test": 0}, None),
    )
    if copies:
        raise DatasetError(copies)
    return split


def joined_names(
    old: Mapping[Split, Sequence[str]],
    new: Mapping[Split, Sequence[str]],
    of_old: tuple[int, int],
    of_new: tuple[int, int],
) -> dict[Split, list[str]]:
    """What the tasks of both are called, each by a name of its own; its number where it has none.

    Args:
        of_old, of_new: how many training tasks there are, and held-out ones.
    """
    numbers = {"train": 0, "test": of_old[0] + of_new[0]}
    found: dict[Split, list[str]] = {"train": [], "test": []}
    taken: set[str] = set()
    for names, counts in ((old, of_old), (new, of_new)):
        for split, count in zip(found, counts, strict=True):
            known = names.get(split, ())
            for index in range(count):
                number = str(numbers[split] + len(found[split]))
                name = own_name(known[index] if index < len(known) else number, taken)
                found[split].append(name)
    return found


def own_name(name: str, taken: set[str]) -> str:
    """`name`, or with a number behind it where that is `taken`; then it is too."""
    count, free = 1, name
    while free in taken:
        count += 1
        free = f"{name} ({count})"
    taken.add(free)
    return free


def _placed(
    where: str,
    episodes: Mapping[Split, Sequence[LabelledEpisode]],
    before: Mapping[Split, int],
    names: Mapping[Split, Sequence[str]] | None,
) -> Iterator[Placed]:
    """Each as `twice` needs it, told by what a dataset keeps of it; `before` as many tasks."""
    for split, part in episodes.items():
        counts: Counter[int] = Counter()
        for episode in part:
            index = episode.task_index
            task = index if names is None else repr(names[split][index])
            place = f"{where}{split} task {task}, episode {counts[index]}"
            counts[index] += 1
            yield place, split, before[split] + index, replace(episode, origin=None)


def _one_after_another(tasks: Sequence[list[LabelledEpisode]]) -> list[LabelledEpisode]:
    return [
        replace(episode, task_index=index)
        for index, episodes in enumerate(tasks)
        for episode in episodes
    ]
