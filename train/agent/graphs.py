"""The networks as a robot runs them: physical units in and out. Knows no training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.likelihood import Particles
from fieldtune.train.agent.networks import Decoder, DynamicsDecoder, Encoder, Policy
from fieldtune.train.agent.normalisation import Constant, Normalisation


class _Scale(nn.Module):
    """(x − shift) / scale, kept within low and high, as buffers that travel with the graph."""

    shift: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, shift: Constant, scale: Constant, low: Constant, high: Constant) -> None:
        super().__init__()
        known = {"shift": shift, "scale": scale, "low": low, "high": high}
        for name, value in known.items():
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        scaled = (x - self.shift) / self.scale
        return torch.minimum(torch.maximum(scaled, self.low), self.high)

    def inverse(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class PolicyGraph(nn.Module):
    """Physical observation, z → Gaussian before squashing; the manifest has the action's bounds."""

    def __init__(self, policy: Policy, constants: Normalisation) -> None:
        super().__init__()
        self.policy = policy
        self.observation = _observation(constants)

    def forward(self, observation: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy(self.observation(observation), z)


class EncoderGraph(nn.Module):
    """Physical transition → factor mean and variance."""

    def __init__(self, encoder: Encoder, constants: Normalisation) -> None:
        super().__init__()
        self.encoder = encoder
        self.observation = _observation(constants)
        self.action = _action(constants)
        self.reward = _reward(constants)

    def forward(
        self,
        observation: Tensor,
        action: Tensor,
        reward: Tensor,
        next_observation: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        following = observation if next_observation is None else next_observation
        return self.encoder(
            self.observation(observation),
            self.action(action),
            self.reward(reward),
            self.observation(following),
        )


class DecoderGraph(nn.Module):
    """Physical observation and action, z → reward in the family's own units, `(..., 1)`.

    Where rewards are sparse it is the expected one, p − 1.
    """

    def __init__(self, decoder: Decoder, constants: Normalisation, sparse: bool = False) -> None:
        super().__init__()
        self.decoder, self.sparse = decoder, sparse
        self.observation = _observation(constants)
        self.action = _action(constants)
        self.reward = _reward(constants)

    def forward(self, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        decoded = self.decoder(self.observation(observation), self.action(action), z)
        return torch.sigmoid(decoded) - 1.0 if self.sparse else self.reward.inverse(decoded)


class LikelihoodGraph(nn.Module):
    """Physical transition, z → tempered log p of it up to a constant, `(..., 1)`.

    One transition's share of `fieldtune.train.agent.likelihood.log_likelihood`, which says why; a
    test holds the two together. The decoders' own errors, and how far these are alike, are buffers,
    so that they travel with the graph: `measured` sets them.
    """

    reward_variance: Tensor
    change_variance: Tensor
    temper: Tensor

    def __init__(
        self,
        decoder: Decoder,
        dynamics: DynamicsDecoder | None,
        constants: Normalisation,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.decoder, self.dynamics, self.sparse = decoder, dynamics, sparse
        self.observation = _observation(constants)
        self.action = _action(constants)
        self.reward = _reward(constants)
        self.register_buffer("reward_variance", torch.ones(1))
        self.register_buffer("temper", torch.ones(1))
        if dynamics is not None:
            self.register_buffer("change_variance", torch.ones(len(constants.observation_mean)))

    @torch.no_grad()
    def measured(self, particles: Particles) -> None:
        """Take over what was measured of the decoders' errors with these weights."""
        self.reward_variance.fill_(particles.reward_variance)
        self.temper.fill_(particles.temper)
        if self.dynamics is not None and particles.change_variance is not None:
            self.change_variance.copy_(particles.change_variance)

    def forward(self, observation: Tensor, action: Tensor, reward: Tensor, *rest: Tensor) -> Tensor:
        """`rest` is z alone or, where bodies differ, the next observation and z."""
        *following, z = rest
        s, a = self.observation(observation), self.action(action)
        predicted = self.decoder(s, a, z)
        if self.sparse:
            success = (reward + 1.0).clamp(0.0, 1.0)
            failure = 1.0 - success
            found = -success * F.softplus(-predicted) - failure * F.softplus(predicted)
        else:
            found = -(predicted - self.reward(reward)).square() / (2 * self.reward_variance)
        if self.dynamics is not None:
            error = self.dynamics(s, a, z) - (self.observation(following[0]) - s)
            unexplained = (error.square() / (2 * self.change_variance)).sum(dim=-1, keepdim=True)
            found = found - unexplained
        return self.temper * found


@dataclass(frozen=True)
class PolicyGraphs:
    """What a bundle is made from: modules, and what a reader must know of them.

    Attributes:
        likelihood: for a robot that infers by it.
        latent_size: width of z.
        next_in_context: whether the encoder reads where a transition led.
        sparse_reward: whether the decoder's rewards are between −1 and 0.
        prior_factor: whether the prior is a factor of the posterior, or only what no context gives.
    """

    policy: PolicyGraph
    encoder: EncoderGraph
    decoder: DecoderGraph
    likelihood: LikelihoodGraph
    latent_size: int
    next_in_context: bool
    sparse_reward: bool
    prior_factor: bool

    @classmethod
    def of(cls, agent: Agent) -> PolicyGraphs:
        """They share the agent's weights, and follow them."""
        constants, shape = agent.normalisation, agent.shape
        return cls(
            policy=PolicyGraph(agent.policy, constants).eval(),
            encoder=EncoderGraph(agent.encoder, constants).eval(),
            decoder=DecoderGraph(agent.decoder, constants, shape.sparse_reward).eval(),
            likelihood=LikelihoodGraph(
                agent.decoder, agent.dynamics, constants, shape.sparse_reward
            ).eval(),
            latent_size=agent.latent_size,
            next_in_context=shape.next_in_context,
            sparse_reward=shape.sparse_reward,
            prior_factor=agent.prior_factor,
        )


def _observation(known: Normalisation) -> _Scale:
    """As `Normalisation.observation`."""
    bounds = known.observation_low, known.observation_high
    return _Scale(known.observation_mean, known.observation_std, *bounds)


def _action(known: Normalisation) -> _Scale:
    """As `Normalisation.action`."""
    return _Scale(known.action_centre, known.action_half_range, -1.0, 1.0)


def _reward(known: Normalisation) -> _Scale:
    """As the encoder reads rewards."""
    return _Scale(known.reward_mean, known.reward_std, known.reward_low, known.reward_high)
