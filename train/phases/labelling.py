"""Self-labels: rewards for reward-free episodes, from the agent's own decoder.

Labels come from z of real offline contexts, never from the prior: the decoder is only right there
(Pong et al. 2022, sec. 5.2).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.posterior import sample
from fieldtune.train.agent.units import to_training_units
from fieldtune.train.data.replay import Replay, Trajectory
from fieldtune.train.device import from_numpy, to_numpy


@torch.no_grad()
def task_embeddings(
    agent: Agent, offline: Replay, rng: np.random.Generator, tasks: list[int], context: int
) -> Tensor:
    """z_r ~ q(z|h), `(task, latent)`, h being a context of each task's offline data.

    Args:
        agent: whose encoder infers; z is drawn from torch's global random state.
        offline: the labelled data, in the agent's training units.
        rng: of the contexts.
        tasks: their numbers in `offline`.
        context: transitions of each task.
    """
    return sample(*agent.infer(offline.context(rng, tasks, context, trajectories=None)))


def decoded(agent: Agent, trajectory: Trajectory, z: Tensor) -> NDArray[np.float32]:
    """r̂ = decoder(s, a, z) for each step, `(T,)`, standardised.

    Sparse rewards are drawn, −1 or 0, and not expected ones: an encoder that learned from p − 1
    would read in its digits what no real reward will tell it. One threshold for the whole
    trajectory gives each step's label its probability, so that critics see the expected reward on
    average, and what stays as it is keeps its label.

    Args:
        agent: whose decoder labels; the threshold is drawn from torch's global random state.
        trajectory: in training units; its own rewards are left aside.
        z: `(latent,)`, where the agent computes.
    """
    predicted = _predicted(agent, trajectory, z)
    if agent.shape.sparse_reward:
        return agent.normalisation.reward(_drawn(predicted))
    labels: NDArray[np.float32] = to_numpy(predicted)
    return labels


def decoded_rewards(agent: Agent, episode: LabelledEpisode, z: Tensor) -> NDArray[np.float64]:
    """As `decoded`, of an episode in physical units and in the family's reward units, `(T,)`.

    Args:
        agent: whose decoder labels.
        episode: its own rewards are left aside.
        z: `(latent,)`.
    """
    predicted = _predicted(agent, to_training_units(agent, episode), z)
    if agent.shape.sparse_reward:
        return _drawn(predicted)
    constants = agent.normalisation
    return to_numpy(predicted.double()) * constants.reward_std + constants.reward_mean


@torch.no_grad()
def _predicted(agent: Agent, trajectory: Trajectory, z: Tensor) -> Tensor:
    """The decoder's output, `(T,)`: standardised rewards, or logits of success."""
    return agent.decoder(
        from_numpy(trajectory.observations[:-1], z.device),
        from_numpy(trajectory.actions, z.device),
        z.expand(len(trajectory.actions), -1),
    ).squeeze(-1)


def _drawn(logits: Tensor) -> NDArray[np.float64]:
    succeeded = torch.sigmoid(logits) > torch.rand((), device=logits.device)
    return to_numpy(succeeded.double()) - 1.0
