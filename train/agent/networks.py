"""The agent's networks, in normalised units, and their exportable forms in physical ones.

Training works on observations of zero mean and unit variance, actions in [−1, 1] and rewards of
unit variance; `Normalisation` holds the constants, and the `*Graph` modules carry them, with the
range that inputs are clipped to, so that nothing outside a bundle has to know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fieldtune.train.agent.normalisation import Constant, Normalisation

LOG_STD_RANGE = (-5.0, 1.0)
ACTION_EDGE = 1e-3  # data at the bounds has no pre-squash value; stop this far inside
MIN_VARIANCE = 1e-6


def mlp(sizes: Sequence[int], layer_norm: bool = False) -> nn.Sequential:
    """ReLU network through `sizes`, linear at the end; layer norm before each ReLU if asked."""
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(inputs, outputs))
        if index < len(sizes) - 2:
            if layer_norm:
                layers.append(nn.LayerNorm(outputs))
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Policy(nn.Module):
    """π(a|s,z): a Gaussian squashed by tanh into [−1, 1]."""

    def __init__(self, observation: int, action: int, latent: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.body = mlp([observation + latent, *hidden, 2 * action])

    def forward(self, observation: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-std before squashing, each `(..., action)`."""
        mean, log_std = self.body(torch.cat([observation, z], dim=-1)).chunk(2, dim=-1)
        return mean, log_std.clamp(*LOG_STD_RANGE)


def squashed_log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    """log π of `action` in [−1, 1] under the tanh-Gaussian, summed over its components."""
    action = action.clamp(-1 + ACTION_EDGE, 1 - ACTION_EDGE)
    noise = (torch.atanh(action) - mean) * torch.exp(-log_std)
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    return (gaussian - torch.log1p(-action.square())).sum(dim=-1)


def squashed_sample(mean: Tensor, log_std: Tensor, noise: float = 1.0) -> Tensor:
    """Reparameterised action in [−1, 1], with `noise` times the deviation."""
    return torch.tanh(mean + noise * log_std.exp() * torch.randn_like(mean))


class Critic(nn.Module):
    """Q(s,a,z), a scalar per row."""

    def __init__(
        self, observation: int, action: int, latent: int, hidden: Sequence[int], layer_norm: bool
    ) -> None:
        super().__init__()
        self.body = mlp([observation + action + latent, *hidden, 1], layer_norm)

    def forward(self, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return self.body(torch.cat([observation, action, z], dim=-1)).squeeze(-1)


class Encoder(nn.Module):
    """One transition (s, a, r[, s']) → one Gaussian factor of q(z|h)."""

    def __init__(
        self, observation: int, action: int, latent: int, hidden: Sequence[int], next_too: bool
    ) -> None:
        super().__init__()
        self.next_too = next_too
        inputs = observation * (2 if next_too else 1) + action + 1
        self.body = mlp([inputs, *hidden, 2 * latent])

    def forward(
        self, observation: Tensor, action: Tensor, reward: Tensor, next_observation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Factor mean and variance, `(..., latent)`; `reward` is `(..., 1)`."""
        parts = [observation, action, reward]
        if self.next_too:
            parts.append(next_observation)
        mean, raw = self.body(torch.cat(parts, dim=-1)).chunk(2, dim=-1)
        return mean, F.softplus(raw) + MIN_VARIANCE


class Decoder(nn.Module):
    """r(s,a,z), standardised, `(..., 1)`; the logit of success where rewards are −1 or 0."""

    def __init__(self, observation: int, action: int, latent: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.body = mlp([observation + action + latent, *hidden, 1])

    def forward(self, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return self.body(torch.cat([observation, action, z], dim=-1))


class DynamicsDecoder(nn.Module):
    """s' − s from (s,a,z), `(..., observation)`: what makes z hold the body. Never exported."""

    def __init__(self, observation: int, action: int, latent: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.body = mlp([observation + action + latent, *hidden, observation])

    def forward(self, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return self.body(torch.cat([observation, action, z], dim=-1))


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
