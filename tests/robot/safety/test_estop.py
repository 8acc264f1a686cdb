"""The emergency stop: heard from every side, first reason kept, even out of a call that waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fieldtune.robot.safety.estop import EmergencyStop, EStop, WaitAbandoned


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
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGCONT)}
    estop.listen_to_signal()
    yield estop
    estop.close()
    for number, handler in before.items():
        signal.signal(number, handler)


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


def test_a_gap_between_two_beats_trips_it_before_anybody_has_looked(estop):
    now = time.monotonic_ns()
    estop.beat(now - 2 * 10**9, 10**8)
    estop.beat(now, 10**8)
    estop.look()
    with pytest.raises(EmergencyStop, match=r"stood still for 2\.000 s"):
        estop.check()


def test_beats_within_the_patience_trip_nothing(estop):
    now = time.monotonic_ns()
    for index in range(50):
        estop.beat(now + index * 10**8, 10**8)
    estop.rest()
    estop.beat(now + 10**12, 10**8)
    estop.check()


def test_a_machine_that_was_suspended_stood_still(estop, monkeypatch):
    """Its monotonic clock did too: only the clock that counts suspended time tells."""
    now = time.monotonic_ns()
    estop.beat(now, 10**8)
    gettime = time.clock_gettime_ns
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: gettime(clock) + 3 * 10**9)
    estop.beat(now + 1000, 10**8)
    with pytest.raises(EmergencyStop, match=r"machine was suspended for 3\.0"):
        estop.check()


def test_a_driver_in_which_the_loop_stands_still_is_left(on_signal):
    on_signal.start()
    on_signal.beat(time.monotonic_ns(), 10**7)
    with pytest.raises(EmergencyStop, match="stood still"):
        time.sleep(600)
    on_signal.trip("again")  # once: what comes next brings the robot to rest
    time.sleep(0.05)


def test_the_end_of_a_run_leaves_homing_and_nothing_else(estop):
    estop.leave("SIGTERM")
    with pytest.raises(WaitAbandoned, match="SIGTERM"), estop.interrupting():
        estop.leave("SIGTERM")
    estop.leave("SIGTERM")


def test_a_watcher_that_a_disk_keeps_does_not_delay_its_end():
    asked = threading.Event()

    def hang() -> str:
        asked.set()
        time.sleep(600)
        return ""

    estop = EStop(hang)
    estop.start()
    assert asked.wait(60)
    estop.close()
    estop.close()


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


def test_a_stop_by_signal_that_comes_once_the_robot_is_released_does_no_harm():
    """At its end Python gives signals back to the system, which would end the process by it."""
    late = """
import os, sys
from fieldtune.robot.safety.estop import SIGNAL, EStop

class Last:
    def __del__(self, kill=os.kill, process=os.getpid()):
        kill(process, SIGNAL)

estop = EStop()
estop.listen_to_signal()
estop.close()
sys.last = Last()  # goes when the interpreter does, after the handlers
"""
    done = subprocess.run([sys.executable, "-c", late], check=False)
    assert done.returncode == 0
