"""Cross-task reward relabelling: some of the other tasks' episodes, with this task's rewards.

A decoder that only ever saw a task's own agent must guess what the task pays elsewhere, and labels
what exploration finds there wrongly (docs/lean.md has the numbers). Pure functions of episodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fieldtune.sim.family import Array, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.relabelled import relabelled_for

KEY = "data.agent.relabelled"


class CannotRelabel(ValueError):
    """Episodes cannot be shared as asked. The message names the key and the cure."""


def check_relabelled(family: TaskFamily, episodes_per_task: int, relabelled: int) -> None:
    """Check that tasks can share episodes as `data.agent.relabelled` asks.

    Args:
        family: whose tasks they are.
        episodes_per_task: that the data has of each task.
        relabelled: how many of those are acted for other tasks.

    Raises:
        CannotRelabel: tasks differ in their dynamics, or none would keep an episode of its own.
    """
    if relabelled and family.dynamics_vary:
        raise CannotRelabel(
            f"{KEY} is {relabelled}, but tasks of {family.name!r} differ in their dynamics: an "
            "episode only belongs to its own; set 0"
        )
    if relabelled >= episodes_per_task:
        raise CannotRelabel(
            f"{KEY} is {relabelled} of data.episodes_per_task {episodes_per_task}: leave every "
            "task one episode of its own at least"
        )


def share_episodes(
    episodes: Sequence[LabelledEpisode],
    family: TaskFamily,
    tasks: Array,
    relabelled: int,
    rng: np.random.Generator,
) -> list[LabelledEpisode]:
    """As many episodes of each task, `relabelled` of them acted for others.

    A task's own ones are those spread evenly over what it had; the others' tasks and moments are
    drawn from `rng`.

    Args:
        episodes: task by task, equally many of each, with `task_index` into `tasks`.
        tasks: `(task, parameter)`.
    """
    if not relabelled:
        return list(episodes)
    by_task: list[list[LabelledEpisode]] = [[] for _ in tasks]
    for episode in episodes:
        by_task[episode.task_index].append(episode)
    shared: list[LabelledEpisode] = []
    for index, own in enumerate(by_task):
        kept = len(own) - relabelled
        shared += [own[int((turn + 0.5) * len(own) / kept)] for turn in range(kept)]
        for _ in range(relabelled):
            other = by_task[_another(rng, index, len(tasks))]
            taken = other[int(rng.integers(len(other)))]
            shared.append(relabelled_for(taken, family, tasks[index], index))
    return shared


def _another(rng: np.random.Generator, index: int, tasks: int) -> int:
    return (index + 1 + int(rng.integers(tasks - 1))) % tasks
