"""The posterior over the task embedding z: what programs ask of one, and the encoder's, one
transition at a time.

Holds the algebra of Gaussian factors in natural parameters, where a product is a sum. It does not
know networks: a factor is a mean and a variance, wherever it came from. The decoder's posterior is
in robot/policy/particles.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Posterior(Protocol):
    """What is known of a task. `Policy.prior` and `Policy.update` make them.

    `posterior_sampling` says what an episode that explores with rewards draws z from: from what the
    episodes before it said, once, or from the prior.
    """

    posterior_sampling: ClassVar[bool]

    @property
    def mean(self) -> Array:
        """Of z, `(latent,)`."""
        ...

    @property
    def variance(self) -> Array:
        """Of z, `(latent,)`."""
        ...

    @property
    def likeliest(self) -> Array:
        """The z of the highest density or weight, `(latent,)`."""
        ...

    def sample(self, rng: np.random.Generator) -> Array:
        """One z, `(latent,)`."""
        ...

    def decide(self, rng: np.random.Generator) -> Array:
        """The z of an episode that counts, `(latent,)`."""
        ...


@dataclass(frozen=True)
class GaussianPosterior:
    """q(z | context) = N(z; 0, I) · Π N(z; mean_i, variance_i), diagonal.

    `precision` is 1 + Σ 1/variance_i and `precision_mean` is Σ mean_i/variance_i, each `(latent,)`
    (Rakelly et al. 2019, eq. 3, with the prior as one more factor). Of a bundle without the prior's
    factor they are the sums alone; the prior then `gives_way` to the first factor.
    """

    posterior_sampling: ClassVar[bool] = False

    precision: Array
    precision_mean: Array
    gives_way: bool = False

    @classmethod
    def prior(cls, latent_size: int, *, prior_factor: bool = True) -> GaussianPosterior:
        """N(0, I): the posterior of an empty context, whether it is a factor of others or not."""
        return cls(np.ones(latent_size), np.zeros(latent_size), gives_way=not prior_factor)

    def update(self, mean: Array, variance: Array) -> GaussianPosterior:
        """The posterior with one more factor, `mean` and `variance` `(latent,)`: O(1).

        Raises `ValueError` for a factor that is not a Gaussian.
        """
        if not (np.isfinite(mean).all() and np.isfinite(variance).all() and (variance > 0).all()):
            raise ValueError(
                f"context factor with mean {mean} and variance {variance}: expected finite values "
                "and variances above 0"
            )
        inverse = 1.0 / np.asarray(variance, dtype=np.float64)
        if self.gives_way:
            return GaussianPosterior(inverse, mean * inverse)
        return GaussianPosterior(self.precision + inverse, self.precision_mean + mean * inverse)

    @property
    def mean(self) -> Array:
        return self.precision_mean / self.precision

    @property
    def likeliest(self) -> Array:
        """The mean, where the density is highest."""
        return self.mean

    @property
    def variance(self) -> Array:
        return 1.0 / self.precision

    def sample(self, rng: np.random.Generator) -> Array:
        """One z, `(latent,)`."""
        return self.mean + np.sqrt(self.variance) * rng.standard_normal(len(self.precision))

    def decide(self, rng: np.random.Generator) -> Array:
        """A draw, as in the paper's protocol (Pong et al. 2022, sec. 5)."""
        return self.sample(rng)
