"""Scripted data of one's own family from one function: an action for what is seen and asked.

The episodes are suboptimal and cover more than their own task: where a task's data only ever did
that task, the state alone would explain the reward and a context encoder would learn nothing.
Knows families and rollouts through their contracts; no family, no dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, TaskFamily, bounds, width
from fieldtune.sim.planned import collect_planned, correlated, film_planned
from fieldtune.sim.rollout import LabelledEpisode, Policy, mean_return, pairs, rollout

STYLES = ("own", "other", "own", "own", "wander", "own", "other", "own")
SLOWEST = 0.3  # of the script's action, in the laziest episode
BRIEF, IDLE = (0.2, 3.0), (1.0, 15.0)  # steps that noise lasts: nearly white, and in wandering


@dataclass(frozen=True)
class Plan:
    """What one episode does: the script is told the task `meant` and followed by `gain`, 0 where it
    wanders; `noise` `(horizon, action)` is in half an action's range."""

    seed: int
    meant: Array
    gain: float
    noise: Array


@dataclass(frozen=True)
class NoisyScript:
    """A `fieldtune.sim.scripted.Scripted` made of a function that is told the task.

    Five eighths of a task's episodes do the task, a quarter does another one of the collection, the
    rest wander; each has its own strength and noise.

    Attributes:
        act: observations `(env, observation)` and tasks `(env, parameter)` to actions
            `(env, action)`. A pure function, row by row; what it gives is clipped to bounds.
        noise: the largest deviation of the noise, as a share of half an action's range.
    """

    act: Callable[[Array, Array], Array]
    noise: float = 0.3

    @property
    def POLICY(self) -> str:
        return "scripted and noisy, five eighths of it at its own task, a quarter at another one's"

    def collect_scripted(
        self,
        family: TaskFamily,
        seed: int,
        tasks: Array,
        jobs: Sequence[tuple[int, int]],
        threads: int = 1,
    ) -> list[LabelledEpisode]:
        """See `Scripted.collect_scripted`."""
        return collect_planned(
            family,
            tasks,
            jobs,
            lambda task, episode: self._plan(family, seed, tasks, task, episode),
            lambda plans: self._follow(family, plans),
            threads,
        )

    def scripted_return(
        self, family: TaskFamily, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
    ) -> float:
        """See `Scripted.scripted_return`."""
        return mean_return(self.scripted_episodes(family, tasks, seeds, threads))

    def scripted_episodes(
        self, family: TaskFamily, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
    ) -> list[LabelledEpisode]:
        """See `Scripted`."""
        every_task, every_seed = pairs(tasks, seeds)
        low, high = bounds(family.action_fields)
        simulator = family.simulator(len(every_seed), threads)

        def told(observations: Array) -> Array:
            return np.clip(self.act(observations, every_task), low, high)

        try:
            return rollout(simulator, family, told, every_seed, every_task)
        finally:
            simulator.close()

    def film(
        self,
        family: TaskFamily,
        seed: int,
        tasks: Array,
        jobs: Sequence[tuple[int, int]],
        frames: int,
        size: int,
    ) -> Iterator[list[NDArray[np.uint8]]]:
        """Pictures of episodes of `collect_scripted`: `fieldtune.sim.planned.film_planned`."""
        return film_planned(
            family,
            tasks,
            jobs,
            lambda task, episode: self._plan(family, seed, tasks, task, episode),
            lambda plans: self._follow(family, plans),
            frames,
            size,
        )

    def _plan(self, family: TaskFamily, seed: int, tasks: Array, task: int, episode: int) -> Plan:
        rng = np.random.default_rng([seed, task, episode])
        style = STYLES[episode % len(STYLES)]
        other = tasks[rng.integers(len(tasks))]
        wanders = style == "wander"
        noise = correlated(
            rng,
            (family.horizon, width(family.action_fields)),
            rng.uniform(*(IDLE if wanders else BRIEF)),
        )
        return Plan(
            seed=int(rng.integers(2**31)),
            meant=other if style == "other" else tasks[task],
            gain=0.0 if wanders else rng.uniform(SLOWEST, 1.0),
            noise=noise * (1.0 if wanders else rng.uniform(0.1, 1.0) * self.noise),
        )

    def _follow(self, family: TaskFamily, plans: list[Plan]) -> Policy:
        """The policy of a batch of plans; counts its own steps."""
        low, high = bounds(family.action_fields)
        centre, half = (low + high) / 2, (high - low) / 2
        gains = np.array([each.gain for each in plans])[:, None]
        noise = np.stack([each.noise for each in plans], axis=1)
        asked = np.stack([each.meant for each in plans])
        steps = iter(range(family.horizon))

        def act(observations: Array) -> Array:
            wanted = np.clip(self.act(observations, asked), low, high) - centre
            return np.clip(centre + gains * wanted + half * noise[next(steps)], low, high)

        return act
