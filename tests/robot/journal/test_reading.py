"""What only reads works where nothing may be written: a stick, a read-only mount, another's folder.

Needs root to mount, and to be another user; as anybody else, what can be tried without is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fieldtune.robot.cli.app import app
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.monitor import text as monitor_text  # noqa: F401 - before a fork
from fieldtune.robot.monitor.snapshot import Life, look

ROOT = os.geteuid() == 0
NOBODY = 65534
only_root = pytest.mark.skipif(not ROOT, reason="mounting needs root")


@pytest.fixture
def place():
    """A folder that everybody may look into."""
    path = Path(tempfile.mkdtemp(prefix="journal-reading-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def state(place):
    return place / "state"


@pytest.fixture
def config_file(place, state):
    path = place / "robot.yaml"
    robot = {"name": "m1", "family": "points", "state_dir": str(state)}
    path.write_text(yaml.safe_dump({"robot": robot}), encoding="utf-8")
    return path


@pytest.fixture
def recorder(state, make_header, make_step, make_footer):
    """One that has recorded three episodes, and is still open."""
    with Recorder(state / "journal.sqlite") as recorder:
        for number in (1, 2, 3):
            recorder.begin(make_header(number))
            for index in range(5):
                recorder.put(make_step(index))
            recorder.end(make_footer(5))
        assert recorder.flush(60)
        yield recorder


@pytest.fixture
def read_only(mounted):
    """`read_only(source, folder)`: the same files in `folder`, where nothing may be written."""

    @contextlib.contextmanager
    def bound(source, folder):
        with mounted(folder, "--bind", source):
            subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
            yield folder

    return bound


def as_another_user(function):
    """What `function` returns where it may write nothing; its exception, in words."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if ROOT:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            told = function()
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(there, json.dumps(told).encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text)


def unwritable(folder):
    for path in folder.rglob("*"):
        path.chmod(0o444)
    folder.chmod(0o555)


def seen(path):
    with Journal.read(path) as journal:
        assert find_problems(journal) == []
        return [journal.episode(entry.number).header.number for entry in journal.entries()]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "recorded into"])
def test_another_users_journal_is_read(recorder, state, closed):
    if closed:
        recorder.close()
    before = names(state)
    unwritable(state)
    assert as_another_user(lambda: seen(state / "journal.sqlite")) == [1, 2, 3]
    assert names(state) == before
    state.chmod(0o755)


@pytest.mark.parametrize(
    "beside", [(), ("-wal",), ("-wal", "-shm")], ids=["alone", "with its log", "with all"]
)
@pytest.mark.parametrize("killed", [False, True], ids=["closed", "left open"])
def test_a_copy_that_may_not_be_written_is_read_with_its_log(
    recorder, state, place, beside, killed
):
    if not killed:
        recorder.close()
    copy = place / "copy"
    copy.mkdir()
    for suffix in ("", *beside):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(state / f"journal.sqlite{suffix}", copy)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    unwritable(copy)
    found = as_another_user(lambda: seen(copy / "journal.sqlite"))
    assert found == ([] if killed and not beside else [1, 2, 3])
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    copy.chmod(0o755)


@only_root
@pytest.mark.parametrize("killed", [False, True], ids=["closed", "left open"])
def test_a_journal_on_a_read_only_mount_is_read(recorder, state, place, killed, read_only):
    copy = place / "copy"
    if not killed:
        recorder.close()
    shutil.copytree(state, copy)
    (copy / "journal.sqlite-shm").unlink(missing_ok=True)
    with read_only(copy, place / "stick") as stick:
        assert seen(stick / "journal.sqlite") == [1, 2, 3]
        runner = CliRunner()
        for arguments in (["list"], ["show", "2"], ["verify"]):
            done = runner.invoke(
                app, ["journal", *arguments, "--journal", f"{stick}/journal.sqlite"]
            )
            assert done.exit_code == 0, done.output
        out = place / "out.mcap"
        export = ["journal", "export", "--journal", f"{stick}/journal.sqlite", "--out", str(out)]
        assert runner.invoke(app, export).exit_code == 0
        assert out.stat().st_size
    assert not list(Path(tempfile.gettempdir()).glob("journal-*/journal.sqlite"))


