"""What the steps come to, against numbers that can be counted by hand."""

from __future__ import annotations

import pytest

from fieldtune.robot.journal.summary import summarise


def test_steps_reasons_and_overruns_are_counted(make_step):
    reasons = ["", "range a; rate b", "rate b", ""]
    steps = [make_step(i, reason=r, overrun=i == 3) for i, r in enumerate(reasons)]
    summary = summarise(steps)
    assert (summary.steps, summary.clamped, summary.overruns) == (4, 2, 1)
    assert list(summary.reasons.items()) == [("rate b", 2), ("range a", 1)]


def test_spreads_are_in_milliseconds(make_step):
    steps = [make_step(i, infer_ns=1_000_000 * (i + 1)) for i in range(101)]
    spreads = summarise(steps).spreads
    inference = spreads["inference"]
    assert (inference.p50_ms, inference.p99_ms, inference.max_ms) == pytest.approx((51, 100, 101))
    assert spreads["period"].p50_ms == pytest.approx(50)
    assert spreads["observation age"].max_ms == pytest.approx(0.12)


def test_an_episode_without_steps_or_with_one_has_no_period(make_step):
    assert summarise([]).spreads == {}
    assert "period" not in summarise([make_step(0)]).spreads
