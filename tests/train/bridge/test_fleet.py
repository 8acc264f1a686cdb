"""The fleet as another process sees it: what the hub heard, and what the inbox holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldtune.robot.bridge.client import BridgeClient
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.journal import Journal
from fieldtune.train.bridge.fleet import FILE, Watcher, telling
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.bridge.quarantine import Quarantine, Quarantined
from fieldtune.train.cli.app import app

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("family: reach\n")
    return folder


@pytest.fixture
def hub(run):
    with Hub("tcp://127.0.0.1:*", run / "inbox") as hub:
        yield hub


@pytest.fixture
def robot(tmp_path, hub, make_header, make_step, make_footer):
    """Start a robot's bridge with as many finished episodes as there are footers."""
    clients = []

    def start(name, *footers, life="1"):
        path = tmp_path / f"{name}{life}" / "journal.sqlite"
        with Journal.open(path) as journal, journal.transaction():
            for footer in footers:
                header = make_header(journal.next_number(), robot=name, boot_session=life)
                journal.begin(header)
                for index in range(4):
                    journal.add(header.number, codec.pack(make_step(index)))
                journal.finish(header.number, make_footer(4, **footer))
        client = BridgeClient(hub.address, name, "reach", life, path, path.parent / "bundles")
        client.report("running", "b" * 64)
        clients.append(client.start())
        return client

    yield start
    for client in clients:
        client.close()


def wait_for(watcher, done):
    while not done(view := watcher.look()):
        time.sleep(0.02)
    return view


MEASURED = {"clock_offset_ns": 2_000_000_000, "clock_uncertainty_ns": 150_000}
FAULT = {"end_reason": EndReason.FAULT, "fault": "the cable is out"}
LATE = {"end_reason": EndReason.LATE, "fault": "the cable is out"}


@pytest.mark.parametrize("fault", [FAULT, LATE])
def test_each_robot_is_shown_with_what_came_from_it(run, hub, robot, fault):
    robot("a", MEASURED, fault, {})
    robot("b")
    watcher = Watcher(run)
    with telling(run, hub):
        view = wait_for(
            watcher,
            lambda view: (
                [line.episodes for line in view.robots] == [3, 0]
                and all(line.pending == 0 and line.state for line in view.robots)
            ),
        )
    a, b = view.robots
    assert view.running
    assert hub.address in view.trainer
    assert (a.robot, a.state, a.bundle_id, a.steps) == ("a", "running", "b" * 64, 12)
    assert a.clock_ns == (2_000_000_000, 150_000)
    assert (a.fault, a.faulted_ago) == ("the cable is out", 1)
    assert a.present
    assert b.present
    assert (b.clock_ns, b.fault) == (None, "")
    assert not Watcher(run).look().running


def test_a_robot_that_came_back_is_one_line_with_its_newest_life(run, hub, robot):
    robot("a", life="1").close()
    robot("a", life="2").report("hold", "c" * 64)
    with telling(run, hub):
        view = wait_for(Watcher(run), lambda view: [r.state for r in view.robots] == ["hold"])
    assert [line.bundle_id for line in view.robots] == ["c" * 64]


def test_without_a_trainer_what_came_is_still_known(run, robot):
    robot("a", {}, {})
    while len(list((run / "inbox").glob("*.episode"))) < 2:
        time.sleep(0.02)
    view = Watcher(run).look()
    assert (view.running, view.trainer) == (False, "no trainer serves robots in this run")
    assert [(line.robot, line.episodes, line.state) for line in view.robots] == [("a", 2, None)]


def test_a_damaged_episode_or_file_hides_nothing_else(run, robot):
    robot("a", {})
    while not list((run / "inbox").glob("*.episode")):
        time.sleep(0.02)
    (run / "inbox" / f"{'0' * 64}.episode").write_bytes(b"\x80")
    (run / FILE).write_bytes(b"{")
    view = Watcher(run).look()
    assert [line.episodes for line in view.robots] == [1]
    assert "cannot be read" in view.trainer


def test_what_is_not_learned_from_is_counted_with_the_latest_reason(run, robot):
    robot("a", {})
    quarantine = Quarantine(run)
    for number in (1, 2):
        reason = f"observation 'joint_velocity' at step {number} is 1e+30"
        quarantine.put(str(number) * 64, Quarantined("b", number, reason))
        time.sleep(0.01)  # by the file's time, the second is the latest
    (run / "quarantine" / f"{'3' * 64}.json").write_bytes(b"{")
    watcher = Watcher(run)
    watcher.look()
    (b,) = (line for line in watcher.look().robots if line.robot == "b")
    assert (b.quarantined, b.quarantine_reason) == (
        2,
        "episode 2: observation 'joint_velocity' at step 2 is 1e+30",
    )


def test_an_episode_damaged_in_the_inbox_is_counted_and_comes_again_when_offered(
    run, hub, robot, tmp_path, caplog
):
    robot("a", {}, {}, {})
    wait_for(Watcher(run), lambda view: [line.episodes for line in view.robots] == [3])
    journal = tmp_path / "a1" / "journal.sqlite"
    with Journal.read(journal) as known:
        sha256, blob = known.blob(2)
    stored = run / "inbox" / f"{sha256}.episode"
    os.truncate(stored, 1_000)
    (run / "inbox" / f"{'0' * 64}.episode").write_bytes(b"rust")
    assert len(list(hub.episodes(set()))) == 2
    assert "episode 2 of robot 'a'" in caplog.text
    watcher = Watcher(run)
    view = watcher.look()
    assert ([line.damaged for line in view.robots], view.damaged) == ([[2]], 2)
    shown = CliRunner().invoke(app, ["fleet", "--run", str(run), "--once"]).stdout
    assert "damaged episodes of no known robot: 1" in shown
    told = CliRunner().invoke(app, ["fleet", "--run", str(run), "--json"])
    assert json.loads(told.stdout)["robots"][0]["damaged"] == [2]

    offer = [sys.executable, "-m", "fieldtune.robot.launch", "journal", "offer"]
    offer += ["--journal", str(journal)]
    subprocess.run([*offer, "--episodes", "1-3"], cwd=ROOT, check=True, timeout=120)
    while not stored.exists():
        time.sleep(0.02)
    assert stored.read_bytes() == blob
    assert len(list(hub.episodes(set()))) == 3
    view = wait_for(watcher, lambda view: view.damaged == 1)
    assert [(line.episodes, line.damaged) for line in view.robots] == [(3, [])]
    while True:  # those that it had are acknowledged at once
        with Journal.read(journal) as known:
            if not known.pending():
                break
        time.sleep(0.02)


def test_the_command_shows_it_to_people_and_programs(run, hub, robot):
    robot("a", MEASURED)
    with telling(run, hub):
        wait_for(Watcher(run), lambda view: [r.episodes for r in view.robots] == [1])
        shown = CliRunner().invoke(app, ["fleet", "--run", str(run), "--once"])
        told = CliRunner().invoke(app, ["fleet", "--run", str(run), "--json"])
    assert "+2.000000 s ± 0.150 ms" in shown.stdout
    assert json.loads(told.stdout)["robots"][0]["episodes"] == 1
    nowhere = CliRunner().invoke(app, ["fleet", "--run", str(run / "none"), "--once"])
    assert nowhere.exit_code == 1
