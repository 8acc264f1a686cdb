"""A run's algorithm before it has learned anything: sizes and constants come from the run's data.

What it has learned since, `fieldtune.train.runs.trained` loads. Knows no algorithm by name.
"""

from __future__ import annotations

import numpy as np

from fieldtune.settings import ConfigError
from fieldtune.sim.family import Truths, bounds, width
from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.algorithms.optimisation import place
from fieldtune.train.algorithms.registry import fresh
from fieldtune.train.device import resolve
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.seeds import seed_everything


def constants(run: Run) -> Normalisation:
    """From physical units to those that the run's networks learn in: its training tasks' data have
    zero mean and unit variance there, and what is `unseen` is 0.

    Raises `ConfigError`: there is no such field, or all of them are unseen.
    """
    low, high = bounds(run.family.action_fields)
    data = run.dataset
    observations, rewards = data.observations(), data.rewards()
    found = Normalisation.of(observations, rewards, low, high).guarded(
        run.family.observation_fields, observations, data.next_observations(), rewards
    )
    return found.without(unseen(run))


def unseen(run: Run) -> Truths:
    """Which components of an observation no network is shown, `(observation,)`. Raises as
    `constants`."""
    fields, names = run.family.observation_fields, run.config.algorithm.unseen
    known = [field.name for field in fields]
    for name in names:
        if name not in known:
            raise ConfigError(f"algorithm.unseen has {name!r}: expected some of {', '.join(known)}")
    found = np.array([field.name in names for field in fields for _ in range(field.width)])
    if found.all():
        raise ConfigError("algorithm.unseen has every field: leave one that networks are shown")
    return found


def untrained(run: Run, learning_rate: float | None = None) -> Algorithm:
    """One that has learned nothing; its weights depend on torch's global random state.

    They are drawn on the CPU, so that they are the same ones on every device, and then put where
    the run computes.

    Args:
        run: whose data, family and settings it is for.
        learning_rate: the one of phase 1 where not given.
    """
    normalisation = constants(run)
    shape = Shape(
        observation=len(normalisation.observation_mean),
        action=width(run.family.action_fields),
        next_in_context=run.family.dynamics_vary,
        sparse_reward=run.family.sparse_reward,
        reward_bounds=run.family.reward_bounds,
    )
    settings = run.config.algorithm
    rate = settings.learning_rate if learning_rate is None else learning_rate
    learner = fresh(settings.name, shape, normalisation, settings, rate)
    place(learner, resolve(run.config.device))
    return learner


def untrained_from_seed(
    run: Run, learning_rate: float, seed: int
) -> tuple[Algorithm, np.random.Generator]:
    """The same, and the generator of its draws, both from `seed`.

    Args:
        run: as for `untrained`.
        learning_rate: of the phase.
        seed: of the weights and of every draw.
    """
    rng = seed_everything(seed)
    return untrained(run, learning_rate), rng
