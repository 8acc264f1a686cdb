"""Where an arm starts an episode: one function, shared by the single robot and the batch."""

from __future__ import annotations

import numpy as np

from fieldtune.sim.family import Array

START_NOISE = 0.02  # rad, robosuite's default initialisation noise


def start_joints(home: tuple[float, ...], seed: int) -> Array:
    """`home` plus Gaussian noise, `(joint,)` in radians; depends on `seed` alone."""
    noise = np.random.default_rng(seed).standard_normal(len(home))
    return np.asarray(home) + START_NOISE * noise
