"""Two datasets of one family made into a third: new tasks, without collecting the old ones again.

Neither of the two is changed. Knows datasets only; not where their episodes come from.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fieldtune.sim.family import TaskFamily, TaskSplit
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import (
    Dataset,
    DatasetError,
    read_dataset,
    read_metadata,
    write_dataset,
)
from fieldtune.train.data.task_numbers import in_both


def join_datasets(out: Path, family: TaskFamily, first: Path, added: Path) -> str:
    """Write the tasks and episodes of `first`, and behind them those of `added`; return the id.

    Args:
        out: the new dataset's folder.
        family: of both.
        first, added: datasets.

    Raises:
        DatasetError: one cannot be read, a task is in both, only one of them has the signals that
            rewards need, or `out` exists; nothing was written.
    """
    old, new = read_dataset(first, family), read_dataset(added, family)
    for name, ours, theirs in (
        ("train", old.train_tasks, new.train_tasks),
        ("test", old.test_tasks, new.test_tasks),
    ):
        known = {tuple(task) for task in ours.tolist()}
        twice = [task for task in theirs.tolist() if tuple(task) in known]
        if twice:
            raise DatasetError(
                f"{name} task {twice[0]} is in {first} already: leave it out of what is added"
            )
    split = TaskSplit(
        np.concatenate([old.train_tasks, new.train_tasks]),
        np.concatenate([old.test_tasks, new.test_tasks]),
    )
    same = in_both(family, split)
    if same is not None:
        raise DatasetError(
            f"task {split.train[same[0]].tolist()} is trained on in one of {first} and what is "
            "added, and held out in the other: what is held out must not be trained on; leave it "
            "out"
        )
    how = read_metadata(first)["how"]
    joined = [*how.get("joined", []), read_metadata(added)["how"]]
    return write_dataset(
        out,
        family,
        train=_one_after_another(old.train, new.train),
        test=_one_after_another(old.test, new.test),
        how=how | {"joined": joined, "joined_to": old.digest},
        tasks=split,
        measured=_measured(family, first, old, new),
    )


def _one_after_another(
    old: list[list[LabelledEpisode]], new: list[list[LabelledEpisode]]
) -> list[LabelledEpisode]:
    return [
        replace(episode, task_index=index)
        for index, task in enumerate([*old, *new])
        for episode in task
    ]


def _measured(family: TaskFamily, first: Path, old: Dataset, new: Dataset) -> bool:
    if not family.signal_fields:
        return old.id.startswith("fieldtune/") and new.id.startswith("fieldtune/")
    have = {
        e.signals is not None
        for data in (old, new)
        for task in (*data.train, *data.test)
        for e in task
    }
    if len(have) > 1:
        raise DatasetError(
            f"only one of {first} and what is added has the family's signals: join data that both "
            "have them, or both have none"
        )
    return have.pop()
