"""The control clock: absolute deadlines on the monotonic clock.

Holds time only. It must not know what is done between two deadlines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Deadline:
    """One control period: when it should start and when the next one does, in monotonic ns.

    `skipped` counts the periods before this one that were missed altogether.
    """

    start_ns: int
    end_ns: int | None
    skipped: int

    def overrun(self, now_ns: int) -> bool:
        """Whether work that ends at `now_ns` has run into the next period."""
        return self.end_ns is not None and now_ns > self.end_ns


def elapsed_s(earlier_ns: int, sense_ns: int, period_s: float, time_scale: float) -> float:
    """How much time of the robot's lies between two observations in a row.

    A period at least; after a late cycle a step is as long. At another pace than real time the
    wall clock does not tell the robot's time.

    Args:
        earlier_ns, sense_ns: when they were sensed, by the monotonic clock.
        period_s: a control period.
        time_scale: the robot's pace, 1 in real time.
    """
    if time_scale != 1.0:
        return period_s
    return max((sense_ns - earlier_ns) / SECOND_NS, period_s)


class Clock:
    """Ticks once a control period; `time_scale` 2 ticks twice as fast, `inf` does not wait.

    A late tick moves on to the next deadline of the same grid: periods are skipped, never made up
    for in a burst, and the grid does not drift.
    """

    def __init__(
        self,
        period_s: float,
        time_scale: float = 1.0,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not (period_s > 0 and math.isfinite(period_s)):
            raise ValueError(f"period_s is {period_s}: expected a positive number of seconds")
        if not time_scale > 0:
            raise ValueError(f"time_scale is {time_scale}: expected above 0, or inf for no waiting")
        self.time_scale = time_scale
        self.now_ns = now_ns
        self._sleep = sleep
        self._period_ns = max(1, round(period_s / time_scale * SECOND_NS))

    def deadlines(self) -> Iterator[Deadline]:
        """Yield at each deadline, for ever; the first one is now."""
        start, period, skipped = self.now_ns(), self._period_ns, 0
        if math.isinf(self.time_scale):
            while True:
                yield Deadline(self.now_ns(), None, 0)
        while True:
            yield Deadline(start, start + period, skipped)
            start += period
            late = self.now_ns() - start
            skipped = -(-late // period) if late > 0 else 0
            start += skipped * period
            while (wait := start - self.now_ns()) > 0:
                self._sleep(wait / SECOND_NS)
