"""The offset's promise: the truth lies within the uncertainty, however the network delays."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from fieldtune.robot.bridge.clock_offset import WINDOW, ClockOffset, Echo

delays = st.integers(0, 10**9)


def echo(offset, there, thinking, back, sent=1_000):
    received = sent + there + offset
    return Echo(sent, received, received + thinking, sent + there + thinking + back)


@given(st.integers(-(10**15), 10**15), st.lists(st.tuples(delays, delays, delays), min_size=1))
def test_the_true_offset_is_within_the_uncertainty(offset, trips):
    clock = ClockOffset()
    for there, thinking, back in trips:
        clock.add(echo(offset, there, thinking, back))
    measured, uncertainty = clock.estimate()
    assert abs(measured - offset) <= uncertainty
    assert uncertainty <= min((a + b + 1) // 2 for a, _, b in trips[-WINDOW:])


def test_the_quickest_echo_counts():
    clock = ClockOffset()
    clock.add(echo(500, there=900, thinking=0, back=100))
    clock.add(echo(500, there=10, thinking=5_000, back=10))
    clock.add(echo(500, there=100, thinking=0, back=900))
    assert clock.estimate() == (500, 10)


def test_an_old_echo_leaves_the_window():
    clock = ClockOffset()
    clock.add(echo(0, there=1, thinking=0, back=1))
    for _ in range(WINDOW):
        clock.add(echo(7_000, there=50, thinking=0, back=50))
    assert clock.estimate() == (7_000, 50)


def test_nothing_is_known_before_the_first_echo_nor_from_an_impossible_one():
    clock = ClockOffset()
    assert clock.estimate() is None
    clock.add(Echo(sent=100, received=0, replied=0, returned=50))
    clock.add(Echo(sent=0, received=50, replied=40, returned=100))
    assert clock.estimate() is None
