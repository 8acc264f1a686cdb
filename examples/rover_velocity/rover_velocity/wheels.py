"""The base's measures, and what wheels and base have to do with each other: numpy alone.

Must not know fieldtune. Wheel speeds are left, right.
"""

import numpy as np

RADIUS, TRACK = 0.08, 0.26  # m: of a wheel, and between the two
FASTEST = 8.0  # rad/s, of a wheel


def wheels_for(forward, turning):
    """Wheel speeds in rad/s, `(..., 2)`, that drive at `forward` m/s and `turning` rad/s."""
    half = 0.5 * TRACK * turning
    return np.stack([forward - half, forward + half], axis=-1) / RADIUS


def motion_of(wheels):
    """Forward speed in m/s and turning in rad/s of wheel speeds, `(..., 2)`, that do not slip."""
    left, right = RADIUS * wheels[..., 0], RADIUS * wheels[..., 1]
    return 0.5 * (left + right), (right - left) / TRACK
