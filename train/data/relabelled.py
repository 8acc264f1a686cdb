"""Cross-task reward relabelling of a dataset as it is read: nothing of it is on disk.

Each task is given other tasks' episodes with its own rewards; their arrays are shared, so that
they take no memory before a replay holds them. Who gets which follows from the data alone. Knows
families by their reward; nothing of learning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, MissingSignals, TaskFamily, Truths
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import Dataset, DatasetError

KEY = "data.relabelled"
SEED = 3  # of the draws: the same for every run, so that seeds of a study learn from the same data


def with_relabelled(dataset: Dataset, family: TaskFamily, count: int) -> Dataset:
    """`dataset` with `count` more episodes of each task: other tasks' of its split, relabelled.

    Half of them are drawn from those that succeed at the task, where the family's rewards are
    sparse and as far as there are such; the rest from all others. No task has one twice.

    Args:
        dataset: as it was read.
        family: whose rewards the episodes get.
        count: of each task.

    Raises:
        DatasetError: tasks differ in their dynamics, signals are missing, or the other tasks have
            not that many episodes.
    """
    if not count:
        return dataset
    if family.dynamics_vary:
        raise DatasetError(
            f"{KEY} is {count}, but tasks of {family.name!r} differ in their dynamics: an episode "
            "only belongs to its own; set 0"
        )
    rng = np.random.default_rng(SEED)
    try:
        return replace(
            dataset,
            train=_more("training", dataset.train, dataset.train_tasks, family, count, rng),
            test=_more("held-out", dataset.test, dataset.test_tasks, family, count, rng),
        )
    except MissingSignals as error:
        raise DatasetError(f"{KEY} is {count}: {error}; or set 0") from error


def relabelled_for(
    episode: LabelledEpisode, family: TaskFamily, task: Array, index: int
) -> LabelledEpisode:
    """The same episode as one of another task.

    Args:
        episode: of any task with the same dynamics.
        family: whose reward it gets.
        task: `(parameter,)`.
        index: of that task, in its split.

    Raises:
        MissingSignals: the reward needs signals that the episode lacks.
    """
    rewards = family.reward(
        episode.observations[:-1],
        episode.actions,
        episode.next_observations,
        task,
        episode.signals,
    )
    return replace(episode, task_index=index, rewards=rewards)


class _Ends(NamedTuple):
    """The last transition of every episode, `(episode, ...)`; says whether it succeeds."""

    observations: Array
    actions: Array
    next_observations: Array
    signals: Array | None

    @classmethod
    def of(cls, episodes: Sequence[LabelledEpisode], family: TaskFamily) -> _Ends:
        measured = [e.signals[-1] for e in episodes if e.signals is not None]
        return cls(
            np.stack([e.observations[e.steps - 1] for e in episodes]),
            np.stack([e.actions[-1] for e in episodes]),
            np.stack([e.next_observations[-1] for e in episodes]),
            np.stack(measured) if family.signal_fields and measured else None,
        )

    def succeed(self, family: TaskFamily, task: Array) -> Truths:
        """Of each episode, whether it ends in success at `task`."""
        ends = self.observations, self.actions, self.next_observations
        return np.asarray(family.reward(*ends, task, self.signals) == 0.0)


def _acted(episode: LabelledEpisode) -> str:
    """Which episode it is, whoever's rewards it carries."""
    known = hashlib.blake2b(np.ascontiguousarray(episode.observations).data, digest_size=16)
    known.update(np.ascontiguousarray(episode.actions).data)
    return known.hexdigest()


def _more(
    name: str,
    split: list[list[LabelledEpisode]],
    tasks: Array,
    family: TaskFamily,
    count: int,
    rng: np.random.Generator,
) -> list[list[LabelledEpisode]]:
    everything = [episode for own in split for episode in own]
    if not everything:
        return []
    of_task = np.repeat(np.arange(len(split)), [len(own) for own in split])
    acted, copies = np.unique([_acted(episode) for episode in everything], return_inverse=True)
    ends = _Ends.of(everything, family) if family.sparse_reward else None
    more: list[list[LabelledEpisode]] = []
    for index, own in enumerate(split):
        fresh = ~np.isin(np.arange(len(acted)), copies[of_task == index])
        _, first = np.unique(copies, return_index=True)  # data may hold relabelled ones already
        others = np.sort(first[fresh])
        if len(others) < count:
            raise DatasetError(
                f"{KEY} is {count}, but all {name} tasks but task {index} have {len(others)} "
                f"episodes together that it has not: set {len(others)} or less, or collect more"
            )
        good = others[:0]
        if ends is not None:
            good = others[ends.succeed(family, tasks[index])[others]]
        chosen = [everything[one] for one in _drawn(others, good, count, rng)]
        more.append([*own, *(relabelled_for(e, family, tasks[index], index) for e in chosen)])
    return more


def _drawn(
    others: NDArray[np.int64], good: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """`count` different ones of `others`, half of them of `good` as far as there are such."""
    first = rng.choice(good, size=min(count // 2, len(good)), replace=False)
    rest = np.setdiff1d(others, first)
    return np.concatenate([first, rng.choice(rest, size=count - len(first), replace=False)])
