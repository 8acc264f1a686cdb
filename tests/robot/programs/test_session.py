"""What every program of a robot gets from its session: why it stops, and in which order it ends."""

from __future__ import annotations

import pytest

from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.programs.session import FLUSH_S, STOPPED_FLUSH_S, RobotSession


class Trainer:
    """An uplink that notes what is asked of it."""

    address = "tcp://127.0.0.1:9"

    def __init__(self, order):
        self.order = order
        self.asked = ""

    def start(self):
        self.order.append("uplink started")

    def connected(self):
        return True

    def clock(self):
        return None

    def emergency(self):
        return self.asked

    def close(self, flush_timeout_s=0.0):
        self.order.append(f"uploads for {flush_timeout_s:g} s")
        return True


@pytest.fixture
def order(mass, monkeypatch):
    """What was closed, in its order."""
    order = []
    for owner, name, said in ((mass, "close", "robot closed"), (Recorder, "close", "recorded")):
        close = getattr(owner, name)

        def noting(*arguments, close=close, said=said):
            order.append(said)
            return close(*arguments)

        monkeypatch.setattr(owner, name, noting)
    return order


@pytest.mark.parametrize(("stop", "flush_s"), [("", FLUSH_S), ("SIGTERM", STOPPED_FLUSH_S)])
def test_the_robot_rests_first_then_all_is_recorded_then_uploaded(
    config, mass, order, stop, flush_s
):
    session = RobotSession(config, mass, "testing", uplink=Trainer(order))
    with session.connected(lambda: order.append("checked")):
        assert mass.connected
        session.request_stop(stop)
    assert order == [
        "checked",
        "uplink started",
        "robot closed",
        "recorded",
        f"uploads for {flush_s:g} s",
    ]
    assert (session.uploaded, session.fault) == (True, "")


def test_what_is_refused_before_anything_is_open_moves_and_records_nothing(config, mass):
    def refuse():
        raise ValueError("no")

    session = RobotSession(config, mass, "testing")
    with pytest.raises(ValueError, match="no"), session.connected(refuse):
        pass
    assert not mass.connected
    assert not config.journal.exists()


def test_a_journal_that_was_in_trouble_once_stops_the_session_and_is_told_in_the_end(
    config, mass, monkeypatch
):
    session = RobotSession(config, mass, "testing")
    assert session.may_go_on()
    monkeypatch.setattr(Recorder, "error", "disk full")
    assert not session.may_go_on()
    monkeypatch.setattr(Recorder, "error", None)
    assert session.why_stop() == session.fault == "the journal cannot be written: disk full"


def test_an_emergency_stop_of_the_trainers_is_heard(config, mass):
    trainer = Trainer([])
    session = RobotSession(config, mass, "testing", uplink=trainer)
    trainer.asked = "by the trainer"
    session.estop.look()
    assert session.why_faulted() == "fault: by the trainer"
    assert not session.may_go_on()
