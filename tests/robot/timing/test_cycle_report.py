"""The cycle report: quantiles that can be trusted, in memory that does not grow."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.robot.timing.clock import Deadline
from fieldtune.robot.timing.cycle_report import SMALLEST_NS, CycleReport, Histogram, Marks


@given(
    st.lists(st.integers(0, 200 * 10**9), min_size=1, max_size=200),
    st.sampled_from([0.01, 0.5, 0.99, 0.999, 1.0]),
)
def test_a_quantile_is_never_too_low_and_at_most_a_bucket_too_high(durations, share):
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    exact = int(np.quantile(durations, share, method="inverted_cdf"))
    found = histogram.quantile_ns(share)
    assert exact <= found + 1
    assert found <= max(exact * 2 ** (1 / 16) + 1, SMALLEST_NS)
    assert histogram.summary()["max"] == max(durations) / 1e3


def test_no_duration_is_refused():
    histogram = Histogram()
    for duration in (-5, 0, 10**18):
        histogram.add(duration)
    assert (histogram.count, histogram.max_ns) == (3, 10**18)
    assert Histogram().quantile_ns(0.5) == 0


def cycle(began, skipped=0, period=1_000_000):
    marks = Marks(began, *(began + 1000 * index for index in range(1, 8)))
    return marks, Deadline(began, began + period, skipped), False


def test_rate_jitter_and_stages_are_those_of_the_cycles():
    report = CycleReport()
    for _ in range(2):  # two episodes; the hours between them count for nothing
        report.begin()
        start = 10**12 * report.cycles
        for index in range(11):
            report.add(*cycle(start + index * 1_000_000 + (50_000 if index % 2 else 0)))
    told = report.summary()
    assert told["cycles"] == 22
    assert told["rate_hz"] == pytest.approx(1000.0, rel=0.01)
    assert told["jitter_us"]["max"] == 50.0
    assert told["stages_us"]["limit"]["max"] == 2.0
    assert told["stages_us"]["cycle"]["max"] == 7.0
    assert told["stages_us"]["apply"]["p50"] == pytest.approx(1.0, rel=0.05)
    json.dumps(told)
    text = "\n".join(report.lines())
    assert "22 at 1000.00 Hz, 0 overruns, 0 periods skipped" in text
    assert "jitter p50 50 µs" in text


def test_skipped_periods_are_counted_and_are_no_jitter():
    report = CycleReport()
    report.begin()
    report.add(*cycle(0))
    report.add(*cycle(3_000_000, skipped=2))
    assert (report.skipped, report.jitter.count) == (2, 0)


def test_many_cycles_take_no_more_memory_than_one():
    def size(report):
        counts = [*report.stages.values(), report.jitter]
        return sum(sys.getsizeof(each._counts) for each in counts)

    report = CycleReport()
    before = size(report)
    report.begin()
    for index in range(20_000):
        report.add(*cycle(index * 1_000_000))
    assert size(report) == before


def test_without_cycles_there_is_nothing_to_say():
    assert CycleReport().lines() == []
    assert CycleReport().summary()["rate_hz"] == 0.0
