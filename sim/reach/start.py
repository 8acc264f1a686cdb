"""Where an episode of `reach` starts: one function, shared by the single robot and the batch."""

from __future__ import annotations

import numpy as np

from sim.family import Array
from sim.reach.arms import Arm

START_NOISE = 0.02  # rad, robosuite's default initialisation noise


def start_joints(arm: Arm, seed: int) -> Array:
    """Home joint positions plus Gaussian noise, `(joint,)` in radians; depends on `seed` alone."""
    noise = np.random.default_rng(seed).standard_normal(arm.joints)
    return np.asarray(arm.home_joints) + START_NOISE * noise
