"""Scripted episodes in batches, each of a plan that its task and number decide, and their noise.

What every maker of scripted data shares. Must not know what a plan holds, nor how it is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode, Policy, rollout


class Seeded(Protocol):
    """A plan; `seed` says where its episode starts."""

    @property
    def seed(self) -> int: ...


PlanT = TypeVar("PlanT", bound=Seeded)


def collect_planned(
    family: TaskFamily,
    tasks: Array,
    jobs: Sequence[tuple[int, int]],
    plan: Callable[[int, int], PlanT],
    follow: Callable[[list[PlanT]], Policy],
    threads: int = 1,
) -> list[LabelledEpisode]:
    """The labelled episodes of `jobs`, in their order, all in one batch.

    Args:
        family: simulates and labels.
        tasks: `(task, parameter)`.
        jobs: of each episode, the index of its task and its own within the task.
        plan: what an episode does, by these two.
        follow: the policy of a batch of plans, for one episode.
        threads: simulator threads.
    """
    plans = [plan(task, episode) for task, episode in jobs]
    indices = [task for task, _ in jobs]
    seeds = np.array([each.seed for each in plans])
    simulator = family.simulator(len(jobs), threads)
    try:
        return rollout(simulator, family, follow(plans), seeds, tasks[indices], indices)
    finally:
        simulator.close()


def film_planned(
    family: TaskFamily,
    tasks: Array,
    jobs: Sequence[tuple[int, int]],
    plan: Callable[[int, int], PlanT],
    follow: Callable[[list[PlanT]], Policy],
    frames: int,
    size: int,
) -> Iterator[list[NDArray[np.uint8]]]:
    """Pictures `(size, size, 3)` of the episodes of `jobs`, acted again by the single robot.

    Args:
        family, tasks, jobs, plan, follow: as given to `collect_planned`.
        frames: of an episode, evenly spread: the first at the start and the last at the end.
        size: pixels a side.

    Raises:
        RuntimeError: this machine has no graphics. The message says what to install.
    """
    shots = {round(share * family.horizon) for share in np.linspace(0, 1, frames)}
    robot = family.single_robot()
    try:
        for job in jobs:
            planned = plan(*job)
            act = follow([planned])
            observation = robot.reset(planned.seed, tasks[job[0]])
            pictures = [robot.render(size, size)]
            terminated = False
            for step in range(1, family.horizon + 1):
                if not terminated:
                    observation, terminated = robot.step(act(observation[None])[0])
                if step in shots:
                    pictures.append(robot.render(size, size))
            yield pictures
    finally:
        robot.close()


def correlated(rng: np.random.Generator, shape: tuple[int, int], steps_kept: float) -> Array:
    """Gaussian noise of deviation 1, correlated over about `steps_kept` steps."""
    keep = np.exp(-1.0 / steps_kept)
    noise = rng.standard_normal(shape)
    for step in range(1, shape[0]):
        noise[step] = keep * noise[step - 1] + np.sqrt(1 - keep**2) * noise[step]
    return noise
