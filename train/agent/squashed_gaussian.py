"""The tanh-Gaussian over actions: samples and densities."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from fieldtune.train.agent.posterior import normal_like
from fieldtune.train.config import Distribution

ACTION_EDGE = Distribution().action_edge


def squashed_log_prob(
    mean: Tensor, log_std: Tensor, action: Tensor, edge: float = ACTION_EDGE
) -> Tensor:
    """log π of `action` under the tanh-Gaussian, summed over its components, `(...,)`.

    Args:
        mean, log_std: before squashing, `(..., action)`.
        action: `(..., action)` in [−1, 1].
        edge: how far inside an action at a bound counts, where it has a value before squashing.
    """
    action = action.clamp(-1 + edge, 1 - edge)
    noise = (torch.atanh(action) - mean) * torch.exp(-log_std)
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    return (gaussian - torch.log1p(-action.square())).sum(dim=-1)


def squashed_sample(
    mean: Tensor, log_std: Tensor, noise: float = 1.0, rng: Generator | None = None
) -> Tensor:
    """Reparameterised action in [−1, 1].

    Args:
        mean, log_std: before squashing, `(..., action)`.
        noise: times the deviation.
        rng: of the draw (`normal_like`).
    """
    return torch.tanh(mean + noise * log_std.exp() * normal_like(mean, rng))


def sample_with_log_prob(mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """A reparameterised action in [−1, 1] and its log π, `(...,)`.

    From the value before squashing: `networks.squashed_log_prob`, which is made for data, stops
    short of the bounds, and its gradient would drive a saturated policy further out.
    """
    noise = torch.randn_like(mean)
    before = mean + log_std.exp() * noise
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    squash = 2 * (math.log(2) - before - F.softplus(-2 * before))  # log(1 − tanh²), no overflow
    return torch.tanh(before), (gaussian - squash).sum(dim=-1)
