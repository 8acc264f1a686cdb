"""Whatever stands in the place of a file that the robot reads, it says so and waits for nothing."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fieldtune.errors import UserError
from fieldtune.export.bundle import read_bundle
from fieldtune.robot.bundles.trust import BundleRecord
from fieldtune.robot.curve_keys import read_secret
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.drivers.hardware.description import read_description
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.monitor.heartbeat import Heart, HeartbeatError
from fieldtune.robot.monitor.heartbeat import read as read_beat
from fieldtune.robot.policy.saved_tasks import SavedTasks
from fieldtune.robot.programs.explore import Daemon
from fieldtune.robot.safety.models.read import read_model
from fieldtune.robot.safety.models.xml_tree import ModelError

ROOT = Path(__file__).parents[2]
READERS: dict[str, Callable[[Path], object]] = {
    "x.bundle": read_bundle,
    "robot.key": lambda path: read_secret(path, "a command"),
    "joints.json": lambda path: read_description(path, "a command"),
    "x.json": lambda path: SavedTasks(path.parent).read("x"),
    "status.json": lambda path: read_beat(path, dict),
    "bundles.json": lambda path: BundleRecord(path, 2),
    "arm.xml": lambda path: read_model(str(path)),
    "journal.sqlite": Journal.open,
    "journal.sqlite.lock": lambda path: Journal.open(path.with_suffix("")),
}
WAITED = r"\.open\(\"r|\.read_bytes\(|\.read_text\(|(?<!def )(?<![.\w])open\("
OF_THE_SYSTEM = {
    "robot/timing/realtime.py",
    "robot/monitor/driving.py",
    "robot/monitor/heartbeat.py",
}


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """An end to what waits for ever."""

    def over(*_: object) -> None:
        raise AssertionError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_the_place_of_a_file_is_a_sentence(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises((UserError, DriverFault, HeartbeatError, ModelError), match=name):
        READERS[name](tmp_path / name)


def test_a_pipe_where_the_heartbeat_writes_keeps_nobody(tmp_path):
    os.mkfifo(tmp_path / f".status.json.{os.getpid()}")
    with Heart(tmp_path / "status.json", dict):
        pass
    assert read_beat(tmp_path / "status.json", dict).over


def test_a_pipe_among_the_bundles_is_left_out_at_the_start_and_between_episodes(
    config, mass, point_bundle
):
    good = point_bundle()
    os.mkfifo(good.with_name("first.bundle"))

    def drop(robot):
        if len(robot.commands) == 3:
            os.mkfifo(good.with_name("second.bundle"))

    mass.trouble = drop
    done = []
    thread = threading.Thread(
        target=lambda: done.append(Daemon(config, mass, episodes=3).run()), daemon=True
    )
    thread.start()
    thread.join(60)
    (summary,) = done
    assert (summary.episodes, summary.fault, summary.bundles_swapped) == (3, "", 0)


def test_files_are_read_by_what_waits_for_nothing():
    found = {
        str(path.relative_to(ROOT))
        for folder in ("robot", "export")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(WAITED, path.read_text())
    }
    assert found <= OF_THE_SYSTEM
