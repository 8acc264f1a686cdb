"""How well the loop keeps time: stages, jitter and overruns, in memory that never grows.

Holds counts only. It must not know what a stage does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fieldtune.robot.timing.clock import SECOND_NS, Deadline

SMALLEST_NS = 100
BUCKETS_AN_OCTAVE = 16  # a quantile is at most 2^(1/16), 4.4 %, above what was measured
_BUCKETS = 31 * BUCKETS_AN_OCTAVE  # the last one starts at 100 ns · 2^31, 215 s
STAGES = ("read", "infer", "limit", "apply", "record", "cycle")
_QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class Histogram:
    """Durations in nanoseconds, in buckets that grow by a fixed factor."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS + 1, dtype=np.int64)
        self.count = 0
        self.max_ns = 0

    def add(self, duration_ns: int) -> None:
        bucket = 0
        if duration_ns > SMALLEST_NS:
            bucket = math.ceil(BUCKETS_AN_OCTAVE * math.log2(duration_ns / SMALLEST_NS))
        self._counts[min(bucket, _BUCKETS)] += 1
        self.count += 1
        self.max_ns = max(self.max_ns, duration_ns)

    def quantile_ns(self, share: float) -> int:
        """A duration that at least `share` of all did not exceed; 0 where there are none."""
        if self.count == 0:
            return 0
        bucket = int(np.searchsorted(np.cumsum(self._counts), share * self.count))
        return min(round(SMALLEST_NS * 2 ** (bucket / BUCKETS_AN_OCTAVE)), self.max_ns)

    def summary(self) -> dict[str, float]:
        """Quantiles and the largest, in microseconds."""
        found = {name: self.quantile_ns(share) for name, share in _QUANTILES.items()}
        return {name: value / 1e3 for name, value in (found | {"max": self.max_ns}).items()}


@dataclass
class Marks:
    """When each stage of one cycle ended, monotonic ns. `began` is when the loop woke up."""

    began: int = 0
    read: int = 0
    checked: int = 0
    ready: int = 0
    inferred: int = 0
    limited: int = 0
    applied: int = 0
    recorded: int = 0


class CycleReport:
    """Adds up cycles of one control loop over all its episodes.

    `limit` is checking the observation and bounding the action; `cycle` all of a period's work.
    Jitter is how far the time between two starts is from the period, where none was skipped.
    """

    def __init__(self) -> None:
        self.stages = {name: Histogram() for name in STAGES}
        self.jitter = Histogram()
        self.cycles = self.overruns = self.skipped = 0
        self._intervals = self._between_ns = 0
        self._last_ns: int | None = None

    def begin(self) -> None:
        """An episode begins: the time since the last one is nobody's."""
        self._last_ns = None

    def add(self, marks: Marks, deadline: Deadline, overrun: bool) -> None:
        """One cycle is complete.

        Args:
            marks: when each of its stages ended.
            deadline: the control period that it was in.
            overrun: whether it ran into the next one.
        """
        stages, checking = self.stages, marks.checked - marks.read
        stages["read"].add(marks.read - marks.began)
        stages["infer"].add(marks.inferred - marks.ready)
        stages["limit"].add(checking + marks.limited - marks.inferred)
        stages["apply"].add(marks.applied - marks.limited)
        stages["record"].add(marks.recorded - marks.applied)
        stages["cycle"].add(marks.recorded - marks.began)
        self.cycles += 1
        self.overruns += overrun
        self.skipped += deadline.skipped
        if self._last_ns is not None:
            self._intervals += 1
            self._between_ns += marks.began - self._last_ns
            if deadline.end_ns is not None and deadline.skipped == 0:
                period = deadline.end_ns - deadline.start_ns
                self.jitter.add(abs(marks.began - self._last_ns - period))
        self._last_ns = marks.began

    @property
    def rate_hz(self) -> float:
        """Cycles a second within episodes; 0 before there are two."""
        return self._intervals * SECOND_NS / self._between_ns if self._between_ns else 0.0

    def summary(self) -> dict[str, object]:
        """Everything, for a file. Durations are in microseconds."""
        return {
            "cycles": self.cycles,
            "rate_hz": round(self.rate_hz, 3),
            "overruns": self.overruns,
            "skipped": self.skipped,
            "jitter_us": self.jitter.summary(),
            "stages_us": {name: stage.summary() for name, stage in self.stages.items()},
        }

    def lines(self) -> list[str]:
        """The same for a person."""
        if self.cycles == 0:
            return []
        rows = [("jitter", self.jitter)] if self.jitter.count else []
        rows += list(self.stages.items())
        return [
            f"cycles: {self.cycles} at {self.rate_hz:.2f} Hz, {self.overruns} overruns, "
            f"{self.skipped} periods skipped",
            *(
                f"{name:>7} " + ", ".join(f"{key} {_time(us)}" for key, us in row.summary().items())
                for name, row in rows
            ),
        ]


def _time(us: float) -> str:
    return f"{us:.0f} µs" if us < 10_000 else f"{us / 1e3:.1f} ms"
