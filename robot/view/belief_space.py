"""Where a z is drawn: in the task's own space where somebody knows it, else in z's own.

Arithmetic on arrays; must not know the viewer, nor where beliefs come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.posterior import GaussianPosterior, Posterior

Floats = NDArray[np.float64]

DRAWS = 300  # of a Gaussian
_FAINT = 1e-3  # of the largest weight; lighter particles look alike
_COLD, _WARM = np.array([90.0, 100.0, 120.0]), np.array([255.0, 152.0, 56.0])


@dataclass(frozen=True)
class Space:
    """A map from z `(n, latent)` to what is drawn `(n, 2 or 3)`; `size` is how wide all of it is,
    `says` what the axes are."""

    place: Callable[[Floats], Floats]
    size: float
    says: str


@dataclass(frozen=True)
class Cloud:
    """A posterior as points: `(n, 2 or 3)`, radii `(n,)` and colours `(n, 3)`."""

    positions: Floats
    radii: Floats
    colours: NDArray[np.uint8]


def latent_space(known: Floats) -> Space:
    """z's own space, from the side where `known` `(n, latent)` are furthest apart: its first three
    principal components, or all where there are fewer."""
    centre = known.mean(axis=0)
    _, _, axes = np.linalg.svd(known - centre, full_matrices=False)
    axes = axes[: min(3, known.shape[1])]
    if len(axes) < 2:  # a line, or one point alone
        axes = np.eye(known.shape[1])[: min(3, known.shape[1])]

    def place(z: Floats) -> Floats:
        shown = (z - centre) @ axes.T
        return shown if shown.shape[1] > 1 else np.column_stack([shown, np.zeros(len(shown))])

    size = float(np.ptp(place(known), axis=0).max()) or 1.0
    count = len(axes)
    says = "z" if known.shape[1] <= 3 else f"{count} principal components of z"
    return Space(place, size, says)


def cloud(posterior: Posterior, space: Space) -> Cloud:
    """Particles by their weight, or draws of a Gaussian."""
    z, weights = _points(posterior)
    share = weights / weights.max()
    drawn = np.sqrt(np.where(share < _FAINT, 0.0, share))
    colours = _COLD + drawn[:, None] * (_WARM - _COLD)
    order = np.argsort(drawn)  # the likeliest are drawn last
    radii = space.size * (0.006 + 0.024 * drawn)
    return Cloud(space.place(z)[order], radii[order], colours[order].astype(np.uint8))


def narrowness(posterior: Posterior) -> tuple[str, float]:
    """How much is known of z: what the number is, and the number."""
    if isinstance(posterior, ParticlePosterior):
        return "effective particles", posterior.effective
    return "largest deviation of z", float(np.sqrt(posterior.variance.max()))


def known_points(embeddings: Floats, particles: Floats | None) -> Floats:
    """What a bundle says of where z may be."""
    return embeddings if particles is None else particles


def at(space: Space, z: Sequence[float] | Floats) -> Floats:
    """One z, `(2 or 3,)`."""
    found: Floats = space.place(np.asarray(z, dtype=np.float64)[None])[0]
    return found


def _points(posterior: Posterior) -> tuple[Floats, Floats]:
    if isinstance(posterior, ParticlePosterior):
        return posterior.z, posterior.weights
    assert isinstance(posterior, GaussianPosterior)
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((DRAWS, len(posterior.mean)))
    return posterior.mean + np.sqrt(posterior.variance) * draws, np.ones(DRAWS)
