"""The clock: deadlines stay on one grid, whatever the work takes."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.robot.timing.clock import Clock

PERIOD_NS = 50_000_000


class Time:
    """A monotonic clock that moves only when told, or when slept on."""

    def __init__(self) -> None:
        self.now = 1_000

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += round(seconds * 1e9)


def run(work_ns: list[int], time_scale: float = 1.0):
    time = Time()
    clock = Clock(0.05, time_scale, now_ns=lambda: time.now, sleep=time.sleep)
    seen = []
    for deadline, work in zip(clock.deadlines(), work_ns, strict=False):
        started = time.now
        time.now += work
        seen.append((deadline, started, deadline.overrun(time.now)))
    return seen


@given(st.lists(st.integers(0, 4 * PERIOD_NS), min_size=1, max_size=30))
def test_every_period_starts_on_the_grid_and_never_twice(work):
    seen = run(work)
    starts = [deadline.start_ns for deadline, _, _ in seen]
    assert all((start - starts[0]) % PERIOD_NS == 0 for start in starts)
    assert all(later > earlier for earlier, later in itertools.pairwise(starts))
    assert all(started >= deadline.start_ns for deadline, started, _ in seen)
    assert all(started < deadline.end_ns for deadline, started, _ in seen)


@given(st.lists(st.integers(0, PERIOD_NS), min_size=1, max_size=30))
def test_work_that_fits_is_never_an_overrun_and_skips_nothing(work):
    assert not any(overrun or deadline.skipped for deadline, _, overrun in run(work))


def test_an_overrun_skips_periods_and_is_not_made_up_for():
    seen = run([0, round(2.5 * PERIOD_NS), 0, 0])
    starts = [(deadline.start_ns - 1_000) // PERIOD_NS for deadline, _, _ in seen]
    assert starts == [0, 1, 4, 5]
    assert [overrun for _, _, overrun in seen] == [False, True, False, False]
    assert [deadline.skipped for deadline, _, _ in seen] == [0, 0, 2, 0]


def test_time_scale_divides_the_period():
    starts = [deadline.start_ns for deadline, _, _ in run([0, 0, 0], time_scale=10.0)]
    assert [start - starts[0] for start in starts] == [0, PERIOD_NS // 10, 2 * PERIOD_NS // 10]


def test_infinite_time_scale_never_waits_and_never_overruns():
    seen = run([PERIOD_NS] * 5, time_scale=math.inf)
    assert [started - seen[0][1] for _, started, _ in seen] == [
        PERIOD_NS * index for index in range(5)
    ]
    assert not any(overrun for _, _, overrun in seen)


def test_clock_runs_on_the_monotonic_clock():
    deadlines = Clock(0.001).deadlines()
    first, second = next(deadlines), next(deadlines)
    assert second.start_ns >= first.end_ns


@pytest.mark.parametrize(("period", "scale"), [(0, 1), (math.nan, 1), (math.inf, 1), (1, 0)])
def test_a_period_or_scale_that_cannot_be_is_refused(period, scale):
    with pytest.raises(ValueError, match="expected"):
        Clock(period, scale)
