"""The task posterior q(z|h): a product of per-transition Gaussian factors, with the prior or not.

Pure functions of tensors. The robot keeps the same quantity one transition at a time
(`fieldtune.robot.policy.posterior`); a test holds the two together.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def product_of_factors(
    mean: Tensor, variance: Tensor, counted: Tensor | None = None, *, prior_factor: bool = True
) -> tuple[Tensor, Tensor]:
    """Posterior from Gaussian factors and the prior N(0, I) (Pong et al. 2022, sec. 4).

    Natural parameters add, so the order of transitions does not matter and an empty context gives
    the prior.

    Args:
        mean, variance: `(..., transition, latent)`.
        counted: 1 for a factor that belongs to the product, else 0, `(..., transition)`; all do
            where not given.
        prior_factor: whether the prior is one more factor, as in the paper's text. Without it, as
            in the authors' code, it is only what an empty context gives.

    Returns:
        Posterior mean and variance, `(..., latent)`.
    """
    precision = variance.reciprocal()
    if counted is not None:
        precision = precision * counted.unsqueeze(-1)
    prior: float | Tensor = 1.0
    if not prior_factor and counted is not None:
        prior = (counted.sum(dim=-1, keepdim=True) == 0).to(precision.dtype)
    elif not prior_factor and precision.shape[-2]:
        prior = 0.0
    total = prior + precision.sum(dim=-2)
    return (precision * mean).sum(dim=-2) / total, total.reciprocal()


def with_factors(
    mean: Tensor,
    variance: Tensor,
    factor_mean: Tensor,
    factor_variance: Tensor,
    weight: float | Tensor = 1.0,
) -> tuple[Tensor, Tensor]:
    """A posterior with more factors: mean and variance, `(..., latent)`.

    Args:
        mean, variance: of the posterior so far, `(..., latent)`.
        factor_mean, factor_variance: `(..., transition, latent)`.
        weight: 0 where the posterior so far is a prior that is no factor, else 1, `(..., 1)`.
    """
    precision, added = weight * variance.reciprocal(), factor_variance.reciprocal()
    total = precision + added.sum(dim=-2)
    return (precision * mean + (added * factor_mean).sum(dim=-2)) / total, total.reciprocal()


def sample(mean: Tensor, variance: Tensor, rng: Generator | None = None) -> Tensor:
    """Reparameterised draw of z, the shape of `mean`.

    Args:
        mean, variance: `(..., latent)`.
        rng: of the draw (`normal_like`).
    """
    return mean + variance.sqrt() * normal_like(mean, rng)


def normal_like(tensor: Tensor, rng: Generator | None = None) -> Tensor:
    """Standard normal numbers, of the shape and the device of `tensor`.

    Args:
        tensor: what they are to go with.
        rng: may be another device's, where they are drawn then; the global random state of the
            tensor's device where not given.
    """
    where = tensor.device if rng is None else rng.device
    return torch.empty_like(tensor, device=where).normal_(generator=rng).to(tensor.device)
