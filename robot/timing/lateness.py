"""How many control periods were left out, and whether that is too many.

Pure counting. It must not know why the loop was late.

A robot that is commanded at a fifth of its policy's rate is no slow robot: what it does is not what
the policy was made for, and what it records are no transitions of one control period.
"""

from __future__ import annotations

from collections import deque

WINDOW_S = 2.0
_SHORTEST_WINDOW = 50  # periods
_ONE_STALL = 10  # periods: no longer than an observation may be old


class Late(Exception):
    """Too many control periods were left out. The message says how many, and where to look."""


class Lateness:
    """Periods that one episode left out, since the one before ran over, in its last two seconds.

    At most `fraction` of them may be. Where nothing is left out, nothing is called.
    """

    def __init__(self, fraction: float, period_s: float) -> None:
        self._fraction = fraction
        self._window = max(_SHORTEST_WINDOW, round(WINDOW_S / period_s))
        self._left_out: deque[tuple[int, int]] = deque()  # before which period, and how many
        self._sum = 0

    def add(self, skipped: int, period: int) -> None:
        """The `skipped` periods before `period`, counted from the episode's start, were left out.

        Raises `Late`.
        """
        self._left_out.append((period, skipped))
        self._sum += skipped
        while self._left_out[0][0] <= period - self._window:
            self._sum -= self._left_out.popleft()[1]
        self._require(self._window)

    def end(self, periods: int) -> None:
        """The episode is over after `periods`. Raises `Late` for a short one that was late."""
        if periods < self._window and self._sum > _ONE_STALL:
            self._require(periods)

    def _require(self, periods: int) -> None:
        if self._sum > self._fraction * periods:
            raise Late(
                f"{self._sum} of {periods} control periods were left out, at most "
                f"{self._fraction:.0%} may be (robot.limits.late_fraction): the hardware answers "
                "too late for its control period, or this machine is overloaded; `cycles` shows "
                "which stage"
            )
