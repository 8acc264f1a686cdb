"""What success is, for families that say from which reward on a state is one (`success_reward`).

The state that an episode *ends* in counts: a block pushed past its goal, or a
thing dropped again, is no success.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fieldtune.sim.family import TaskFamily
from fieldtune.sim.rollout import LabelledEpisode


def has_success(family: TaskFamily) -> bool:
    """Whether the family says what success is."""
    return family.success_reward is not None


def succeeded(family: TaskFamily, episode: LabelledEpisode) -> bool:
    """Whether the episode's last step ended in success; never where the family has none."""
    least = family.success_reward
    return least is not None and bool(episode.rewards[-1] >= least)


def success_rate(family: TaskFamily, episodes: Sequence[LabelledEpisode]) -> float | None:
    """The share of `episodes` that succeeded; None where the family has no success, and of no
    episodes."""
    if not episodes or not has_success(family):
        return None
    return float(np.mean([succeeded(family, episode) for episode in episodes]))


def success_by_task(
    family: TaskFamily, episodes: Sequence[LabelledEpisode], tasks: int
) -> list[float] | None:
    """`success_rate` of each task, rounded to three digits; a task without episodes has 0.

    Args:
        family: whose rewards they are.
        episodes: of any of the tasks.
        tasks: how many there are; an episode's `task_index` counts from 0.

    Returns:
        None where `success_rate` is None.
    """
    if success_rate(family, episodes) is None:
        return None
    done, all_of = np.zeros(tasks), np.zeros(tasks)
    for episode in episodes:
        all_of[episode.task_index] += 1
        done[episode.task_index] += succeeded(family, episode)
    return [round(float(value), 3) for value in done / np.maximum(all_of, 1)]
