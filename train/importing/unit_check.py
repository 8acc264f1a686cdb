"""Whether other people's observations are in the family's units, as far as that shows.

Files without field names do not say whether an angle is in degrees, and most fields have no
declared bounds. But a family has a simulator: what any agent meets is within a factor of ten of
what it shows under random actions, and a wrong unit is further off.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fieldtune.sim.family import Array, TaskFamily, bounds
from fieldtune.sim.rollout import LabelledEpisode, rollout
from fieldtune.train.data.admission import problem
from fieldtune.train.data.plausible import beyond

COPIES = 16


def far_from_simulated(family: TaskFamily, episodes: Iterable[tuple[str, LabelledEpisode]]) -> str:
    """The first of `episodes`, each with its name, that is far from what the simulator shows.

    Empty where none is, or where the family has no simulator.
    """
    try:
        where = beyond(family, simulated(family))
    except NotImplementedError:
        return ""
    for name, episode in episodes:
        wrong = problem(episode, family, where)
        if wrong:
            return f"{name}: {wrong}"
    return ""


def simulated(family: TaskFamily) -> list[LabelledEpisode]:
    """`COPIES` episodes of random actions. Raises `NotImplementedError`: it has no simulator."""
    low, high = bounds(family.action_fields)
    rng = np.random.default_rng(0)
    tasks = family.split().train

    def act(observations: Array) -> Array:
        return rng.uniform(low, high, (len(observations), len(low)))

    simulator = family.simulator(COPIES)
    try:
        turns = np.arange(COPIES)
        return rollout(simulator, family, act, turns, tasks[turns % len(tasks)])
    finally:
        simulator.close()
