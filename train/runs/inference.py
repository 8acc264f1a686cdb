"""What a run's exploration infers z by: `inference` of its configuration.

Knows runs and what trains in them; not how either inference works.
"""

from __future__ import annotations

from fieldtune.train.agent.actor import Adaptive
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.likelihood import ByLikelihood
from fieldtune.train.algorithms.algorithm import SelfSupervised
from fieldtune.train.data.replay import Replay
from fieldtune.train.runs.particles import offline_particles
from fieldtune.train.runs.run import Run


def inferring(run: Run, algorithm: SelfSupervised, offline: Replay) -> Adaptive:
    """`algorithm` as it is now, adapting as the run asks for.

    Args:
        run: whose `inference` is read.
        algorithm: with a reward decoder.
        offline: the training tasks' offline data, in its units.
    """
    if run.config.inference == "encoder":
        return algorithm
    return by_likelihood(run, algorithm.agent, offline)


def by_likelihood(run: Run, agent: Agent, offline: Replay) -> ByLikelihood:
    """`agent` as it is now, adapting by its decoder's likelihood.

    Args:
        run: whose seed decides the particles, and whose family how long episodes are.
        agent: trained.
        offline: the training tasks' offline data, in its units: where particles come from.
    """
    horizon, seed = run.family.horizon, run.config.seed
    return ByLikelihood(agent, offline_particles(agent, offline, horizon, seed))
