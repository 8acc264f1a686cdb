"""What success is, for families whose reward is 0 in a state that is success and −1 elsewhere.

Knows rewards only. The state that an episode *ends* in counts: a block pushed past its goal, or a
thing dropped again, is no success.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.family import Array
from sim.rollout import LabelledEpisode


def is_sparse(rewards: Array) -> bool:
    """Whether every reward is −1 or 0, so that success means something."""
    return bool(np.isin(rewards, (-1.0, 0.0)).all())


def succeeded(episode: LabelledEpisode) -> bool:
    """Whether the episode's last step ended in success."""
    return bool(episode.rewards[-1] == 0.0)


def success_rate(episodes: Sequence[LabelledEpisode]) -> float | None:
    """The share of `episodes` that succeeded; None where their rewards are of another kind."""
    if not episodes or not all(is_sparse(episode.rewards) for episode in episodes):
        return None
    return float(np.mean([succeeded(episode) for episode in episodes]))


def success_by_task(episodes: Sequence[LabelledEpisode], tasks: int) -> list[float] | None:
    """`success_rate` of each of `tasks`; None as there. A task without episodes has 0."""
    if success_rate(episodes) is None:
        return None
    done, all_of = np.zeros(tasks), np.zeros(tasks)
    for episode in episodes:
        all_of[episode.task_index] += 1
        done[episode.task_index] += succeeded(episode)
    return [round(float(value), 3) for value in done / np.maximum(all_of, 1)]
