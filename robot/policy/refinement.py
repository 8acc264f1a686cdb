"""Places of z between a bundle's particles, at which a whole context is weighed too.

A thousand particles lie further apart than a decoder can tell tasks, so that the likeliest of them
is near the task and no more (docs/inference.md). Where rewards are −1 or 0 nobody asks for
them: acting by places was worse as long as only failures were seen. Arithmetic on arrays, for the
robot and for torch (`fieldtune.train.agent.by_likelihood`) alike; it must not know who weighs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rewarded = tuple[Array, Array, float, Array]
"""Observation, action as applied, reward, next observation."""

PLACES = 200
SCALES = (1.0, 0.5, 0.25)  # how far places are from their parents, in turn, in particles' spread
MOST = 4_000  # transitions: a context of more is sure of its z, and takes seconds to weigh anew


def places(z: Array, log_weights: Array, own: int) -> Array:
    """Where z may be besides, `(PLACES, latent)`: places drawn by weight, each moved by a part of
    the way between two of the bundle's own particles; the likeliest stays where it is. None is
    outside the box that those fill, far from where the policy has been.

    Systematic resampling, and differences of a population for its spread (ter Braak 2006), without
    any randomness. Where every place is as likely, none is moved.

    Args:
        z: `(place, latent)`, of which the first `own` are a bundle's particles.
        log_weights: of them, `(place,)`, up to a constant.
        own: how many particles the bundle has.
    """
    index = np.arange(PLACES)
    weights = np.exp(log_weights - log_weights.max())
    added_up = np.cumsum(weights)
    parents = np.searchsorted(added_up, (index + 0.5) / PLACES * added_up[-1])
    found: Array = z[parents]
    if (log_weights == log_weights[0]).all():
        return found
    first, second = index % own, (index + (own + 1) // 2) % own
    scale = np.resize(SCALES, PLACES)[:, None] / np.sqrt(2.0)  # of a difference of two
    found += scale * (z[first] - z[second])
    likeliest = int(log_weights.argmax())
    if likeliest >= own:  # it would be lost with the places before
        found[0] = z[likeliest]
    return np.clip(found, z[:own].min(axis=0), z[:own].max(axis=0))
