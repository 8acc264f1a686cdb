"""An observation's age is never under-estimated, however unequal or slow the ways are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fieldtune.robot.drivers.hardware.clock import DRIFT, SenseClock

MS = 1_000_000
times = st.integers(0, 500 * MS)
trips = st.lists(st.tuples(times, times, times, times), min_size=1, max_size=30)


def server_clock(ours_ns: int, ahead_ns: int, drift: float) -> int:
    return ours_ns + ahead_ns + round(drift * ours_ns)


@given(trips, st.integers(-(10**15), 10**15), st.floats(-DRIFT / 2, DRIFT / 2))
def test_what_was_sensed_is_never_mapped_to_later_than_it_was(trips, ahead_ns, drift):
    """Each trip: idle time before it, and what going, answering and returning took."""
    clock, now = SenseClock(), 0
    for idle, going, answering, returning in trips:
        sent = now + idle
        sensed = sent + going + answering // 2
        replied = sent + going + answering
        now = replied + returning
        received_there, sensed_there, replied_there = (
            server_clock(moment, ahead_ns, drift) for moment in (sent + going, sensed, replied)
        )
        clock.add(sent, received_there, replied_there, now)
        assert clock.ours(sensed_there, now) <= sensed + 1
        assert sensed - clock.ours(sensed_there, now) <= going + returning + 2 + DRIFT * 2 * (
            now + 1
        )


def test_the_quickest_request_counts():
    clock = SenseClock()
    for going in (5 * MS, 1 * MS, 40 * MS):
        clock.add(0, going, going, going)
    assert clock.ours(0, 0) == -1 * MS


def test_what_a_quick_request_showed_wears_off_as_clocks_drift():
    clock = SenseClock()
    clock.add(0, 1 * MS, 1 * MS, 1 * MS)
    second = 1000 * MS
    assert clock.ours(second, second) == second - 1 * MS - round(DRIFT * second)


def test_a_clock_that_jumped_is_noticed_with_the_next_round_trip():
    clock = SenseClock()
    clock.add(0, 1 * MS, 1 * MS, 2 * MS)
    hour = 3600 * 1000 * MS
    sent = 10 * MS
    clock.add(
        sent, sent + hour + MS, sent + hour + MS, sent + 2 * MS
    )  # theirs went on in our sleep
    assert clock.ours(sent + hour + MS, sent + 2 * MS) <= sent + MS
