"""What systemd hears, over a real datagram socket: ready once, and fed only by progress."""

from __future__ import annotations

import itertools
import os
import socket
import time

import pytest

from fieldtune.robot.monitor.systemd import Service


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """`(socket, environment)`; reads time out after 20 s."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@fieldtune-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0"))
        listener.settimeout(20)
        yield listener, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "40000"}


@pytest.fixture
def service():
    made = []

    def make(progress, environment):
        made.append(Service(progress, lambda: "running:\n20 Hz", environment))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.close()


def hear(listener):
    return listener.recv(4096).decode().split("\n")


def silent(listener, seconds):
    listener.settimeout(seconds)
    try:
        return listener.recv(4096) is None
    except TimeoutError:
        return True
    finally:
        listener.settimeout(20)


def test_progress_makes_it_ready_once_and_feeds_the_watchdog(systemd, service):
    listener, environment = systemd
    service(itertools.count().__next__, environment)
    assert hear(listener) == ["READY=1", "WATCHDOG=1", "STATUS=running: 20 Hz"]
    assert hear(listener) == ["WATCHDOG=1", "STATUS=running: 20 Hz"]
    assert hear(listener) == ["WATCHDOG=1", "STATUS=running: 20 Hz"]


def test_without_progress_it_is_never_ready_and_starves(systemd, service):
    listener, environment = systemd
    beats = [0]
    service(lambda: beats[0], environment)
    assert silent(listener, 0.2)
    beats[0] += 1
    assert hear(listener)[0] == "READY=1"
    assert silent(listener, 0.2)


def test_it_says_when_it_stops(systemd, service):
    listener, environment = systemd
    beats = [0]
    one = service(lambda: beats[0], environment)
    beats[0] += 1
    assert hear(listener)[0] == "READY=1"
    one.stopping()
    assert hear(listener) == ["STOPPING=1"]


def test_a_short_life_was_ready_too(tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(20)
        beats = [0]
        one = Service(lambda: beats[0], str, {"NOTIFY_SOCKET": address})  # looks twice a second
        one.start()
        beats[0] += 1
        one.stopping()
        assert hear(listener) == ["READY=1", "STOPPING=1"]
        one.close()


def test_a_socket_that_is_gone_stops_nobody(service, tmp_path, caplog):
    service(itertools.count().__next__, {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    while "cannot be told" not in caplog.text:
        time.sleep(0.01)


def test_without_systemd_nothing_runs(service):
    one = service(itertools.count().__next__, {})
    one.stopping()
    assert one._thread is None


@pytest.mark.parametrize(
    ("environment", "every_s"),
    [
        ({}, 0.5),
        ({"WATCHDOG_USEC": "60000000"}, 0.5),
        ({"WATCHDOG_USEC": "400000"}, 0.1),
        ({"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}, 0.5),
        ({"WATCHDOG_USEC": "nonsense"}, 0.5),
    ],
)
def test_it_looks_often_enough_for_the_watchdog_that_is_its_own(environment, every_s):
    assert Service(int, str, environment)._every_s == every_s
