"""The thread that talks to a Franka's controller, against a franky made here: no simulator."""

from __future__ import annotations

import logging
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator

import franka_link  # servers/, on the path by conftest.py
import numpy as np
import pytest

PATIENCE_S = 20.0
WAY = franka_link.Way("172.16.0.2", 0.2, 0.5, 0.0965, 20.0, 30.0, realtime=False)


class Controller:
    """What the fake robots all speak to: a reflex, and a network that can be cut."""

    def __init__(self) -> None:
        self.cut = threading.Event()
        self.connections = self.recoveries = self.ticks = 0
        self.moved: list[object] = []


def fake_franky(controller: Controller) -> types.ModuleType:
    errors = types.SimpleNamespace(cartesian_reflex=True)

    class Robot:
        has_errors = True
        is_in_control = False
        model = types.SimpleNamespace(
            pose=lambda *_: types.SimpleNamespace(matrix=np.eye(4)),
            zero_jacobian=lambda *_: np.eye(6, 7),
        )

        def __init__(self, *_: object, **__: object) -> None:
            if controller.cut.is_set():
                raise RuntimeError("libfranka: Connection timeout")
            controller.connections += 1

        @property
        def state(self) -> types.SimpleNamespace:
            if controller.cut.is_set():
                raise RuntimeError("libfranka: UDP receive: Timeout")
            controller.ticks += 1
            tick = controller.ticks
            return types.SimpleNamespace(
                time=types.SimpleNamespace(to_msec=lambda: tick),
                robot_mode=types.SimpleNamespace(name="Reflex"),
                current_errors=errors,
                q=np.zeros(7),
                dq=np.zeros(7),
            )

        def recover_from_errors(self) -> bool:
            controller.recoveries += 1
            return True

        def poll_motion(self) -> None: ...

        def join_motion(self, timeout: float) -> None: ...

        def move(self, motion: object, **_: object) -> None:
            controller.moved.append(motion)

    franky = types.ModuleType("franky")
    franky.Robot = Robot
    franky.RealtimeConfig = types.SimpleNamespace(Enforce=1, Ignore=0)
    franky.Frame = types.SimpleNamespace(EndEffector=0)
    franky.Affine = lambda *_: None
    franky.ControlException = type("ControlException", (Exception,), {})
    franky.CommandException = type("CommandException", (Exception,), {})
    franky.Duration = lambda milliseconds: milliseconds
    franky.RelativeDynamicsFactor = lambda *factors: factors
    franky.JointVelocityWaypoint = lambda velocity, *_, **how: (velocity, how)
    franky.JointVelocityWaypointMotion = lambda waypoints: waypoints
    franky.JointVelocityStopMotion = lambda: "stop"
    return franky


def until(holds: Callable[[], bool]) -> None:
    last = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.005)


@pytest.fixture
def controller() -> Controller:
    return Controller()


@pytest.fixture
def link(controller, monkeypatch) -> Iterator[franka_link.Link]:
    monkeypatch.setitem(sys.modules, "franky", fake_franky(controller))
    monkeypatch.setattr(franka_link, "_AGAIN_S", 0.05)
    monkeypatch.setattr(franka_link, "STALE_S", 5.0)  # for a busy machine
    made = franka_link.Link(WAY)
    made.start(PATIENCE_S)
    yield made
    made.close()


def lost(link: franka_link.Link) -> bool:
    try:
        link.seen()
    except franka_link.NotReady:
        return True
    return False


def test_recovers_when_a_person_asks(link, controller):
    link.recover()
    until(lambda: controller.recoveries == 1)


def test_a_recovery_asked_for_without_news_is_not_carried_out_later(link, controller, caplog):
    controller.cut.set()
    until(lambda: lost(link))
    with caplog.at_level(logging.WARNING, "hardware"):
        link.recover()  # and raises nothing: a signal's handler calls it
    assert "error recovery is dropped: the arm's controller at 172.16.0.2" in caplog.text
    controller.cut.clear()
    until(lambda: controller.connections == 2 and not lost(link))
    time.sleep(0.2)
    assert controller.recoveries == 0
    link.recover()
    until(lambda: controller.recoveries == 1)


def test_a_recovery_is_dropped_with_the_connection_that_it_was_asked_of(
    link, controller, monkeypatch, caplog
):
    """Asked for when the last state is fresh, and the connection breaks before it is sent."""
    looked = threading.Event()
    hear = link._hear_of_motion

    def broken(robot: object) -> None:
        if not looked.is_set():
            link._recover = True
            controller.cut.set()
            looked.set()
            raise RuntimeError("libfranka: UDP receive: Timeout")
        hear(robot)

    with caplog.at_level(logging.WARNING, "hardware"):
        monkeypatch.setattr(link, "_hear_of_motion", broken)
        until(lambda: looked.is_set() and lost(link))
    assert "error recovery, as a person asked, is dropped: ask again" in caplog.text
    controller.cut.clear()
    until(lambda: controller.connections == 2 and not lost(link))
    time.sleep(0.2)
    assert controller.recoveries == 0


def test_a_velocity_ends_by_frankys_own_clock_from_the_moment_it_was_sent(link, controller):
    """`hold_target_duration` alone begins only once the velocity has been reached."""
    link.move(np.full(7, 0.1))
    until(lambda: len(controller.moved) == 1)
    (velocity, how), (then, _) = controller.moved[0]
    assert how == {"hold_target_duration": 200, "max_total_duration": 200}
    assert (velocity == 0.1).all()
    assert (then == 0.0).all()
