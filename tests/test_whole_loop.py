"""The demo, tiny: every step from data to report, with the robot as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = Path(__file__).parent.parent / "configs" / "reach.yaml"
TINY = (
    "data.episodes_per_task=4",
    "evaluation.repeats=1",
    "offline.updates=60",
    "self_supervised.updates=60",
    "self_supervised.steps=800",
    "self_supervised.first_steps=200",
    "self_supervised.publish_every=20",
)


WAIT_S = 500


def demo(folder: Path) -> list[str]:
    command = [sys.executable, "-m", "fieldtune.train.launch", "demo", "--config", str(CONFIG)]
    return [*command, "--out", folder.name, "--seed", "3", *TINY]


def robots(folder: Path) -> list[int]:
    """The processes of robots that run by this demo's configuration."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = entry.read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        ours = b"fieldtune.robot.launch" in said and any(b"demo.yaml" in word for word in said)
        if ours and (entry.parent / "cwd").resolve() == folder.parent:
            found.append(int(entry.parent.name))
    return found


def wait_until(condition, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.slow
def test_a_demo_that_is_killed_takes_its_robot_with_it_and_the_same_command_goes_on(
    tmp_path: Path,
) -> None:
    """Killed while the robot explores, ended while it adapts."""
    folder = tmp_path / "demo"
    for number, log in ((signal.SIGKILL, "robot.log"), (signal.SIGTERM, "adapt.log")):
        with (tmp_path / "log").open("w") as output:
            running = subprocess.Popen(demo(folder), cwd=tmp_path, stdout=output, stderr=output)
        try:
            wait_until(
                lambda log=log, running=running: (
                    running.poll() is not None or ((folder / log).exists() and robots(folder))
                ),
                f"no {log}",
            )
            assert running.poll() is None, (tmp_path / "log").read_text()
            running.send_signal(number)
            status = running.wait(WAIT_S)
        finally:
            running.kill()
            running.wait()
        assert status == (-signal.SIGKILL if number == signal.SIGKILL else 130)
        wait_until(lambda: not robots(folder), "a robot outlives its demo")
    assert "the same command again" in (tmp_path / "log").read_text()

    again = subprocess.run(
        demo(folder), cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads((folder / "metrics.json").read_text())["bundles_swapped"] >= 1


@pytest.mark.slow
def test_the_loop_closes_from_labelled_data_to_an_adapted_robot(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        demo(folder),
        cwd=tmp_path,  # a relative folder, as `make demo` has it
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {
        "family",
        "seed",
        "context_episodes",
        "return",
        "success",
        "curves",
        "reward_free_steps",
        "bundles_published",
        "bundles_swapped",
        "wall_seconds",
    }
    assert (metrics["family"], metrics["seed"]) == ("reach", 3)
    assert set(metrics["return"]) == {
        "offline_context",
        "online_before",
        "online_after",
        "oracle",
        "likelihood_before",
        "likelihood_after",
        "likelihood_oracle",
        "first_episode_before",
        "first_episode_after",
        "first_episode_oracle",
        "random",
        "scripted",
    }
    assert all(isinstance(value, float) for value in metrics["return"].values())
    assert set(metrics["success"]) == set(metrics["return"])
    assert all(0 <= value <= 1 for value in metrics["success"].values())
    assert metrics["reward_free_steps"] >= 800
    assert metrics["bundles_published"] >= 4
    assert metrics["bundles_swapped"] >= 1
    assert "<html" in (folder / "report.html").read_text()
    # No shortcut: the robot kept its own journal and got its bundles over the bridge.
    assert (folder / "robot" / "journal.sqlite").exists()
    assert list((folder / "robot" / "bundles").glob("*.bundle"))
    assert list((folder / "inbox").glob("*.episode"))

    written = (folder / "metrics.json").read_bytes()
    again = subprocess.run(
        demo(folder), cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (again.returncode, "finished before" in again.stdout) == (0, True), again.stderr
    assert "6 of 6" not in again.stdout
    assert (folder / "metrics.json").read_bytes() == written
