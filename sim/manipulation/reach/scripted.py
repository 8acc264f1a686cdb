"""Scripted data for `reach`: suboptimal, and covering far more than each task's own target.

Where a task's data only ever went to its own target, the state alone would explain the reward and a
context encoder would learn nothing. So most episodes go elsewhere, and are labelled all the same.
It knows the family and rollouts; nothing of datasets on disk or of learning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, bounds
from fieldtune.sim.manipulation.reach.family import OUTER_RADIUS, TABLE_CLEARANCE, ReachFamily
from fieldtune.sim.planned import collect_planned, correlated
from fieldtune.sim.rollout import LabelledEpisode, mean_return, pairs, rollout

BEST_GAIN = 3.0  # of 0.5 to 4, no gain reaches much sooner: the arm's speed limit decides
POLICY = "scripted, a quarter of it towards the own target"
STYLES = ("own target", "elsewhere", "waypoints", "wander")


@dataclass(frozen=True)
class Plan:
    """What one scripted episode does, whatever it meets: action = gain·(aim − position) + noise.

    `aims` and `noise` are `(horizon, 3)` in metres, base frame.
    """

    seed: int
    gain: float
    aims: Array
    noise: Array


def plan(family: ReachFamily, target: Array, style: str, rng: np.random.Generator) -> Plan:
    """Draw one episode's plan, with its own gain and noise.

    Args:
        family: which arm, and how long an episode is.
        target: the task's, `(3,)` m in the base frame.
        style: one of the `STYLES`.
        rng: of all that is drawn.
    """
    horizon = family.horizon
    gain = rng.uniform(0.3, 1.5)
    # Nearly white: where actions follow from the velocity, a policy copies them and never stops.
    noise = _correlated(rng, horizon, deviation=rng.uniform(0.005, 0.04), steps_kept=(0.2, 3.0))
    if style == "own target":
        stops = [target]
    elif style == "elsewhere":
        stops = [_anywhere(family, rng)]
    elif style == "waypoints":
        stops = [_anywhere(family, rng) for _ in range(rng.integers(2, 5))]
        if rng.random() < 0.5:
            stops[rng.integers(len(stops))] = target
    else:
        stops = [np.array(family.arm.home_position)]
        gain = rng.uniform(0.0, 0.1)
        noise = _correlated(rng, horizon, deviation=rng.uniform(0.02, 0.05), steps_kept=(1.0, 15.0))
    held = np.sort(rng.integers(0, horizon, len(stops) - 1))
    which = np.searchsorted(held, np.arange(horizon), side="right")
    return Plan(int(rng.integers(2**31)), gain, np.array(stops)[which], noise)


def collect_scripted(
    family: ReachFamily,
    seed: int,
    tasks: Array,
    jobs: Sequence[tuple[int, int]],
    threads: int = 1,
) -> list[LabelledEpisode]:
    """Labelled episodes of a collection, side by side.

    A task's episodes take the styles in turns, so that it has equally many of each. Everything
    follows from `seed`: an episode depends neither on which others are asked for with it, nor on
    `threads`.

    Args:
        family: which arm.
        seed: of the whole collection.
        tasks: the collection's, `(task, 3)` targets.
        jobs: of each episode, the index of its task and its own within the task.
        threads: simulator threads.
    """

    def planned(task: int, episode: int) -> Plan:
        rng = np.random.default_rng([seed, task, episode])
        return plan(family, tasks[task], STYLES[episode % len(STYLES)], rng)

    low, high = bounds(family.action_fields)
    return collect_planned(
        family,
        tasks,
        jobs,
        planned,
        lambda plans: _follow(family, plans, low, high),
        threads,
    )


def scripted_return(
    family: ReachFamily, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
) -> float:
    """Mean return of `scripted_episodes`, with its arguments: close to the best there is."""
    return mean_return(scripted_episodes(family, tasks, seeds, threads))


def scripted_episodes(
    family: ReachFamily, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
) -> list[LabelledEpisode]:
    """Episodes of going straight to the target, which it is told.

    Args:
        family: which arm.
        tasks: `(task, 3)`; each is done from every seed.
        seeds: of the start states, `(seed,)`.
        threads: simulator threads.
    """
    every_task, every_seed = pairs(tasks, seeds)
    low, high = bounds(family.action_fields)
    simulator = family.simulator(len(every_seed), threads)

    def straight(observations: Array) -> Array:
        return np.clip(BEST_GAIN * (every_task - family.end_effector(observations)), low, high)

    try:
        return rollout(simulator, family, straight, every_seed, every_task)
    finally:
        simulator.close()


def _follow(
    family: ReachFamily, plans: list[Plan], low: Array, high: Array
) -> Callable[[Array], Array]:
    """The policy of a batch of plans; counts its own steps."""
    gains = np.array([each.gain for each in plans])[:, None]
    aims = np.stack([each.aims for each in plans], axis=1)
    noise = np.stack([each.noise for each in plans], axis=1)
    steps = iter(range(family.horizon))

    def act(observations: Array) -> Array:
        step = next(steps)
        wanted = gains * (aims[step] - family.end_effector(observations)) + noise[step]
        return np.clip(wanted, low, high)

    return act


def _anywhere(family: ReachFamily, rng: np.random.Generator) -> Array:
    """A point of the ball that holds all targets, above the table, `(3,)`."""
    home = np.array(family.arm.home_position)
    while True:
        direction = rng.standard_normal(3)
        radius = 1.1 * OUTER_RADIUS * rng.random() ** (1 / 3)
        point = home + radius * direction / np.linalg.norm(direction)
        if point[2] >= family.arm.table_height + TABLE_CLEARANCE:
            return point


def _correlated(
    rng: np.random.Generator, steps: int, deviation: float, steps_kept: tuple[float, float]
) -> Array:
    """Gaussian noise `(steps, 3)` of that deviation, correlated over a random number of steps."""
    return deviation * correlated(rng, (steps, 3), rng.uniform(*steps_kept))
