"""What systemd hears of a real daemon: ready when connected, fed by the loop, starved by a hang."""

from __future__ import annotations

import socket
import threading

import pytest

from fieldtune.robot.programs.explore import Daemon


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A real notification socket; all that came so far with `drain`."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        listener.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        monkeypatch.setenv("WATCHDOG_USEC", "40000")
        yield listener


def drain(listener, quiet_s):
    """Everything said until nothing was for `quiet_s`."""
    said = []
    listener.settimeout(quiet_s)
    try:
        while True:
            said.append(listener.recv(4096).decode())
    except TimeoutError:
        return said


def test_a_daemon_is_ready_is_fed_and_says_when_it_stops(systemd, config, mass, point_bundle):
    point_bundle()
    said = []  # read all the while, as systemd does: the socket holds ten messages and no more
    reader = threading.Thread(target=lambda: said.extend(drain(systemd, 5.0)))
    reader.start()
    Daemon(config, mass, episodes=1).run()
    reader.join()
    assert said[0].startswith("READY=1\nWATCHDOG=1\nSTATUS=exploring: ")
    assert "STOPPING=1" in said
    assert sum("READY=1" in text for text in said) == 1


def test_a_loop_that_hangs_starves_the_watchdog(systemd, config, mass, point_bundle):
    point_bundle()
    fed_while_hung = []

    def hang(robot):
        if len(robot.commands) == 3:
            drain(systemd, 0.2)
            fed_while_hung.extend(drain(systemd, 0.3))  # seven times the watchdog's patience

    mass.trouble = hang
    Daemon(config, mass, episodes=1).run()
    assert fed_while_hung == []


def test_a_robot_that_cannot_start_is_never_ready(systemd, config, mass, point_bundle):
    point_bundle()
    config.latch.write_text("it hums\n")
    with pytest.raises(Exception, match="it hums"):
        Daemon(config, mass).run()
    assert drain(systemd, 0.2) == []
