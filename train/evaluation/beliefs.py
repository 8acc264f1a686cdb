"""What the encoder and what the decoder's likelihood believe of a task, in its own parameters.

Both read the same context, so that pictures of the two can be held against each other. Measures;
draws nothing, and knows no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from fieldtune.sim.family import Array, BatchSimulator, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.actor import Acting, Adaptive, HeedingActor
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.by_likelihood import ByLikelihood
from fieldtune.train.agent.likelihood import log_likelihood
from fieldtune.train.agent.posterior import sample
from fieldtune.train.agent.trials import adapt_to, explore, run_episodes
from fieldtune.train.agent.units import context_of
from fieldtune.train.device import random_state_kept, to_numpy
from fieldtune.train.evaluation.results import Inference
from fieldtune.train.evaluation.task_map import TaskMap

Floats = NDArray[np.float64]

EPISODES = (0, 1, 2, 4)  # of own exploration
SHARES = (0.025, 0.1, 0.25, 1.0)  # of the first episode
DRAWS = 500  # of the encoder's Gaussian
INFERENCES: tuple[Inference, ...] = ("encoder", "likelihood")


@dataclass(frozen=True)
class Belief:
    """What one inference believes of one task at one moment.

    Attributes:
        points: where the task may be, in its own parameters, `(point, parameter)`.
        weights: how likely each is, `(point,)`; they sum to 1.
        episode_return: so far in the episode that is under way; None between episodes.
        unlike: whether the context is unlike every task trained on; None of the encoder, which
            cannot tell.
    """

    points: Floats
    weights: Floats
    episode_return: float | None = None
    unlike: bool | None = None


@dataclass(frozen=True)
class Believed:
    """Beliefs about a few tasks, moment by moment.

    Attributes:
        tasks: the truth, `(task, parameter)`.
        moments: numbers of episodes, or of steps within the first.
        by: of each inference, `[moment][task]`.
    """

    tasks: Array
    moments: tuple[int, ...]
    by: dict[Inference, list[list[Belief]]]


class Reader:
    """Reads contexts by both inferences.

    Args:
        agent: whose encoder and decoder say it.
        likelihood: the same agent, with its particles.
        place: from z to the task's parameters.
        seed: of the draws of the encoder's Gaussian.
    """

    def __init__(self, agent: Agent, likelihood: ByLikelihood, place: TaskMap, seed: int) -> None:
        self.agent, self.likelihood, self._place, self._seed = agent, likelihood, place, seed
        self._points = place(to_numpy(likelihood.particles.z.double()))

    @torch.no_grad()
    def read(self, inference: Inference, context: Sequence[LabelledEpisode]) -> Belief:
        """What `inference` believes, having seen the episodes of `context` of one task."""
        rows = context_of(self.agent, context)
        if inference == "encoder":
            mean, variance = self.agent.infer(rows)
            rng = torch.Generator().manual_seed(self._seed)
            z = sample(mean.expand(DRAWS, -1), variance.expand(DRAWS, -1), rng)
            return Belief(self._place(to_numpy(z.double())), np.full(DRAWS, 1.0 / DRAWS))
        particles = self.likelihood.particles
        found = log_likelihood(self.agent, particles, rows)[0].double()
        seen = rows.reward.shape[1]
        return Belief(
            self._points,
            to_numpy(torch.softmax(found, dim=0)),
            unlike=bool(seen and found.max() / seen < particles.unlike_below),
        )


def after_episodes(
    reader: Reader,
    family: TaskFamily,
    simulator: BatchSimulator,
    tasks: Array,
    exploring: Acting,
    seed: int,
) -> Believed:
    """After 0 to 4 episodes of own exploration, z from the prior: the same ones for both.

    Args:
        reader: of the contexts.
        family: of the tasks.
        simulator: a copy for each task.
        tasks: `(task, parameter)`.
        exploring: how actions are drawn.
        seed: of start states, z and actions.
    """
    with random_state_kept():
        torch.manual_seed(seed)
        trials = explore(
            reader.agent,
            family,
            simulator,
            tasks,
            np.random.default_rng(seed),
            prior_episodes=EPISODES[-1],
            posterior_episodes=0,
            acting=exploring,
        )
    by: dict[Inference, list[list[Belief]]] = {
        name: [[reader.read(name, trial[:k]) for trial in trials] for k in EPISODES]
        for name in INFERENCES
    }
    return Believed(tasks, EPISODES, by)


def within_first_episode(
    reader: Reader,
    family: TaskFamily,
    simulator: BatchSimulator,
    tasks: Array,
    seed: int,
    *,
    steps: Sequence[int],
    inferences: Sequence[Inference] = INFERENCES,
) -> Believed:
    """Within the first episode, in which each inference acts on what it believes, step by step.

    The start states are the same for all.

    Args:
        reader: of the contexts.
        family: of the tasks.
        simulator: a copy for each task.
        tasks: `(task, parameter)`.
        seed: of start states, and of what is done before anything is known.
        steps: the moments.
        inferences: whose episodes these are, one after another.
    """
    by: dict[Inference, list[list[Belief]]] = {}
    for name in inferences:
        adaptive: Adaptive = reader.agent if name == "encoder" else reader.likelihood
        with random_state_kept():
            torch.manual_seed(seed)
            actor = adapt_to(adaptive, [[] for _ in tasks])
            assert isinstance(actor, HeedingActor)
            seeds = np.random.default_rng(seed).integers(2**31, size=len(tasks))
            episodes = run_episodes(actor, family, simulator, seeds, tasks, actor.heed)
        by[name] = [[so_far(reader, name, one, k) for one in episodes] for k in steps]
    return Believed(tasks, tuple(steps), by)


def moments(family: TaskFamily, shares: Sequence[float] = SHARES) -> tuple[int, ...]:
    """The steps at these shares of an episode."""
    return tuple(int(share * family.horizon) for share in shares)


def so_far(reader: Reader, inference: Inference, episode: LabelledEpisode, steps: int) -> Belief:
    """What is believed `steps` into an episode, and its return until then."""
    seen = first_steps(episode, steps)
    believed = reader.read(inference, [seen])
    return replace(believed, episode_return=float(seen.rewards.sum()))


def first_steps(episode: LabelledEpisode, steps: int) -> LabelledEpisode:
    """The beginning of an episode; the whole where it was over by then."""
    if steps >= episode.steps:
        return episode
    return replace(
        episode,
        observations=episode.observations[: steps + 1],
        actions=episode.actions[:steps],
        rewards=episode.rewards[:steps],
        signals=None if episode.signals is None else episode.signals[:steps],
        following=None if episode.following is None else episode.following[:steps],
        terminated=False,
    )
