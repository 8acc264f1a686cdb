"""The monitor tells the living from the dead, and says what to do about what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fieldtune.robot.cli.app import app
from fieldtune.robot.config import ZHold
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.monitor.heartbeat import SILENT_S
from fieldtune.robot.monitor.snapshot import Life, look
from fieldtune.robot.monitor.text import facts, lines
from fieldtune.robot.policy.posterior import GaussianPosterior
from fieldtune.robot.programs.explore import Daemon
from fieldtune.robot.programs.session import RobotSession

ROOT = Path(__file__).parents[3]
HERE = Path("robot.yaml")


@pytest.fixture
def seen(config, mass):
    """What the monitor saw while the robot ran, once its state was there to see."""
    found = []

    def watch(robot):
        if len(robot.commands) != 7:
            return
        while True:
            snapshot = look(config, HERE)
            newest = snapshot.episode
            told = snapshot.status is not None and snapshot.status.cycles == 7
            if told and newest is not None and newest.number == 2 and newest.steps == 2:
                break
            time.sleep(0.01)
        found.append(snapshot)

    mass.trouble = watch
    return found


def test_a_running_robot_is_seen_from_outside(config, mass, point_bundle, seen):
    bundle = point_bundle()
    Daemon(config, mass, episodes=2).run()
    (snapshot,) = seen
    assert (snapshot.life, snapshot.pid, snapshot.cure) == (Life.RUNNING, os.getpid(), "")
    assert snapshot.status.activity == "exploring"
    assert snapshot.status.bundle == bundle.stem
    assert snapshot.status.state == "running"
    assert snapshot.status.rate_hz > 0
    assert snapshot.episode.ended == ""
    assert snapshot.uploads["pending"] == 1
    assert snapshot.status.trainer is None
    assert "is alive" in lines(snapshot)


def test_limits_that_were_hit_are_counted_by_their_reason(config, mass, point_bundle, seen):
    limits = config.limits.model_copy(update={"action_rate": {"force": 0.001}})
    point_bundle()
    Daemon(config.model_copy(update={"limits": limits}), mass, episodes=2).run()
    episode = seen[0].episode
    assert episode.limited == episode.limits["rate force"] > 0
    assert "rate force ×" in lines(seen[0])


def test_a_session_says_what_it_does(config, mass, point_bundle, seen):
    robot = RobotSession(config, mass, "acting on task push")
    with robot.ready(point_bundle()):
        for _ in range(2):
            robot.episode(GaussianPosterior.prior(2), trial=1, hold=ZHold.EPISODE, noise=False)
    assert seen[0].status.activity == "acting on task push"


def test_a_robot_that_has_ended_is_not_dead(config, mass, point_bundle):
    point_bundle()
    Daemon(config, mass, episodes=1).run()
    snapshot = look(config, HERE)
    assert (snapshot.life, snapshot.cure) == (Life.ENDED, "")
    assert snapshot.status.state == "disarmed"
    assert snapshot.episode.ended == EndReason.HORIZON


def test_a_fault_is_shown_with_its_cure(config, mass, point_bundle):
    def fail(_):
        raise DriverFault("the cable is out")

    mass.trouble = fail
    point_bundle()
    Daemon(config, mass).run()
    snapshot = look(config, HERE)
    assert snapshot.fault == "the cable is out"
    assert "fieldtune-robot rearm --config robot.yaml" in snapshot.cure
    assert "FAULT     the cable is out" in lines(snapshot)


def test_where_none_ever_ran_it_says_so(config):
    snapshot = look(config, HERE)
    assert (snapshot.life, snapshot.status, snapshot.episode) == (Life.NEVER, None, None)
    assert "none has ever run here" in lines(snapshot)
    assert not config.state_dir.exists()


def test_a_second_process_that_is_refused_does_not_speak_for_the_robot(
    config, mass, point_bundle, seen
):
    point_bundle()
    before = mass.trouble

    def intrude(robot):
        if len(robot.commands) == 7:
            other = subprocess.run(
                [sys.executable, "-c", _PROCESS, str(config.state_dir)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert f"process {os.getpid()} records into this journal" in other.stderr
        before(robot)

    mass.trouble = intrude
    Daemon(config, mass, episodes=2).run()
    assert (seen[0].pid, seen[0].life) == (os.getpid(), Life.RUNNING)


# A process with the journal's lock and a heartbeat, and no robot.
_PROCESS = """
import pathlib, sys, time
from types import SimpleNamespace
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.timing.cycle_report import CycleReport
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.loop.states import States
from fieldtune.robot.monitor.status import StatusReporter
config = RobotConfig(name="m1", family="points", state_dir=pathlib.Path(sys.argv[1]))
recorder = Recorder(config.journal)
driver = SimpleNamespace(period_s=0.1)
runner = SimpleNamespace(states=States(), report=CycleReport(), parts=None, driver=driver)
reporter = StatusReporter(config, "exploring", runner, recorder)
try:
    recorder.start()
    reporter.start()
    print(flush=True)
    time.sleep(1000)
