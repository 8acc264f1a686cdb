"""The task posterior q(z|h): a product of per-transition Gaussian factors and the prior.

Pure functions of tensors. The robot keeps the same quantity one transition at a time
(`fieldtune.robot.policy.posterior`); a test holds the two together.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def product_of_factors(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Posterior from Gaussian factors and the prior N(0, I) (Pong et al. 2022, sec. 4).

    Natural parameters add, so the order of transitions does not matter and an empty context gives
    the prior.

    Args:
        mean, variance: `(..., transition, latent)`.

    Returns:
        Posterior mean and variance, `(..., latent)`.
    """
    precision = variance.reciprocal()
    total = 1.0 + precision.sum(dim=-2)
    return (precision * mean).sum(dim=-2) / total, total.reciprocal()


def with_factors(
    mean: Tensor, variance: Tensor, factor_mean: Tensor, factor_variance: Tensor
) -> tuple[Tensor, Tensor]:
    """A posterior with more factors: mean and variance, `(..., latent)`.

    Args:
        mean, variance: of the posterior so far, `(..., latent)`.
        factor_mean, factor_variance: `(..., transition, latent)`.
    """
    precision, added = variance.reciprocal(), factor_variance.reciprocal()
    total = precision + added.sum(dim=-2)
    return (precision * mean + (added * factor_mean).sum(dim=-2)) / total, total.reciprocal()


def sample(mean: Tensor, variance: Tensor, rng: Generator | None = None) -> Tensor:
    """Reparameterised draw of z, the shape of `mean`.

    Args:
        mean, variance: `(..., latent)`.
        rng: torch's global random state where not given.
    """
    return mean + variance.sqrt() * torch.empty_like(mean).normal_(generator=rng)
