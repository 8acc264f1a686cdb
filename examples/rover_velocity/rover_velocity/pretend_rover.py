"""A rover that is not there, in the place of its motor controller.

By the wall clock, and not by the MJCF: its motors lag, one wheel is a little smaller than the
other, and odometry is noisy. What a policy learned in simulation meets here what it has not seen.
Wheels stop by themselves where commands stop coming; let the real ones do the same.
"""

import time

import numpy as np

from rover_velocity.wheels import FASTEST, motion_of

WATCHDOG_S = 0.15
LAG_S = 0.08
SIZES = np.array([1.0, 0.96])  # of the wheels, against what is believed
TICK_S = 0.002


class PretendRover:
    """One connection to the base."""

    def __init__(self):
        self._rng = np.random.default_rng()
        self._heading, self._wheels, self._wanted = 0.0, np.zeros(2), np.zeros(2)
        self._now = self._until = time.monotonic()

    def state(self):
        """Heading in rad, wheel speeds in rad/s, forward speed in m/s and turning in rad/s by
        odometry, and when they were sensed, monotonic ns."""
        self._advance()
        forward, turning = motion_of(self._wheels * SIZES)
        noise = self._rng.normal(0.0, [1e-3, 1e-3, 1e-3, 1e-2, 1e-2])
        wheels = self._wheels + noise[3:]
        sensed_ns = int(self._now * 1e9)
        return self._heading + noise[0], wheels, forward + noise[1], turning + noise[2], sensed_ns

    def command(self, wheels):
        """Turn the wheels at so many rad/s until the watchdog runs out; gives what was accepted."""
        self._advance()
        self._wanted = np.clip(wheels, -FASTEST, FASTEST)
        self._until = self._now + WATCHDOG_S
        return self._wanted.copy()

    def stop(self):
        self._advance()
        self._wanted = np.zeros(2)

    def _advance(self):
        """To the present, in ticks of the base's own controller."""
        end = time.monotonic()
        while self._now + TICK_S <= end:
            wanted = self._wanted if self._now < self._until else 0.0
            self._wheels = self._wheels + (wanted - self._wheels) * (TICK_S / LAG_S)
            self._heading += motion_of(self._wheels * SIZES)[1] * TICK_S
            self._now += TICK_S
