"""The networks of one agent, together. Must not know how they are trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fieldtune.train.agent.actor import MEAN_ACTION, Acting, LatentActor
from fieldtune.train.agent.networks import Critic, Decoder, DynamicsDecoder, Encoder, Policy
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.agent.posterior import product_of_factors
from fieldtune.train.config import EncoderSettings, LatentSettings
from fieldtune.train.data.replay import Batch


@dataclass(frozen=True)
class Shape:
    """Sizes that networks are built from, and what a family says of its rewards.

    `reward_bounds` are the least and the most that a transition pays, in the family's units.
    """

    observation: int
    action: int
    next_in_context: bool = False
    sparse_reward: bool = False
    reward_bounds: tuple[float, float] = (-math.inf, math.inf)


class Agent(nn.Module):
    """An algorithm's networks, SMAC's, and the constants that turn physical units into theirs."""

    def __init__(
        self, shape: Shape, settings: EncoderSettings, normalisation: Normalisation
    ) -> None:
        super().__init__()
        self.shape, self.normalisation = shape, normalisation
        sizes, widths = (shape.observation, shape.action), settings.networks
        ends = settings.distribution
        self.prior_factor = isinstance(settings, LatentSettings) and settings.prior_factor
        latent = settings.latent_size
        self.latent_size = latent
        self.policy = Policy(*sizes, latent, widths.policy, ends)
        self.q1 = Critic(*sizes, latent, widths.critic, widths.critic_layer_norm)
        self.q2 = Critic(*sizes, latent, widths.critic, widths.critic_layer_norm)
        self.q1_target = copy.deepcopy(self.q1).requires_grad_(False)
        self.q2_target = copy.deepcopy(self.q2).requires_grad_(False)
        self.encoder = Encoder(*sizes, latent, widths.encoder, shape.next_in_context, ends)
        self.decoder = Decoder(*sizes, latent, widths.decoder)
        self.dynamics = (
            DynamicsDecoder(*sizes, latent, widths.dynamics) if shape.next_in_context else None
        )

    def infer(self, context: Batch) -> tuple[Tensor, Tensor]:
        """q(z|h): mean and variance `(task, latent)` of a context `(task, transition, ...)`."""
        factors = self.factors(context)
        return product_of_factors(*factors, context.counted, prior_factor=self.prior_factor)

    def factors(self, context: Batch) -> tuple[Tensor, Tensor]:
        """The Gaussian factor of each transition: mean and variance, `(task, transition, latent)`.

        Rewards beyond the range of the data are read as its end, here as in the exported encoder.
        """
        constants = self.normalisation
        reward = context.reward.clamp(constants.reward_low, constants.reward_high)
        return self.encoder(
            context.observation, context.action, reward.unsqueeze(-1), context.next_observation
        )

    @torch.no_grad()
    def adapt(self, context: Sequence[Batch], acting: Acting = MEAN_ACTION) -> LatentActor:
        """Acts with z ~ q(z|h), h being each task's part of `context`; the prior if that is empty.

        Args:
            context: `(task, transition, ...)` each, one after another.
            acting: how z and actions are drawn.
        """
        means, variances = zip(*(self.infer(batch) for batch in context), strict=True)
        weight: float | Tensor = 1.0
        if not self.prior_factor:
            known = [
                batch.reward.new_full((len(batch.reward), 1), batch.reward.shape[1] > 0)
                for batch in context
            ]
            weight = torch.cat(known)
        return self.actor(torch.cat(means), torch.cat(variances), acting, weight)

    def actor(
        self,
        mean: Tensor,
        variance: Tensor,
        acting: Acting = MEAN_ACTION,
        weight: float | Tensor = 1.0,
    ) -> LatentActor:
        """Acts with z ~ N(mean, variance).

        Args:
            mean, variance: `(copy, latent)`.
            acting: how z and actions are drawn.
            weight: 0 where that is the prior and no factor of a posterior to come, else 1,
                `(copy, 1)`.
        """
        return LatentActor(
            self.policy, self.normalisation, mean, variance, acting, self.factors, weight
        )

    def min_q(self, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return torch.min(self.q1(observation, action, z), self.q2(observation, action, z))

    def min_q_target(self, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return torch.min(
            self.q1_target(observation, action, z), self.q2_target(observation, action, z)
        )

    def critic_reward(self, reward: Tensor, steps: float | Tensor = 1.0) -> Tensor:
        """The critic's reward, physical / reward_std, from the standardised one (`Normalisation`
        says why), or from a sum of as many of them; any shape."""
        return reward + steps * (self.normalisation.reward_mean / self.normalisation.reward_std)

    def success(self, reward: Tensor) -> Tensor:
        """1 where a standardised reward is 0 in the family's units, 0 where it is −1; any shape."""
        physical = reward * self.normalisation.reward_std + self.normalisation.reward_mean
        return (physical + 1.0).clamp(0.0, 1.0)

    def standardised(self, reward: Tensor) -> Tensor:
        """A reward in the family's units as the networks know it; any shape."""
        return (reward - self.normalisation.reward_mean) / self.normalisation.reward_std

    @torch.no_grad()
    def follow_critics(self, rate: float) -> None:
        """Move both target critics this share of the way to their critics."""
        for target, net in ((self.q1_target, self.q1), (self.q2_target, self.q2)):
            torch._foreach_lerp_(list(target.parameters()), list(net.parameters()), rate)
