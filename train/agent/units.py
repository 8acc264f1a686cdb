"""Between physical units and training's. Of networks it knows where they compute, and no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.normalisation import Normalisation, Normalised
from fieldtune.train.data.replay import Batch, Trajectory
from fieldtune.train.device import device_of, from_numpy


def to_training_units(agent: Normalised, episode: LabelledEpisode) -> Trajectory:
    """The same episode as the networks see it, float32."""
    constants = agent.normalisation
    following = episode.following
    return Trajectory(
        observations=constants.observation(episode.observations),
        actions=constants.action(episode.actions),
        rewards=constants.reward(episode.rewards),
        terminated=episode.terminated,
        following=None if following is None else constants.observation(following),
    )


def context_of(agent: Normalised, episodes: Sequence[LabelledEpisode]) -> Batch:
    """All transitions of `episodes` (physical units) as one context, `(1, transition, ...)`, where
    `agent` computes.

    Of no episodes, a context of no transition.
    """
    device = device_of(agent)
    if not episodes:
        return _nothing_seen(agent.normalisation, device)
    scaled = [to_training_units(agent, episode) for episode in episodes]

    def join(parts: list[NDArray[np.float32]]) -> Tensor:
        return from_numpy(np.concatenate(parts).astype(np.float32), device).unsqueeze(0)

    reward = join([episode.rewards for episode in scaled])
    return Batch(
        observation=join([episode.observations[:-1] for episode in scaled]),
        action=join([episode.actions for episode in scaled]),
        reward=reward,
        next_observation=join([episode.next_observations for episode in scaled]),
        done=torch.zeros_like(reward),
    )


def _nothing_seen(constants: Normalisation, device: torch.device) -> Batch:
    observation = torch.zeros(1, 0, len(constants.observation_mean), device=device)
    action = torch.zeros(1, 0, len(constants.action_centre), device=device)
    none = torch.zeros(1, 0, device=device)
    return Batch(observation, action, none, observation, none)
