"""A test bench that is not there: a carriage that a screw drives against a part.

In the place of your vendor's interface; delete this file when you have one. The carriage follows
velocity commands with a lag, meets the part where it begins, and is pressed back by it. Encoder and
load cell are noisy, and a command that is not renewed in time stops. By the wall clock, or by
another that is given.
"""

import time

import numpy as np

TRAVEL = 0.1  # m
CONTACT = 0.04  # m: where the part begins
STIFFNESS = 2000.0  # N/m
FASTEST = 0.05  # m/s
LAG_S = 0.05
WATCHDOG_S = 0.3
TICK_S = 0.005


class PretendBench:
    """One connection to the bench."""

    def __init__(self, clock=time.monotonic, seed=None, position=0.0):
        """`clock` gives seconds; `position` is where it stands, in m."""
        self._clock, self._rng = clock, np.random.default_rng(seed)
        self._position, self._velocity, self._wanted = position, 0.0, 0.0
        self._now = self._until = clock()

    def state(self):
        """Position in m, force in N, and when they were sensed, ns of the clock."""
        self._advance()
        force = STIFFNESS * max(0.0, self._position - CONTACT)
        noise = self._rng.normal(0.0, [2e-5, 0.1])
        return self._position + noise[0], force + noise[1], int(self._now * 1e9)

    def command(self, velocity):
        """Move at `velocity` in m/s until the watchdog runs out; gives what was accepted."""
        self._advance()
        self._wanted = float(np.clip(velocity, -FASTEST, FASTEST))
        self._until = self._now + WATCHDOG_S
        return self._wanted

    def stop(self):
        self._advance()
        self._wanted = 0.0

    def _advance(self):
        """To the present, in ticks of the bench's own controller."""
        end = self._clock()
        while self._now + TICK_S <= end:
            wanted = self._wanted if self._now < self._until else 0.0
            self._velocity += (wanted - self._velocity) * (TICK_S / LAG_S)
            self._position = float(np.clip(self._position + self._velocity * TICK_S, 0.0, TRAVEL))
            self._now += TICK_S
