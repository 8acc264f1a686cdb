"""The posterior over the task embedding z, as weights of particles, one transition at a time.

Holds the algebra of weights in logarithms, where a product is a sum. It does not know networks: how
likely a transition is under each particle is told (docs/inference.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ParticlePosterior:
    """p(z_i | context) ∝ Π p(transition | z_i), every particle as likely before any.

    `log_weights` is Σ log p(transition | z_i), `(particle,)`, not normalised, so that it tells how
    well the context is explained; `z` is `(particle, latent)`, and `transitions` how many were
    taken in. The last `added` are no particles of a bundle but lie between those
    (`fieldtune.robot.policy.refinement`); `own` is how many are.
    """

    posterior_sampling: ClassVar[bool] = True

    log_weights: Array
    z: Array
    transitions: int = 0
    added: int = 0

    @classmethod
    def prior(cls, z: Array) -> ParticlePosterior:
        """Before any transition, over particles `(particle, latent)`."""
        return cls(np.zeros(len(z)), z)

    def update(self, log_likelihood: Array) -> ParticlePosterior:
        """The posterior with one more transition, whose log p under each particle is told.

        Raises `ValueError` for another number of particles, or what is not finite.
        """
        if log_likelihood.shape != self.log_weights.shape:
            raise ValueError(
                f"log-likelihoods of shape {log_likelihood.shape}: expected one for each of "
                f"{len(self.z)} particles"
            )
        if not np.isfinite(log_likelihood).all():
            raise ValueError("a transition's log-likelihoods are not finite: expected numbers")
        return replace(
            self,
            log_weights=self.log_weights + log_likelihood,
            transitions=self.transitions + 1,
        )

    def joined(self, z: Array, log_weights: Array) -> ParticlePosterior:
        """With other places added in the stead of those there were, `(place, latent)`, and
        Σ log p(transition | z) of the same transitions, `(place,)`.

        Raises `ValueError` for what is not finite.
        """
        if not np.isfinite(log_weights).all():
            raise ValueError("log-likelihoods of the places added are not finite: expected numbers")
        return ParticlePosterior(
            np.concatenate([self.log_weights[: self.own], log_weights]),
            np.concatenate([self.z[: self.own], z]),
            self.transitions,
            len(z),
        )

    @property
    def own(self) -> int:
        return len(self.z) - self.added

    @property
    def weights(self) -> Array:
        """`(particle,)`, adding up to 1."""
        return _normalised(self.log_weights)

    @property
    def mean(self) -> Array:
        """The weighted mean of z, `(latent,)`."""
        return self.weights @ self.z

    @property
    def variance(self) -> Array:
        """The weighted variance of z, `(latent,)`."""
        return self.weights @ np.square(self.z - self.mean)

    @property
    def likeliest(self) -> Array:
        """The particle of the largest weight, `(latent,)`; the first of several."""
        best: Array = self.z[self.log_weights.argmax()]
        return best

    def sample(self, rng: np.random.Generator) -> Array:
        """A particle drawn by weight, `(latent,)`."""
        drawn: Array = self.z[rng.choice(len(self.z), p=self.weights)]
        return drawn

    def decide(self, rng: np.random.Generator) -> Array:
        """The likeliest particle; a draw while every one is as likely."""
        if (self.log_weights == self.log_weights[0]).all():
            return self.sample(rng)
        return self.likeliest

    @property
    def effective(self) -> float:
        """1 / Σ wᵢ²: how many of the bundle's own particles still count, among themselves."""
        weights = _normalised(self.log_weights[: self.own])
        return float(1.0 / np.square(weights).sum())

    @property
    def explained(self) -> float | None:
        """Mean log-likelihood a transition of the likeliest of the bundle's own particles, by which
        it says what is unlike its tasks; None before any."""
        if not self.transitions:
            return None
        return float(self.log_weights[: self.own].max()) / self.transitions

    def unlike(self, threshold: float) -> bool:
        """Whether even the likeliest particle explains the context worse than `threshold`."""
        return self.explained is not None and self.explained < threshold


def _normalised(log_weights: Array) -> Array:
    shares = np.exp(log_weights - log_weights.max())
    normalised: Array = shares / shares.sum()
    return normalised
