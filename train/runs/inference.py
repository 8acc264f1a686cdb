"""What a run's exploration infers z by: `inference` of its configuration.

Knows runs and what trains in them; not how either inference works.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fieldtune.train.agent.actor import Adaptive
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.by_likelihood import ByLikelihood
from fieldtune.train.algorithms.algorithm import SelfSupervised
from fieldtune.train.cores import workers
from fieldtune.train.data.replay import Replay
from fieldtune.train.device import CPU, device_of
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
    particles = offline_particles(agent, offline, horizon, seed)
    count = workers(run.config.workers)
    if count == 1 or device_of(agent) != CPU:
        return ByLikelihood(agent, particles)
    threads = ThreadPoolExecutor(count)  # they end when what refers to them is gone
    return ByLikelihood(agent, particles, threads.map)
