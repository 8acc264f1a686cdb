"""Closed-loop episodes of any family, collected in batches and labelled with their rewards.

Knows simulators and families through their contracts only, and policies as functions of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, BatchSimulator, TaskFamily, bounds

BATCH = 64  # copies stepped together where the caller has no opinion

Policy = Callable[[Array], Array]
"""Observations `(env, observation)` to actions `(env, action)`, physical units."""


@dataclass(frozen=True)
class LabelledEpisode:
    """One episode of `steps` transitions with the rewards of its own task.

    `observations` `(steps + 1, observation)`, `actions` `(steps, action)`, `rewards` `(steps,)`.
    `task_index` counts within the tasks it was collected for. `terminated` says that the last step
    led to a terminal state; reaching the horizon does not. `signals` `(steps, signal)` are what the
    reward needs besides; None where the family's needs none, or where nobody measured them.
    `following` `(steps, observation)` is what each step led to in an episode that was thinned out,
    where the next row of `observations` does not follow; None in a whole one. `origin` are digests
    of the whole one that it was taken from, where they were taken.
    """

    task_index: int
    observations: Array
    actions: Array
    rewards: Array
    terminated: bool
    signals: Array | None = None
    following: Array | None = None
    origin: tuple[str, str] | None = None

    @property
    def next_observations(self) -> Array:
        """What each step led to, `(steps, observation)`."""
        return self.observations[1:] if self.following is None else self.following

    @property
    def steps(self) -> int:
        return len(self.actions)


Heed = Callable[[Array, Array, Array, Array], None]
"""s `(env, observation)`, a `(env, action)`, r `(env,)` and s', in physical units."""


def rollout(
    simulator: BatchSimulator,
    family: TaskFamily,
    policy: Policy,
    seeds: NDArray[np.int64],
    tasks: Array,
    task_indices: Sequence[int] | None = None,
    heed: Heed | None = None,
) -> list[LabelledEpisode]:
    """Run one episode in every copy of `simulator`.

    Args:
        simulator: as many copies as there are seeds.
        family: gives the horizon and the reward.
        policy: called once a step for all copies. Its actions are stored as given.
        seeds: `(env,)` start states.
        tasks: `(env, parameter)`.
        task_indices: what each episode's `task_index` says; counts up from 0 where not given.
        heed: told each step with its true rewards, before the next action is asked for; also of
            copies that are over, which go on until all are.

    Raises:
        ValueError: where seeds, tasks and copies are not equally many.
    """
    n = simulator.n_envs
    indices = list(range(n)) if task_indices is None else list(task_indices)
    if not len(seeds) == len(tasks) == len(indices) == n:
        raise ValueError(
            f"rollout: {n} copies, {len(seeds)} seeds, {len(tasks)} tasks and {len(indices)} task "
            "indices: give one of each a copy"
        )
    observed = [simulator.reset(seeds, tasks)]
    acted: list[Array] = []
    measured: list[Array] = []
    lengths = np.full(n, family.horizon)
    terminal = np.zeros(n, dtype=np.bool_)
    for step in range(family.horizon):
        acted.append(np.asarray(policy(observed[-1]), dtype=np.float64))
        following, done = simulator.step(acted[-1])
        observed.append(following)
        if family.signal_fields:
            measured.append(simulator.signals())
        lengths[done & ~terminal] = step + 1
        terminal |= done
        if terminal.all():
            break
        if heed is not None:
            s, a, seen = observed[-2], acted[-1], measured[-1] if measured else None
            heed(s, a, family.reward(s, a, following, tasks, seen), following)
    observations = np.stack(observed, axis=1)
    actions = np.stack(acted, axis=1)
    signals = np.stack(measured, axis=1) if measured else None
    rewards = family.reward(
        observations[:, :-1], actions, observations[:, 1:], tasks[:, None], signals
    )
    return [
        LabelledEpisode(
            task_index=indices[env],
            observations=observations[env, : length + 1],
            actions=actions[env, :length],
            rewards=rewards[env, :length],
            terminated=bool(terminal[env]),
            signals=None if signals is None else signals[env, :length],
        )
        for env, length in enumerate(lengths)
    ]


def mean_return(episodes: Sequence[LabelledEpisode]) -> float:
    """Sum of rewards of an episode, averaged over episodes."""
    return float(np.mean([episode.rewards.sum() for episode in episodes]))


def random_return(
    family: TaskFamily, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
) -> float:
    """Mean return of `random_episodes`, with its arguments."""
    return mean_return(random_episodes(family, tasks, seeds, threads))


def random_episodes(
    family: TaskFamily, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
) -> list[LabelledEpisode]:
    """Episodes of uniformly random actions: every task from every seed.

    Args:
        family: which family.
        tasks: `(task, parameter)`.
        seeds: of the start states and of the actions, `(seed,)`.
        threads: simulator threads.
    """
    low, high = bounds(family.action_fields)
    rng = np.random.default_rng(seeds)
    every_task, every_seed = pairs(tasks, seeds)
    simulator = family.simulator(len(every_seed), threads)
    try:
        return rollout(
            simulator,
            family,
            lambda observations: rng.uniform(low, high, (len(observations), len(low))),
            every_seed,
            every_task,
        )
    finally:
        simulator.close()


def pairs(tasks: Array, seeds: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
    """Every task with every seed: `(task·seed, parameter)` and `(task·seed,)`, task by task."""
    return np.repeat(tasks, len(seeds), axis=0), np.tile(np.asarray(seeds), len(tasks))