@only_root
def test_a_journal_on_a_full_disk_is_read(recorder, state, place, mounted):
    recorder.close()
    with mounted(place / "full", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as full:
        shutil.copy(state / "journal.sqlite", full)
        with contextlib.suppress(OSError), (full / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        assert seen(full / "journal.sqlite") == [1, 2, 3]


def test_what_nobody_may_read_is_explained(recorder, state):
    recorder.close()
    (state / "journal.sqlite").chmod(0)
    told = as_another_user(lambda: seen(state / "journal.sqlite"))
    assert told.startswith("JournalError: ")
    assert "Permission denied: read it as the user who records" in told
    state.chmod(0)
    told = as_another_user(lambda: seen(state / "journal.sqlite"))
    assert "Permission denied: read it as the user who records" in told
    state.chmod(0o755)


def test_offering_again_in_what_may_not_be_written_is_explained(recorder, state):
    recorder.close()
    unwritable(state)

    def offer():
        arguments = ["journal", "offer", "--journal", str(state / "journal.sqlite")]
        done = CliRunner().invoke(app, arguments)
        return [done.exit_code, done.output]

    status, said = as_another_user(offer)
    assert (status, "readonly" in said) == (1, True)
    state.chmod(0o755)


def test_a_folder_that_may_not_be_read_is_unknown_and_not_nothing(recorder, state, config_file):
    recorder.close()
    (state / "tasks").mkdir()
    state.chmod(0)

    def monitor():
        done = CliRunner().invoke(app, ["monitor", "--config", str(config_file), "--once"])
        return [done.exit_code, done.stdout]

    status, shown = as_another_user(monitor)
    state.chmod(0o755)
    assert status == 4
    for line in (
        "process   unknown whether one drives the robot",
        "FAULT     unknown",
        "episode   unknown",
        "uploads   unknown",
        "journal   unknown of",
        "tasks     unknown",
    ):
        assert line in shown
    assert "0 pending" not in shown
    assert "0.0 MB" not in shown


def test_what_alone_may_not_be_read_is_unknown(recorder, state, config_file):
    recorder.close()
    (state / "tasks").mkdir(mode=0)
    (state / "fault.txt").write_text("it hums")
    for name in ("journal.sqlite", "fault.txt"):
        (state / name).chmod(0)
    config = RobotConfig(name="m1", family="points", state_dir=state)

    def shown():
        snapshot = look(config, config_file)
        return [snapshot.fault, snapshot.uploads, snapshot.tasks, snapshot.unreadable]

    fault, uploads, tasks, unreadable = as_another_user(shown)
    assert fault.endswith("fault.txt cannot be read")  # it is there, and that latches
    assert (uploads, tasks) == (None, None)
    assert "journal.sqlite: cannot be read: Permission denied" in unreadable


@only_root
def test_a_stick_from_another_machine_does_not_say_that_the_robot_died(
    recorder, state, place, config_file, read_only
):
    recorder.close()
    beat = {"pid": 1, "boot": "another", "beat_ns": 1, "wall_ns": 1, "over": False}
    told = dict.fromkeys(("robot", "family", "activity", "state", "reason", "bundle"), "x")
    told |= dict.fromkeys(("moved_s", "period_s", "rate_hz"), 1.0)
    told |= dict.fromkeys(("cycles", "overruns", "skipped", "waiting_steps"), 0)
    told |= {"jitter_us": {}, "cycle_us": {}, "journal_trouble": ""}
    (state / "status.json").write_text(json.dumps(beat | {"told": told}))
    config = RobotConfig(name="m1", family="points", state_dir=state)
    assert look(config, config_file).life is Life.DIED  # this machine may have been started since
    with read_only(state, place / "stick") as stick:
        config = RobotConfig(name="m1", family="points", state_dir=stick)
        assert look(config, config_file).life is Life.UNKNOWN


def test_a_journal_that_is_none_is_refused_and_not_copied(place):
    place.joinpath("journal.sqlite").write_bytes(b"x" * 5_000)
    with pytest.raises(JournalError, match="not a database"):
        Journal.read(place / "journal.sqlite")


def test_an_episode_that_nobody_rewarded_has_no_return(recorder, state):
    recorder.reward(2, {0: 0.5, 1: 0.25}, "a test")
    assert recorder.flush(60)
    returns = []
    for number in ("1", "2"):
        arguments = ["show", number, "--json", "--journal", str(state / "journal.sqlite")]
        shown = CliRunner().invoke(app, ["journal", *arguments])
        returns.append(json.loads(shown.stdout)["return"])
    assert returns == [None, 0.75]
