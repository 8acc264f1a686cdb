"""The agent acting in a batch of simulated copies: in-process exploration, and whole trials.

Turns physical units into training units and back; what a trial is (K exploration episodes, a
posterior after each) is the same here as on the robot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldtune.sim.family import Array, BatchSimulator, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode, rollout
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.posterior import sample
from fieldtune.train.agent.squashed_gaussian import squashed_sample
from fieldtune.train.agent.units import context_of

ZHold = Literal["episode", "step"]
Relabel = Callable[[LabelledEpisode, int], NDArray[np.float64]]


@torch.no_grad()
def infer(agent: Agent, contexts: Sequence[Sequence[LabelledEpisode]]) -> tuple[Tensor, Tensor]:
    """Posterior mean and variance of each context, `(context, latent)`; the prior if empty."""
    means, variances = [], []
    for episodes in contexts:
        if episodes:
            mean, variance = agent.infer(context_of(agent, episodes))
        else:
            mean, variance = torch.zeros(1, agent.latent_size), torch.ones(1, agent.latent_size)
        means.append(mean)
        variances.append(variance)
    return torch.cat(means), torch.cat(variances)


@torch.no_grad()
def run_episodes(
    agent: Agent,
    family: TaskFamily,
    simulator: BatchSimulator,
    seeds: NDArray[np.int64],
    tasks: Array,
    posterior: tuple[Tensor, Tensor],
    *,
    z_hold: ZHold,
    noise: float,
) -> list[LabelledEpisode]:
    """One episode in each copy, z drawn from `posterior` `(env, latent)` once or at each step.

    Actions are drawn with `noise` times the policy's own spread: 0 acts with its mean.
    """
    constants = agent.normalisation
    held = sample(*posterior)

    def act(observations: Array) -> Array:
        z = held if z_hold == "episode" else sample(*posterior)
        mean, log_std = agent.policy(torch.from_numpy(constants.observation(observations)), z)
        squashed = squashed_sample(mean, log_std, noise) if noise > 0 else torch.tanh(mean)
        return constants.action_centre + constants.action_half_range * squashed.double().numpy()

    return rollout(simulator, family, act, seeds, tasks)


def explore(
    agent: Agent,
    family: TaskFamily,
    simulator: BatchSimulator,
    tasks: Array,
    rng: np.random.Generator,
    *,
    prior_episodes: int,
    posterior_episodes: int,
    z_hold: ZHold,
    noise: float = 1.0,
    relabel: Relabel | None = None,
) -> list[list[LabelledEpisode]]:
    """One trial in each copy: z ~ prior, then z ~ q(z|context of this trial).

    Args:
        tasks: `(env, parameter)`, the tasks whose true rewards label the episodes.
        noise: of the actions, in the policy's own spread.
        relabel: `(episode, env)` → rewards `(T,)` to use instead of the true ones.

    Returns:
        Per copy, its episodes in order, labelled with the rewards that made its context.
    """
    trials: list[list[LabelledEpisode]] = [[] for _ in range(simulator.n_envs)]
    for index in range(prior_episodes + posterior_episodes):
        context = trials if index >= prior_episodes else [[] for _ in trials]
        episodes = run_episodes(
            agent,
            family,
            simulator,
            rng.integers(2**31, size=simulator.n_envs),
            tasks,
            infer(agent, context),
            z_hold=z_hold,
            noise=noise,
        )
        for env, episode in enumerate(episodes):
            if relabel is not None:
                episode = replace(episode, rewards=relabel(episode, env))
            trials[env].append(episode)
    return trials
