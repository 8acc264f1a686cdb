"""What every locomotion family is held to, once for all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fieldtune.sim.family import Array, TaskFamily, bounds
from fieldtune.sim.rollout import LabelledEpisode, rollout


@pytest.fixture(scope="session")
def random_episodes() -> Callable[..., tuple[list[LabelledEpisode], Array, np.ndarray]]:
    """`random_episodes(family, n, strength=1.2, threads=1)`: an episode of every one of `n` tasks
    under random actions, some beyond their range; with the tasks and the seeds."""

    def make(
        family: TaskFamily, n: int, strength: float = 1.2, threads: int = 1
    ) -> tuple[list[LabelledEpisode], Array, np.ndarray]:
        low, high = bounds(family.action_fields)
        rng = np.random.default_rng(n)
        tasks, seeds = family.sample_tasks(5, n), np.arange(n) + 100
        simulator = family.simulator(n, threads)
        try:
            episodes = rollout(
                simulator,
                family,
                lambda seen: strength * rng.uniform(low, high, (len(seen), len(low))),
                seeds,
                tasks,
            )
        finally:
            simulator.close()
        return episodes, tasks, seeds

    return make
