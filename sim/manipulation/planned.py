"""Scripted episodes in batches, each of a plan that its task and number decide, and their noise.

What the two makers of scripted data share. Must not know what a plan holds, nor how it is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import numpy as np

from fieldtune.sim.family import Array, TaskFamily
from fieldtune.sim.rollout import BATCH, LabelledEpisode, Policy, rollout


class Seeded(Protocol):
    """A plan; `seed` says where its episode starts."""

    @property
    def seed(self) -> int: ...


PlanT = TypeVar("PlanT", bound=Seeded)


def collect_planned(
    family: TaskFamily,
    tasks: Array,
    episodes_per_task: int,
    plan: Callable[[int, int], PlanT],
    follow: Callable[[list[PlanT]], Policy],
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[LabelledEpisode]:
    """Yield `episodes_per_task` labelled episodes of every task, task by task.

    Args:
        family: simulates and labels.
        tasks: `(task, parameter)`.
        episodes_per_task: at least 1.
        plan: what an episode does, by the index of its task and its own within the task.
        follow: the policy of a batch of plans, for one episode.
        threads: simulator threads.
        progress: called with the episodes done and the episodes in all.

    Raises:
        ValueError: `episodes_per_task` is below 1.
    """
    if episodes_per_task < 1:
        raise ValueError(f"episodes_per_task is {episodes_per_task}: expected at least 1")
    jobs = [(task, episode) for task in range(len(tasks)) for episode in range(episodes_per_task)]
    for first in range(0, len(jobs), BATCH):
        batch = jobs[first : first + BATCH]
        plans = [plan(task, episode) for task, episode in batch]
        indices = [task for task, _ in batch]
        seeds = np.array([each.seed for each in plans])
        simulator = family.simulator(len(batch), threads)
        try:
            yield from rollout(simulator, family, follow(plans), seeds, tasks[indices], indices)
        finally:
            simulator.close()
        if progress is not None:
            progress(first + len(batch), len(jobs))


def correlated(rng: np.random.Generator, shape: tuple[int, int], steps_kept: float) -> Array:
    """Gaussian noise of deviation 1, correlated over about `steps_kept` steps."""
    keep = np.exp(-1.0 / steps_kept)
    noise = rng.standard_normal(shape)
    for step in range(1, shape[0]):
        noise[step] = keep * noise[step - 1] + np.sqrt(1 - keep**2) * noise[step]
    return noise
