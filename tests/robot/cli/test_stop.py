"""The emergency stop from another terminal: real processes, other folders, other names."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.safety.latch import latched

ROOT = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
COMMAND = [sys.executable, "-m", "fieldtune.robot.launch"]


@pytest.fixture
def name():
    """Of one robot only: a stop reaches every process that drives a robot of this name."""
    return f"r{uuid4().hex[:8]}"


@pytest.fixture
def config(tmp_path, name) -> Path:
    """`etc/r.yaml`, whose state folder is `etc/state`; `elsewhere` is another folder."""
    robot = {
        "name": name,
        "family": "cheetah-vel",
        "driver": {"name": "sim", "time_scale": 1.0},
        "state_dir": "state",
        "limits": {
            "observation_age_s": 60.0,
            "loosen": {"observation_age_s": "tests run on machines that are busy"},
        },
    }
    (tmp_path / "etc").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "etc" / "r.yaml").write_text(yaml.safe_dump({"robot": robot}))
    return tmp_path / "etc" / "r.yaml"


@pytest.fixture
def bundle(cheetah_bundle) -> Path:
    return cheetah_bundle(horizon=2000)


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *(one if isinstance(one, bytes) else str(one) for one in arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


@contextlib.contextmanager
def driven(config: Path, bundle: Path, state: Path, *overrides: str, folder: Path) -> Iterator:
    """`fieldtune-robot run` in `folder`, which moves by now."""
    process = subprocess.Popen(
        [*COMMAND, "run", "--config", config, "--bundle", bundle, *overrides],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None:
            with (
                contextlib.suppress(JournalError),
                Journal.read(state / "journal.sqlite") as journal,
            ):
                if any(entry.steps >= 3 for entry in journal.entries()):
                    break
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_stop_from_another_folder_reaches_the_process_that_drives_this_robot(
    config, bundle, tmp_path, name
):
    with driven(config, bundle, tmp_path / "etc" / "state", folder=tmp_path) as process:
        stopped = run(
            "stop", "--config", "../etc/r.yaml", "--wait-s", 60, folder=tmp_path / "elsewhere"
        )
        assert stopped.returncode == 0, stopped.stderr
        assert stopped.stdout.startswith(f"robot {name!r} is stopped, and stays in fault")
        assert process.wait(60) == 3
    assert latched(tmp_path / "etc" / "state" / "fault.txt").startswith("emergency stop by ")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.slow
def test_stop_without_the_setting_that_run_had_reaches_it_by_its_name(
    config, bundle, tmp_path, name
):
    state = tmp_path / "elsewhere" / "mine"
    with driven(
        config, bundle, state, "robot.state_dir=mine", folder=tmp_path / "elsewhere"
    ) as process:
        other = run("stop", "--config", config, "robot.name=another", folder=tmp_path)
        assert (other.returncode, process.poll()) == (4, None)
        assert f"no process drives a robot in {tmp_path / 'etc' / 'state'}\n" in other.stderr
        told = f"process {process.pid} drives {name!r} in {state}, not 'another': it goes on"
        assert told in other.stderr
        cleared = run("rearm", "--config", config, "--yes", "robot.name=another", folder=tmp_path)
        assert cleared.returncode == 0

        where = f"process {process.pid} drives {name!r} in {state}: give robot.state_dir={state}"
        looked = run("monitor", "--config", config, "--once", folder=tmp_path)
        assert (looked.returncode, where in looked.stderr) == (4, True)
        asked = run("rearm", "--config", config, folder=tmp_path)
        assert f"is not in fault in {tmp_path / 'etc' / 'state'}; {where}" in asked.stdout

        stopped = run("stop", "--config", config, "--wait-s", 60, folder=tmp_path)
        assert stopped.returncode == 0, stopped.stderr
        assert f"robot {name!r}, driven in {state}, is stopped" in stopped.stdout
        assert process.wait(60) == 3
    assert latched(state / "fault.txt").startswith("emergency stop by ")


@pytest.mark.slow
def test_stop_reaches_every_process_that_drives_a_robot_of_this_name(config, bundle, tmp_path):
    own, mine = tmp_path / "etc" / "state", tmp_path / "elsewhere" / "mine"
    with (
        driven(config, bundle, own, folder=tmp_path) as first,
        driven(
            config, bundle, mine, "robot.state_dir=mine", folder=tmp_path / "elsewhere"
        ) as second,
    ):
        stopped = run("stop", "--config", config, "--wait-s", 60, folder=tmp_path)
        assert stopped.returncode == 0, stopped.stderr
        assert (first.wait(60), second.wait(60)) == (3, 3)
    assert latched(own / "fault.txt") == latched(mine / "fault.txt")


@pytest.mark.slow
def test_an_end_of_the_process_is_no_word_that_the_robot_holds(config, bundle, tmp_path):
    state = tmp_path / "etc" / "state"
    with driven(config, bundle, state, folder=tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        with subprocess.Popen(
            [*COMMAND, "stop", "--config", config, "--wait-s", "60"],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stderr=subprocess.PIPE,
            text=True,
        ) as stop:
            while latched(state / "fault.txt") is None:
                time.sleep(0.05)
            process.kill()
            told = stop.communicate()[1]
    assert stop.returncode == 1
    assert "has ended without saying that the robot" in told


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: needs root")
def test_where_nothing_can_be_written_the_process_is_told_by_signal(
    config, bundle, tmp_path, mounted
):
    state = tmp_path / "etc" / "state"
    with mounted(state, "-t", "tmpfs", "-o", "nr_inodes=40", "tmpfs"):
        with driven(config, bundle, state, folder=tmp_path) as process:
            (state / ".fault.txt.spare").unlink()
            with contextlib.suppress(OSError):
                for number in range(60):
                    (state / f"{number}").touch()
            stopped = run("stop", "--config", config, folder=tmp_path)
            assert process.wait(60) == 3
        assert stopped.returncode == 1
        assert f"NOT STOPPED: {state}" in stopped.stderr
        assert f"process {process.pid} was told by signal" in stopped.stderr


def test_where_no_process_drives_it_stop_says_so_with_a_status_of_its_own(config, bundle, tmp_path):
    stopped = run("stop", "--config", "etc/r.yaml", folder=tmp_path)
    assert stopped.returncode == 4
    assert "is stopped" not in stopped.stdout
    told = f"error: no process drives a robot in {tmp_path / 'etc' / 'state'}\n"
    assert stopped.stderr.startswith(told)
    begun = run("run", "--config", config, "--bundle", bundle, "--episodes", 1, folder=tmp_path)
    assert (begun.returncode, "emergency stop by" in begun.stderr) == (3, True)


def test_a_stop_that_can_write_nowhere_is_no_stop(config, tmp_path):
    (tmp_path / "file").touch()
    state = f"robot.state_dir={tmp_path / 'file' / 'state'}"
    stopped = run("stop", "--config", config, state, folder=tmp_path)
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert f"error: NOT STOPPED: {tmp_path / 'file' / 'state'}" in stopped.stderr
    assert "use the robot's own button" in stopped.stderr


def test_pipes_in_the_state_folder_block_no_stop(config, tmp_path):
    state = tmp_path / "etc" / "state"
    state.mkdir()
    for name in ("fault.txt", "journal.sqlite.lock", "status.json"):
        os.mkfifo(state / name)
    stopped = run("stop", "--config", config, "--wait-s", 0.1, folder=tmp_path)
    assert stopped.returncode == 4, stopped.stderr
    assert latched(state / "fault.txt").startswith("emergency stop by ")


def test_a_reason_in_bytes_that_are_no_utf_8_is_kept(config, tmp_path):
    stopped = run("stop", "--config", config, "--reason", b"caf\xe9\n", folder=tmp_path)
    assert (stopped.returncode, r"caf\udce9" in stopped.stdout) == (4, True)
    assert latched(tmp_path / "etc" / "state" / "fault.txt").endswith(r": caf\udce9")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_pipe_or_a_link_in_the_place_of_the_latch_stops_and_blocks_nobody(
    config, bundle, tmp_path, kind
):
    state = tmp_path / "etc" / "state"
    latch = state / "fault.txt"
    with driven(config, bundle, state, folder=tmp_path) as process:
        if kind == "pipe":
            os.mkfifo(latch)
        else:
            latch.symlink_to(tmp_path / "nowhere")
        stopped = run("stop", "--config", config, "--wait-s", 60, folder=tmp_path)
        assert stopped.returncode in (0, 4), stopped.stderr  # 4: it had stopped by itself
        assert process.wait(60) == 3
    assert f"a {kind} stands in the place of {latch}" in latched(latch)
    again = ("run", "--config", config, "--bundle", bundle, "--episodes", 1)
    assert run(*again, folder=tmp_path).returncode == 3
    assert run("monitor", "--once", "--config", config, folder=tmp_path).returncode == 3
    assert run("rearm", "--yes", "--config", config, folder=tmp_path).returncode == 0
    assert not latch.exists()
