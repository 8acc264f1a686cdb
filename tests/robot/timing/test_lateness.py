"""How many control periods may be left out before a robot counts as late."""

from __future__ import annotations

import pytest

from fieldtune.robot.timing.lateness import Late, Lateness


def run(fraction: float, period_s: float, gaps: list[int]) -> None:
    """Each step follows so many left-out periods."""
    lateness, period = Lateness(fraction, period_s), 0
    for gap in gaps:
        if gap:
            period += gap
            lateness.add(gap, period)
        period += 1
    lateness.end(period)


def test_a_server_that_answers_in_six_periods_is_late_within_two_seconds():
    with pytest.raises(Late, match=r"of 200 control periods were left out, at most 20%"):
        run(0.2, 0.01, [5] * 12)


@pytest.mark.parametrize("gap", range(11))
def test_one_stall_that_the_age_limit_allows_is_not_late(gap):
    for period_s in (0.002, 0.01, 0.05, 0.2):
        for steps in (2, 5, 20, 100, 1000):
            run(0.2, period_s, [gap] + [0] * steps)
            run(0.2, period_s, [0] * steps + [gap])


def test_the_worst_stall_of_a_busy_machine_at_500_hz_is_not_late():
    run(0.2, 0.002, ([50] + [0] * 450) * 20)


def test_old_stalls_are_forgotten():
    run(0.2, 0.01, ([10] + [0] * 60) * 50)
    with pytest.raises(Late):
        run(0.2, 0.01, ([10] + [0] * 30) * 50)


def test_an_episode_shorter_than_the_window_is_late_too():
    with pytest.raises(Late, match=r"25 of 30 control periods"):
        run(0.2, 0.01, [5] * 5)


def test_all_of_them_may_be_left_out_where_a_person_says_so():
    run(1.0, 0.01, [9] * 500)
