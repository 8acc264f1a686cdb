"""A UR5e that is not there, in the place of the maker's interface.

Six joints that follow velocity commands by the wall clock, as `speedj` does: with a limited
acceleration, an encoder's noise, and a watchdog, since a driver cannot stop a robot once its own
process is gone. For a real arm write a class with the same four methods over `rtde_control` and
`rtde_receive` of the package ur-rtde: `getActualQ` and `getActualQd`, `speedJ`, `speedStop`.
"""

import time

import numpy as np

from ur5e_reach.kinematics import HOME

WATCHDOG_S = 0.15
ACCELERATION = 8.0  # rad/s^2
ENCODER_NOISE = 1e-5  # rad
FASTEST = 1.0  # rad/s; the arm could do 3.1
TICK_S = 0.002


class PretendArm:
    """One connection to the arm."""

    def __init__(self):
        self._rng = np.random.default_rng()
        self._position, self._velocity, self._wanted = HOME.copy(), np.zeros(6), np.zeros(6)
        self._now = self._until = time.monotonic()

    def state(self):
        """Positions in rad, velocities in rad/s, and when they were sensed, monotonic ns."""
        self._advance()
        noise = self._rng.normal(0.0, ENCODER_NOISE, 6)
        return self._position + noise, self._velocity + noise, int(self._now * 1e9)

    def command(self, velocity):
        """Move at `velocity` in rad/s until the watchdog runs out; gives what was accepted."""
        self._advance()
        self._wanted = np.clip(velocity, -FASTEST, FASTEST)
        self._until = self._now + WATCHDOG_S
        return self._wanted.copy()

    def stop(self):
        self._advance()
        self._wanted = np.zeros(6)

    def close(self):
        self.stop()

    def _advance(self):
        """To the present, in ticks of the arm's own controller."""
        end = time.monotonic()
        while self._now + TICK_S <= end:
            wanted = self._wanted if self._now < self._until else 0.0
            most = ACCELERATION * TICK_S
            self._velocity = self._velocity + np.clip(wanted - self._velocity, -most, most)
            self._position = self._position + self._velocity * TICK_S
            self._now += TICK_S
