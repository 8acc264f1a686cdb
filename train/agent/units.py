"""Between physical units and training's. Of networks it knows where they compute, and no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.normalisation import Normalisation, Normalised
from fieldtune.train.data.replay import Ahead, Batch, Trajectory, discounted_returns
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

    def join(parts: Sequence[NDArray[np.float32]]) -> Tensor:
        return from_numpy(np.concatenate(parts).astype(np.float32), device).unsqueeze(0)

    reward = join([episode.rewards for episode in scaled])
    discount = return_discount(agent)
    return Batch(
        observation=join([episode.observations[:-1] for episode in scaled]),
        action=join([episode.actions for episode in scaled]),
        reward=reward,
        next_observation=join([episode.next_observations for episode in scaled]),
        done=torch.zeros_like(reward),
        to_end=None
        if discount is None
        else Ahead(*map(join, zip(*(_to_end(one, discount) for one in scaled), strict=True))),
    )


def return_discount(trained: object) -> float | None:
    """The discount of the Monte-Carlo returns that its batches are to carry (`Batch.to_end`), which
    it says by an attribute `return_discount`; None of what has none, or whose is None."""
    return getattr(trained, "return_discount", None)


def _to_end(episode: Trajectory, discount: float) -> tuple[NDArray[np.float32], ...]:
    """`Ahead`'s columns of each step of an episode, to its end."""
    steps = len(episode.actions)
    return (
        discounted_returns(episode.rewards, discount),
        np.repeat(episode.next_observations[-1:], steps, axis=0),
        np.full(steps, episode.terminated, np.float32),
        (discount ** np.arange(steps, 0, -1)).astype(np.float32),
    )


def _nothing_seen(constants: Normalisation, device: torch.device) -> Batch:
    observation = torch.zeros(1, 0, len(constants.observation_mean), device=device)
    action = torch.zeros(1, 0, len(constants.action_centre), device=device)
    none = torch.zeros(1, 0, device=device)
    return Batch(observation, action, none, observation, none)
