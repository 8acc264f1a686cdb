"""The watchdog: holds while inference does not return, and leaves the driver to the loop else."""

from __future__ import annotations

import threading
import time

import pytest

from fieldtune.robot.safety.estop import EmergencyStop, EStop
from fieldtune.robot.safety.watchdog import Watchdog

PATIENCE_NS = 20_000_000


class Watched:
    """An e-stop with its watchdog, and what was called."""

    def __init__(self) -> None:
        self.estop = EStop()
        self.holds: list[str] = []
        self.held: list[tuple[str, str]] = []
        self.holding_s = 0.0
        self.watchdog = Watchdog(self.estop, self._hold, self._held, self._lost)
        self.lost = threading.Event()

    def _hold(self) -> str:
        self.holds.append(threading.current_thread().name)
        time.sleep(self.holding_s)
        self.holds.append("done")
        return ""

    def _held(self, reason: str, trouble: str) -> None:
        self.held.append((reason, trouble))

    def _lost(self, reason: str) -> None:  # noqa: ARG002
        self.lost.set()


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def watched():
    watched = Watched()
    watched.watchdog.start()
    yield watched
    watched.watchdog.close()


def test_inference_that_does_not_return_is_held_for_and_the_loop_waits_for_that(watched):
    watched.holding_s = 0.3
    watched.estop.beat(time.monotonic_ns(), PATIENCE_NS)
    with watched.estop.lent:
        wait_for(lambda: watched.holds)
    assert watched.holds == ["watchdog", "done"]  # the driver was nobody else's meanwhile
    with pytest.raises(EmergencyStop, match="inference has not returned for"):
        watched.estop.check()
    wait_for(lambda: watched.held)
    assert watched.held == [(watched.estop.reason, "")]
    assert not watched.lost.is_set()


def test_a_loop_that_stands_still_elsewhere_is_stopped_but_never_held_from_here(watched):
    watched.estop.beat(time.monotonic_ns(), PATIENCE_NS)
    wait_for(lambda: watched.estop.reason)
    time.sleep(0.1)
    assert "the loop has stood still" in watched.estop.reason
    assert watched.holds == []


def test_inference_that_returns_in_time_is_left_alone(watched):
    for _ in range(200):
        watched.estop.beat(time.monotonic_ns(), 60 * 10**9)
        with watched.estop.lent:
            time.sleep(0.001)
    assert (watched.estop.reason, watched.holds) == ("", [])


def test_a_driver_is_claimed_once_and_only_while_it_is_lent():
    lent = EStop().lent
    assert not lent.claim()
    with lent:
        assert lent.claim()
        assert not lent.claim()
        lent.give_back()
    with lent:
        pass
    assert not lent.claim()


def test_an_error_in_inference_gives_the_driver_back():
    lent = EStop().lent
    with pytest.raises(ValueError, match="no graph"), lent:
        raise ValueError("no graph")
    assert not lent.claim()
    assert not lent.occupied
