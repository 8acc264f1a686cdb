"""Scripted data of any family on the table: suboptimal, and covering more than its own task.

Where a task's data only ever did that task, the state alone would explain the reward and a context
encoder would learn nothing. So a share of the episodes does what another task of the same scene
asks, or nothing in particular, and is labelled all the same. Noise on the actions is nearly white:
where actions follow from the velocity, a cloned policy copies its own momentum and never stops.
It knows families and rollouts; nothing of datasets on disk or of learning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, bounds
from fieldtune.sim.manipulation.family import ManipulationFamily
from fieldtune.sim.manipulation.scripts.script import Script, Seen, wander
from fieldtune.sim.planned import collect_planned, correlated, film_planned
from fieldtune.sim.rollout import LabelledEpisode, mean_return, pairs, rollout

POLICY = "scripted and noisy, five eighths of it at its own task, a quarter at another one's"
STYLES = ("own", "other", "own", "own", "wander", "own", "other", "own")
BEST_GAIN = 3.0


@dataclass(frozen=True)
class Plan:
    """What one scripted episode does: action = gain · gap + noise.

    `meant` is the task that its script does, None where it wanders; `noise` `(horizon, 4)`.
    """

    seed: int
    meant: Array | None
    gain: float
    noise: Array
    wander_seed: int


def plan(family: ManipulationFamily, task: Array, style: str, rng: np.random.Generator) -> Plan:
    """Draw one episode's plan, with its own speed and noise.

    Args:
        family: which arm and scene, and how long an episode is.
        task: the data's, `(parameter,)`.
        style: one of the `STYLES`.
        rng: of all that is drawn.
    """
    noise = correlated(rng, (family.horizon, 4), rng.uniform(0.2, 3.0))
    noise[:, :3] *= rng.uniform(0.005, 0.035)
    noise[:, 3] *= rng.uniform(0.1, 0.4)
    meant = {"own": task, "other": family.other_task(task, rng), "wander": None}[style]
    return Plan(
        seed=int(rng.integers(2**31)),
        meant=meant,
        gain=rng.uniform(1.0, BEST_GAIN),
        noise=noise,
        wander_seed=int(rng.integers(2**31)),
    )


def collect_scripted(
    family: ManipulationFamily,
    seed: int,
    tasks: Array,
    jobs: Sequence[tuple[int, int]],
    threads: int = 1,
) -> list[LabelledEpisode]:
    """Labelled episodes of a collection, side by side.

    A task's episodes take the styles in turns. Everything follows from `seed`: an episode depends
    neither on which others are asked for with it, nor on `threads`.

    Args:
        family: which arm and scene.
        seed: of the whole collection.
        tasks: the collection's, `(task, parameter)`.
        jobs: of each episode, the index of its task and its own within the task.
        threads: simulator threads.
    """
    return collect_planned(
        family,
        tasks,
        jobs,
        lambda task, episode: _planned(family, seed, tasks, task, episode),
        lambda plans: _follow(family, plans),
        threads,
    )


def scripted_return(
    family: ManipulationFamily, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
) -> float:
    """Mean return of the script that is told the task, without noise: a mark to measure by.

    Args:
        family, tasks, seeds, threads: as given to `scripted_episodes`.
    """
    return mean_return(scripted_episodes(family, tasks, seeds, threads))


def scripted_episodes(
    family: ManipulationFamily, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
) -> list[LabelledEpisode]:
    """Episodes of the script without noise: every task from every seed, task by task.

    Args:
        family: which arm and scene.
        tasks: `(task, parameter)`.
        seeds: of the start states, `(seed,)`.
        threads: simulator threads.
    """
    every_task, every_seed = pairs(tasks, seeds)
    calm = np.zeros((family.horizon, 4))
    plans = [
        Plan(int(seed), task, BEST_GAIN, calm, 0)
        for task, seed in zip(every_task, every_seed, strict=True)
    ]
    simulator = family.simulator(len(plans), threads)
    try:
        return rollout(simulator, family, _follow(family, plans), every_seed, every_task)
    finally:
        simulator.close()


def film(
    family: ManipulationFamily,
    seed: int,
    tasks: Array,
    jobs: Sequence[tuple[int, int]],
    frames: int,
    size: int,
) -> Iterator[list[NDArray[np.uint8]]]:
    """Pictures of episodes of `collect_scripted`: `fieldtune.sim.planned.film_planned`.

    The single robot does what the data's did, in robosuite's own loop.
    """
    return film_planned(
        family,
        tasks,
        jobs,
        lambda task, episode: _planned(family, seed, tasks, task, episode),
        lambda plans: _follow(family, plans),
        frames,
        size,
    )


def _planned(family: ManipulationFamily, seed: int, tasks: Array, task: int, episode: int) -> Plan:
    rng = np.random.default_rng([seed, task, episode])
    return plan(family, tasks[task], STYLES[episode % len(STYLES)], rng)


def _follow(family: ManipulationFamily, plans: list[Plan]) -> Callable[[Array], Array]:
    """The policy of a batch of plans; counts its own steps."""
    low, high = bounds(family.action_fields)
    scripts: list[Script] = []
    steps = iter(range(family.horizon))

    def act(observations: Array) -> Array:
        step = next(steps)
        views = [_seen(family, row) for row in observations]
        if not scripts:
            scripts.extend(_begun(family, *each) for each in zip(plans, views, strict=True))
            wishes = [next(script) for script in scripts]
        else:
            wishes = [script.send(view) for script, view in zip(scripts, views, strict=True)]
        wanted = [
            np.append(each.gain * wish.gap, wish.gripper) + each.noise[step]
            for each, wish in zip(plans, wishes, strict=True)
        ]
        return np.clip(wanted, low, high)

    return act


def _begun(family: ManipulationFamily, plan: Plan, seen: Seen) -> Script:
    if plan.meant is not None:
        return family.script(seen, plan.meant)
    return wander(seen, family.arm.table_height, np.random.default_rng(plan.wander_seed))


def _seen(family: ManipulationFamily, observation: Array) -> Seen:
    fields, start = {}, 0
    for field in family.observation_fields:
        fields[field.name] = observation[start : start + field.width]
        start += field.width
    return Seen(fields["end_effector_position"], fields)
