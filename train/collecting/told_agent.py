"""The agent that is told the task: it acts, remembers and learns, in units of its own.

Must not know how long it learns, nor which of its episodes become data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fieldtune.sim.family import Array, TaskFamily, bounds, width
from fieldtune.sim.rollout import LabelledEpisode, rollout
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.algorithm import Checkpointable, Metrics
from fieldtune.train.algorithms.task_conditioned_sac import (
    TaskConditionedSac,
    TaskConditionedTransitions,
)
from fieldtune.train.collecting.episode_buffer import EpisodeBuffer, Transitions
from fieldtune.train.config import AgentReplay
from fieldtune.train.data.task_numbers import unwound
from fieldtune.train.device import from_numpy, to_numpy

UPDATE_ROWS = 256
UNIT_ROWS = 10_000  # rewards that their unit is taken from
OWN_SHARE = 0.5  # rows of an update that keep the task they were acted for
UNITS = ("observation_mean", "observation_std", "reward_mean", "reward_std")


class _Drawn(NamedTuple):
    """Transitions in physical units, with tasks `(row, parameter)` that `rewards` are for."""

    transitions: Transitions
    tasks: Array
    rewards: Array


class ToldAgent:
    """The learner, its replay, and the change from physical units to its own.

    Args:
        family: what is told is its task.
        tasks: its training tasks, `(task, parameter)`.
        episodes: how many there is room for.
        settings: of its networks and of its learning.
        threads: simulator threads; they change no bit.
    """

    def __init__(
        self,
        family: TaskFamily,
        tasks: Array,
        episodes: int,
        settings: AgentReplay,
        threads: int,
    ) -> None:
        self._family, self._tasks, self._threads = family, tasks, threads
        self._action_bounds = bounds(family.action_fields)
        observed = width(family.observation_fields)
        numbers = unwound(family, tasks)
        self._sac = TaskConditionedSac(
            observed,
            len(self._action_bounds[0]),
            numbers.shape[1],
            settings.hidden,
            settings.learning_rate,
            settings.discount,
        )
        deviation = numbers.std(axis=0)
        self._task_mean = numbers.mean(axis=0)
        same = deviation <= 1e-9 * np.abs(numbers).max(axis=0)  # whatever its unit
        self._task_std = np.where(same, 1.0, deviation)
        self.buffer = EpisodeBuffer(family, episodes)
        self._units = Normalisation.of(
            np.zeros((1, observed)), np.array([-1.0, 1.0]), *self._action_bounds
        )

    @property
    def learner(self) -> Checkpointable:
        """What has learned: its networks and optimisers."""
        return self._sac

    def units(self) -> dict[str, NDArray[Any]]:
        """Those of its constants that come from what it has seen, for a checkpoint."""
        return {name: np.asarray(getattr(self._units, name)) for name in UNITS}

    def restore_units(self, known: Mapping[str, NDArray[Any]]) -> None:
        """The constants that `units` gave."""
        self._units = replace(
            self._units,
            observation_mean=known["observation_mean"],
            observation_std=known["observation_std"],
            reward_mean=float(known["reward_mean"]),
            reward_std=float(known["reward_std"]),
        )

    def episodes(
        self,
        tasks: Array,
        indices: NDArray[np.int64],
        rng: np.random.Generator,
        *,
        told: Array | None = None,
    ) -> list[LabelledEpisode]:
        """One episode for each of `indices` into `tasks` `(task, parameter)`, side by side.

        `told`, `(episode, parameter)`, is what it believes them to be; the truth where not given.
        """
        chosen = tasks[indices]
        conditions = self._task_input(chosen if told is None else told)
        units = self._units

        def act(observations: Array) -> Array:
            squashed = to_numpy(self._sac.act(self._scaled(observations), conditions).double())
            return units.action_centre + units.action_half_range * squashed

        simulator = self._family.simulator(len(indices), self._threads)
        try:
            seeds = rng.integers(2**31, size=len(indices))
            return rollout(simulator, self._family, act, seeds, chosen, indices.tolist())
        finally:
            simulator.close()

    def remember(self, episodes: Sequence[LabelledEpisode], rng: np.random.Generator) -> None:
        """Add to what is learned from, and take the units from all of it.

        The networks then learn in the new units before they act again.
        """
        self.buffer.add(episodes)
        rewards = self._draw(rng, UNIT_ROWS).rewards
        self._units = Normalisation.of(self.buffer.observations, rewards, *self._action_bounds)

    def learn(self, rng: np.random.Generator) -> Metrics:
        """One update on rows of any task, a share of them relabelled for a random training task
        where tasks share their dynamics."""
        drawn, units = self._draw(rng, UPDATE_ROWS), self._units
        rows = drawn.transitions
        return self._sac.update(
            TaskConditionedTransitions(
                observation=self._scaled(rows.observations),
                action=_tensor((rows.actions - units.action_centre) / units.action_half_range),
                reward=_tensor(drawn.rewards / units.reward_std),
                next_observation=self._scaled(rows.next_observations),
                done=from_numpy(rows.done),
                task=self._task_input(drawn.tasks),
            )
        )

    def _draw(self, rng: np.random.Generator, n: int) -> _Drawn:
        rows = rng.integers(self.buffer.rows, size=n)
        others = rng.integers(len(self._tasks), size=n)
        relabelled = rng.random(n) >= (1.0 if self._family.dynamics_vary else OWN_SHARE)
        taken = self.buffer.take(rows)
        tasks = self._tasks[np.where(relabelled, others, taken.task_index)]
        rewards = self._family.reward(
            taken.observations, taken.actions, taken.next_observations, tasks, taken.signals
        )
        return _Drawn(taken, tasks, rewards)

    def _scaled(self, observations: Array) -> Tensor:
        return _tensor((observations - self._units.observation_mean) / self._units.observation_std)

    def _task_input(self, tasks: Array) -> Tensor:
        return _tensor((unwound(self._family, tasks) - self._task_mean) / self._task_std)


def _tensor(array: Array) -> Tensor:
    return from_numpy(array.astype(np.float32))