finally:
    reporter.close()
"""


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": 1, "told": {}}'])
def test_what_cannot_be_read_is_said_and_the_rest_is_shown(config, mass, point_bundle, content):
    point_bundle()
    Daemon(config, mass, episodes=1).run()
    config.status.write_bytes(content)
    snapshot = look(config, HERE)
    assert "status.json: cannot be read" in snapshot.unreadable
    assert snapshot.episode.number == 1
    config.journal.write_bytes(b"x" * 5000)
    assert "journal.sqlite" in look(config, HERE).unreadable
    assert json.loads(json.dumps(facts(snapshot)))["life"] == "unknown"


@pytest.fixture
def file(config, tmp_path):
    path = tmp_path / "robot.yaml"
    robot = {"name": "m1", "family": "points", "state_dir": str(config.state_dir)}
    path.write_text(yaml.safe_dump({"robot": robot}), encoding="utf-8")
    return path


def monitor(file, *arguments):
    return CliRunner().invoke(app, ["monitor", "--config", str(file), *arguments])


@pytest.mark.slow
def test_hung_and_killed_processes_are_told_from_each_other(config, file):
    process = subprocess.Popen(
        [sys.executable, "-c", _PROCESS, str(config.state_dir)], cwd=ROOT, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    while look(config, HERE).life is not Life.RUNNING:
        time.sleep(0.05)
    assert look(config, HERE).pid == process.pid
    process.send_signal(signal.SIGSTOP)
    time.sleep(SILENT_S + 0.1)
    assert look(config, HERE).life is Life.SILENT
    assert "SILENT" in monitor(file, "--once").stdout
    process.kill()
    process.communicate()
    assert look(config, HERE).life is Life.DIED
    done = monitor(file, "--once")
    assert (done.exit_code, "DIED without a word" in done.stdout) == (4, True)


def test_a_script_gets_json_and_an_exit_status(config, file, mass, point_bundle):
    assert monitor(file, "--once").exit_code == 4
    point_bundle()
    statuses = []
    mass.trouble = lambda _: statuses.append(monitor(file, "--json").exit_code)
    Daemon(config, mass, episodes=1).run()
    assert set(statuses) == {0}
    done = monitor(file, "--json")
    assert (done.exit_code, json.loads(done.stdout)["episode"]["steps"]) == (4, 5)
    config.latch.write_text("it hums\n")
    assert monitor(file, "--json").exit_code == 3


def test_looking_changes_nothing(config, file, mass, point_bundle):
    point_bundle()
    Daemon(config, mass, episodes=1).run()
    before = config.journal.read_bytes()
    monitor(file, "--once")
    assert config.journal.read_bytes() == before
    with Journal.read(config.journal) as journal:
        assert find_problems(journal) == []
