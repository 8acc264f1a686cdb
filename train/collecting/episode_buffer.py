"""The replay of the agent behind a dataset: whole episodes, held once, in physical units.

Observations stay float64, as rewards are computed from them anew for other tasks: with float32, a
speed from two positions would be off by up to 1e-4. Knows nothing of learning or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, TaskFamily, width
from fieldtune.sim.rollout import LabelledEpisode


class Transitions(NamedTuple):
    """Rows in physical units, `(row, feature)`; `done` and `task_index` are `(row,)`.

    `task_index` is the task that each was acted for, `signals` None where there are none.
    """

    observations: Array
    actions: Array
    next_observations: Array
    done: NDArray[np.float32]
    task_index: NDArray[np.int64]
    signals: Array | None


class EpisodeBuffer:
    """Room for `episodes` whole episodes of `family`; memory is only taken as they come."""

    def __init__(self, family: TaskFamily, episodes: int) -> None:
        rows = episodes * family.horizon
        # An episode's T+1 observations follow each other, so that s' is the row after s.
        self._observations = np.empty((rows + episodes, width(family.observation_fields)))
        self._actions = np.empty((rows, width(family.action_fields)))
        self._rewards = np.empty(rows)
        self._signals = np.empty((rows, width(family.signal_fields)))
        self._task_index = np.empty(rows, np.int64)
        self._done = np.zeros(rows, np.float32)
        self._observation_rows = np.empty(rows, np.int64)  # where each row's s is
        self._episodes: list[tuple[int, int, bool]] = []  # first row, steps, terminated
        self.rows = 0

    @property
    def observations(self) -> Array:
        """Every observation so far, also those that nothing was done in."""
        return self._observations[: self.rows + len(self._episodes)]

    def add(self, episodes: Sequence[LabelledEpisode]) -> None:
        """Copy whole episodes behind those there are. Raises `ValueError` for one too many."""
        for episode in episodes:
            start, end = self.rows, self.rows + episode.steps
            first = start + len(self._episodes)
            self._observations[first : first + episode.steps + 1] = episode.observations
            self._actions[start:end] = episode.actions
            self._rewards[start:end] = episode.rewards
            if episode.signals is not None:
                self._signals[start:end] = episode.signals
            self._task_index[start:end] = episode.task_index
            self._done[end - 1] = episode.terminated
            self._observation_rows[start:end] = np.arange(first, first + episode.steps)
            self._episodes.append((start, episode.steps, episode.terminated))
            self.rows = end

    def take(self, rows: NDArray[np.int64]) -> Transitions:
        """Copies of `rows` `(row,)`, each below `self.rows`."""
        before = self._observation_rows[rows]
        return Transitions(
            observations=self._observations[before],
            actions=self._actions[rows],
            next_observations=self._observations[before + 1],
            done=self._done[rows],
            task_index=self._task_index[rows],
            signals=self._signals[rows] if self._signals.shape[1] else None,
        )

    def episodes(self) -> list[LabelledEpisode]:
        """Every episode, in the order in which they were added; their arrays are views."""
        found = []
        for index, (start, steps, terminated) in enumerate(self._episodes):
            rows, first = slice(start, start + steps), start + index
            found.append(
                LabelledEpisode(
                    task_index=int(self._task_index[start]),
                    observations=self._observations[first : first + steps + 1],
                    actions=self._actions[rows],
                    rewards=self._rewards[rows],
                    terminated=terminated,
                    signals=self._signals[rows] if self._signals.shape[1] else None,
                )
            )
        return found
