"""The emergency stop: heard from every side, first reason kept, even out of a call that waits."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from robot.safety.estop import EmergencyStop, EStop


def wait_for(condition) -> None:
    while not condition():
        time.sleep(0.005)


@pytest.fixture
def estop():
    stop = EStop()
    yield stop
    stop.close()


@pytest.fixture
def on_signal(estop):
    before = signal.getsignal(signal.SIGUSR1)
    estop.listen_to_signal()
    yield estop
    signal.signal(signal.SIGUSR1, before)


def test_nothing_happens_until_somebody_asks(estop):
    estop.start()
    estop.check()
    with estop.interrupting():
        pass
    assert estop.reason == ""


def test_the_first_reason_is_kept(estop):
    estop.trip("first")
    estop.trip("second")
    with pytest.raises(EmergencyStop, match="first"):
        estop.check()


def test_whoever_is_asked_is_heard(estop):
    said = []
    estop.ask(lambda: "")
    estop.ask(lambda: said[0] if said else "")
    estop.start()
    said.append("the trainer saw smoke")
    wait_for(lambda: estop.reason)
    assert estop.reason == "the trainer saw smoke"


def test_who_cannot_be_asked_stops_the_robot(estop):
    def broken() -> str:
        raise OSError("the disk is gone")

    estop.ask(broken)
    estop.start()
    wait_for(lambda: estop.reason)
    assert "the disk is gone" in estop.reason


def test_a_signal_trips_it(on_signal):
    os.kill(os.getpid(), signal.SIGUSR1)
    assert on_signal.reason == "emergency stop by signal SIGUSR1"


def test_homing_is_interrupted_by_a_signal(on_signal):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    with pytest.raises(EmergencyStop, match="SIGUSR1"), on_signal.interrupting():
        time.sleep(600)


def test_homing_is_interrupted_by_another_thread(on_signal):
    threading.Timer(0.1, on_signal.trip, ("the trainer asked",)).start()
    with pytest.raises(EmergencyStop, match="the trainer asked"), on_signal.interrupting():
        time.sleep(600)
    on_signal.trip("again")
    time.sleep(0.01)  # outside, a trip interrupts nothing


def test_without_the_signal_a_stop_is_raised_after_homing(estop):
    with pytest.raises(EmergencyStop, match="late"), estop.interrupting():
        estop.trip("late")


def test_after_a_stop_nothing_is_homed(estop):
    estop.trip("before")
    moved = []
    with pytest.raises(EmergencyStop), estop.interrupting():
        moved.append(1)
    assert moved == []


def test_a_loop_that_stands_still_trips_it_and_one_that_rests_does_not(estop):
    estop.start()
    estop.beat(time.monotonic_ns() - 10**9, 10**6)
    estop.rest()
    estop.beat(time.monotonic_ns(), 3600 * 10**9)
    time.sleep(0.06)
    assert estop.reason == ""
    estop.beat(time.monotonic_ns(), 10**7)
    wait_for(lambda: estop.reason)
    assert "the loop has stood still for 0.0" in estop.reason


def test_a_stop_is_told_of_while_the_loop_stands_still():
    told = []
    estop = EStop(on_trip=told.append)
    estop.start()
    try:
        estop.beat(time.monotonic_ns(), 10_000_000)
        deadline = time.monotonic() + 20
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        estop.close()
    assert len(told) == 1
    assert "has stood still" in told[0]
