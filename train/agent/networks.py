"""The agent's networks, in normalised units, and their exportable forms in physical ones.

Training works on observations of zero mean and unit variance, actions in [−1, 1] and rewards of
unit variance; `Normalisation` holds the constants, and the `*Graph` modules carry them, with the
range that inputs are clipped to, so that nothing outside a bundle has to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fieldtune.train.config import Distribution
from fieldtune.train.device import mixes_precision

DEFAULT = Distribution()
POINT_VARIANCE = 1e-6  # of a point: its draws are off by a thousandth, tasks by about 1


class Mlp(nn.Sequential):
    """Layers one after another. Under autocast the first and the last compute in float32 all the
    same: what they read and what they say needs more than bfloat16's three digits."""

    def forward(self, x: Tensor) -> Tensor:
        kind = x.device.type
        if len(self) == 1 or not mixes_precision(kind):
            return super().forward(x)
        first, *between, last = self
        with torch.autocast(kind, enabled=False):
            x = first(x.float())
        for layer in between:
            x = layer(x)
        with torch.autocast(kind, enabled=False):
            return last(x.float())


def mlp(sizes: Sequence[int], layer_norm: bool = False) -> Mlp:
    """ReLU network through `sizes`, linear at the end; layer norm before each ReLU if asked."""
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(inputs, outputs))
        if index < len(sizes) - 2:
            if layer_norm:
                layers.append(nn.LayerNorm(outputs))
            layers.append(nn.ReLU())
    return Mlp(*layers)


class Policy(nn.Module):
    """π(a|s,z): a Gaussian squashed by tanh into [−1, 1]."""

    def __init__(
        self,
        observation: int,
        action: int,
        latent: int,
        hidden: Sequence[int],
        distribution: Distribution = DEFAULT,
    ) -> None:
        super().__init__()
        self.log_std_range = distribution.log_std
        self.body = mlp([observation + latent, *hidden, 2 * action])

    def forward(self, observation: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-std before squashing, each `(..., action)`."""
        mean, log_std = self.body(torch.cat([observation, z], dim=-1)).chunk(2, dim=-1)
        return mean, log_std.clamp(*self.log_std_range)


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

    outputs = 2  # for each number of z: a mean and a variance

    def __init__(
        self,
        observation: int,
        action: int,
        latent: int,
        hidden: Sequence[int],
        next_too: bool,
        distribution: Distribution = DEFAULT,
    ) -> None:
        super().__init__()
        self.next_too, self.least_variance = next_too, distribution.least_variance
        inputs = observation * (2 if next_too else 1) + action + 1
        self.body = mlp([inputs, *hidden, self.outputs * latent])

    def forward(
        self, observation: Tensor, action: Tensor, reward: Tensor, next_observation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Factor mean and variance, `(..., latent)`, of each transition.

        Args:
            observation, next_observation: `(..., observation)`; the latter is left aside unless
                `next_too`.
            action: `(..., action)` in [−1, 1].
            reward: `(..., 1)`, standardised.
        """
        parts = [observation, action, reward]
        if self.next_too:
            parts.append(next_observation)
        return self.gaussian(torch.cat(parts, dim=-1))

    def gaussian(self, transition: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of what `(..., input)` says."""
        mean, raw = self.body(transition).chunk(2, dim=-1)
        return mean, F.softplus(raw) + self.least_variance


class PointEncoder(Encoder):
    """One transition → a point of (−1, 1)^latent, of methods that infer no distribution.

    Whoever reads a context is given a Gaussian factor, as by `Encoder`, of one small variance: the
    product of such factors is their average, and a robot needs nothing new to compute it.
    """

    outputs = 1

    def gaussian(self, transition: Tensor) -> tuple[Tensor, Tensor]:
        """See `Encoder.gaussian`."""
        mean = torch.tanh(self.body(transition))
        return mean, mean.clamp(POINT_VARIANCE, POINT_VARIANCE)  # one operator, and a plain one


class Decoder(nn.Module):
    """r(s,a,z), standardised, `(..., 1)`; the logit of success where rewards are −1 or 0."""

    def __init__(self, observation: int, action: int, latent: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.body = mlp([observation + action + latent, *hidden, 1])

    def forward(self, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return self.body(torch.cat([observation, action, z], dim=-1))


class DynamicsDecoder(nn.Module):
    """s' − s from (s,a,z), `(..., observation)`: what makes z hold the body."""

    def __init__(self, observation: int, action: int, latent: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.body = mlp([observation + action + latent, *hidden, observation])

    def forward(self, observation: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return self.body(torch.cat([observation, action, z], dim=-1))
