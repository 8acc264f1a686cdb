"""The command: a real process with the simulated cheetah, signals, exit codes and messages."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from fieldtune.robot.episodes.episode import EndReason, Mode
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import EntryState, Journal, JournalError
from fieldtune.train.bridge.hub import Hub

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "fieldtune.robot.launch"]


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "x.yaml"
    robot = {
        "name": "commanded",  # by no other file's tests: `stop` finds a robot by its name
        "family": "cheetah-vel",
        "driver": {"name": "sim", "time_scale": float("inf")},
        "state_dir": str(tmp_path / "state"),
        "limits": {
            "observation_age_s": 60.0,
            "late_fraction": 1.0,
            "loosen": dict.fromkeys(
                ("observation_age_s", "late_fraction"), "tests run on machines that are busy"
            ),
        },
    }
    path.write_text(yaml.safe_dump({"robot": robot, "train": {"anything": 1}}), encoding="utf-8")
    return path


@pytest.fixture
def bundle(cheetah_bundle) -> Path:
    return cheetah_bundle(horizon=20)


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def wait_for_steps(process: subprocess.Popen[str], journal: Path, count: int) -> None:
    while process.poll() is None:
        # Not there yet, or just being made.
        with contextlib.suppress(JournalError), Journal.read(journal) as open_journal:
            if any(entry.steps >= count for entry in open_journal.entries()):
                return
        time.sleep(0.02)


def test_a_run_explores_and_tells_what_came_of_it(config, bundle, tmp_path):
    summary = tmp_path / "out" / "summary.json"
    done = run("run", "--config", config, "--bundle", bundle, "--episodes", 3, "--summary", summary)
    assert done.returncode == 0, done.stderr
    told = json.loads(summary.read_text())
    assert (told["episodes"], told["steps"], told["complete"]) == (3, 60, True)
    assert "limit action joint_torque[0] in [-1, 1]" in done.stderr
    assert "running -> hold: horizon after 20 steps" in done.stderr
    with Journal.read(tmp_path / "state" / "journal.sqlite") as journal:
        modes = [journal.episode(entry.number).header.mode for entry in journal.entries()]
    assert modes == [Mode.PRIOR, Mode.PRIOR, Mode.POSTERIOR]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_safely(config, bundle, tmp_path, number):
    process = start("run", "--config", config, "--bundle", bundle, "robot.driver.time_scale=1.0")
    journal = tmp_path / "state" / "journal.sqlite"
    wait_for_steps(process, journal, 3)
    process.send_signal(number)
    _, text = process.communicate()
    assert process.returncode == 0, text
    assert signal.Signals(number).name in text
    with Journal.read(journal) as open_journal:
        *_, last = open_journal.entries()
    assert last.footer.end_reason in (EndReason.STOPPED, EndReason.HORIZON)
    assert last.footer.steps == last.steps


def test_a_signal_ends_a_run_that_waits_for_a_bundles_trial(config, endless_bundle):
    """A loop without an end, hidden in a bundle, once hung the process itself: only kill -9 did."""
    process = start("run", "--config", config)
    while "connected: half-cheetah" not in (line := process.stderr.readline()):
        assert line, "it ended by itself"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "end: SIGTERM" in said
    assert "refused" not in said, "it did not wait for the verdict"
    assert endless_bundle.exists()


def test_a_killed_run_is_closed_by_the_next(config, bundle, tmp_path):
    process = start("run", "--config", config, "--bundle", bundle, "robot.driver.time_scale=1.0")
    journal = tmp_path / "state" / "journal.sqlite"
    wait_for_steps(process, journal, 3)
    process.kill()
    process.communicate()
    assert run("run", "--config", config, "--bundle", bundle, "--episodes", 1).returncode == 0
    with Journal.read(journal) as open_journal:
        entries = open_journal.entries()
        assert find_problems(open_journal) == []
    assert entries[-2].footer.end_reason is EndReason.INTERRUPTED
    assert entries[-1].footer.end_reason is EndReason.HORIZON
    assert all(entry.state is EntryState.PENDING for entry in entries)


def test_check_names_a_wrong_driver_before_a_bundle_that_is_not_there(config):
    wrong = run("check", "--config", config, "robot.driver.name=sm")
    assert (wrong.returncode, "no such driver; did you mean 'sim'?" in wrong.stderr) == (1, True)
    without = run("check", "--config", config)
    assert "`check --connect` tries the robot without any" in without.stderr


def test_a_fault_has_its_own_exit_status_and_needs_rearming(config, bundle, tmp_path):
    arguments = ("run", "--config", config, "--bundle", bundle, "--episodes", 9)
    first = run(*arguments, "robot.limits.box={root_velocity: {low: [-9, -0.4], high: [9, 0.4]}}")
    assert first.returncode == 3, first.stderr
    assert "running -> fault: observation root_velocity[1] is" in first.stderr
    again = run(*arguments)
    assert again.returncode == 3
    assert "look at the robot, then re-arm it" in again.stderr
    unasked = run("rearm", "--config", config)
    assert (unasked.returncode, "look at the robot, then say --yes" in unasked.stderr) == (1, True)
    assert run("run", "--config", config, "--bundle", bundle, "--episodes", 1).returncode == 3
    assert run("rearm", "--config", config, "--yes").returncode == 0
    assert "not in fault" in run("rearm", "--config", config).stdout
    known = [json.loads(line) for line in (tmp_path / "state" / "faults.jsonl").open()]
    assert ["observation root_velocity[1] is" in fault["reason"] for fault in known] == [True]
    assert known[0]["faulted"] <= known[0]["rearmed"]
    assert run("run", "--config", config, "--bundle", bundle, "--episodes", 1).returncode == 0


@pytest.mark.slow
def test_stop_holds_the_robot_of_another_process_and_latches(config, bundle, tmp_path):
    process = start("run", "--config", config, "--bundle", bundle, "robot.driver.time_scale=1.0")
    wait_for_steps(process, tmp_path / "state" / "journal.sqlite", 3)
    stopped = run("stop", "--config", config, "--reason", "it hums", "--wait-s", 60)
    assert stopped.returncode == 0, stopped.stderr
    assert "is stopped, and stays in fault" in stopped.stdout
    _, text = process.communicate()
    assert process.returncode == 3, text
    assert "it hums" in text
    with Journal.read(tmp_path / "state" / "journal.sqlite") as journal:
        *_, last = journal.entries()
    assert last.footer.end_reason in (EndReason.FAULT, EndReason.HORIZON)
    again = run("run", "--config", config, "--bundle", bundle, "--episodes", 1)
    assert (again.returncode, "it hums: look at the robot" in again.stderr) == (3, True)
    assert run("rearm", "--config", config, "--yes").returncode == 0
    assert run("run", "--config", config, "--bundle", bundle, "--episodes", 1).returncode == 0


@pytest.mark.slow
def test_stop_says_so_when_the_process_that_drives_does_not_answer(config, bundle, tmp_path):
    process = start("run", "--config", config, "--bundle", bundle, "robot.driver.time_scale=1.0")
    try:
        wait_for_steps(process, tmp_path / "state" / "journal.sqlite", 3)
        process.send_signal(signal.SIGSTOP)
        stopped = run("stop", "--config", config, "--wait-s", 0.5)
        assert stopped.returncode == 1
        assert f"process {process.pid} has not said" in stopped.stderr
        assert "use the robot's own button" in stopped.stderr
    finally:
        process.kill()
        process.communicate()


def test_stop_latches_a_robot_that_nobody_drives_and_says_so(config, bundle, tmp_path):
    other = f"robot.name={uuid4().hex}"  # `config`'s may be driven by another test
    stopped = run("stop", "--config", config, other)
    assert stopped.returncode == 4
    assert stopped.stderr.startswith(f"error: no process drives a robot in {tmp_path / 'state'}\n")
    again = run("run", "--config", config, "--bundle", bundle, "--episodes", 1)
    assert (again.returncode, "emergency stop by" in again.stderr) == (3, True)


def test_sigusr1_is_an_emergency_stop(config, bundle, tmp_path):
    summary = tmp_path / "summary.json"
    process = start(
        "run", "--config", config, "--bundle", bundle, "--summary", summary,
        "robot.driver.time_scale=1.0",
    )  # fmt: skip
    wait_for_steps(process, tmp_path / "state" / "journal.sqlite", 3)
    process.send_signal(signal.SIGUSR1)
    _, text = process.communicate()
    assert process.returncode == 3, text
    assert "emergency stop by signal SIGUSR1" in (tmp_path / "state" / "fault.txt").read_text()
    told = json.loads(summary.read_text())
    assert told["fault"] == "emergency stop by signal SIGUSR1"
    assert told["cycles"]["jitter_us"]["p99"] > 0


def test_adapt_prints_a_return_an_episode(config, bundle, tmp_path):
    summary = tmp_path / "summary.json"
    done = run(
        "adapt", "--config", config, "--bundle", bundle, "--summary", summary,
        "robot.driver.task=[1.5]",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    returns = json.loads(summary.read_text())["returns"]
    assert (len(returns["context"]), len(returns["adapted"])) == (2, 1)
    assert f"{returns['adapted'][0]:.2f}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["robot.explor=3"], "unknown key 'robot.explor': did you mean 'robot.exploration'?"),
        (["robot.seed=many"], "'robot.seed' is 'many': expected a valid integer"),
        (["--bundle", "none.bundle"], "none.bundle: cannot be read"),
        ([], "no bundle that this robot can run in"),
        (["robot.bridge=tcp://10.1.2.3:5"], "CURVE keys are required"),
    ],
)
def test_a_mistake_is_one_clear_line_and_nothing_is_written(config, tmp_path, arguments, says):
    done = run("run", "--config", config, *arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "state").exists()


def test_a_missing_config_is_named(tmp_path):
    done = run("run", "--config", tmp_path / "none.yaml")
    assert (done.returncode, "none.yaml: no such file" in done.stderr) == (1, True)


def test_help_shows_examples():
    done = run("--help")
    assert done.returncode == 0
    assert "fieldtune-robot run --config" in done.stdout


def test_without_a_driver_no_simulator_and_no_torch_is_imported():
    code = (
        "import sys, fieldtune.robot.programs.explore, fieldtune.robot.programs.adapt\n"
        "import fieldtune.robot.programs.record\n"
        "import fieldtune.robot.cli.app, fieldtune.robot.launch, fieldtune.robot.drivers.sim\n"
        "loaded = {name.removeprefix('fieldtune.').partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'torch', 'mujoco', 'robosuite', 'gymnasium', 'numba'"
        ", 'sim', 'train'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_help_does_not_wait_for_what_checks_settings():
    code = (
        "import sys; sys.argv = ['fieldtune-robot', '--help']\n"
        "from fieldtune.robot.launch import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'pydantic', 'numpy', 'zmq'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("[]")


def test_the_launcher_sets_one_thread_whatever_was_inherited():
    code = (
        "import os, sys; sys.argv = ['fieldtune-robot', '--help']\n"
        "from fieldtune.robot.launch import ONE_THREAD, main\n"
        "try: main()\n"
        "except SystemExit: print({os.environ[name] for name in ONE_THREAD})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith("{'1'}")


def _delete(journal):
    for file in journal.parent.glob("journal.sqlite*"):
        file.unlink()


def _move(journal):
    journal.rename(journal.with_name("taken.sqlite"))


def _cut_off(journal):
    os.truncate(journal, 4_096)


@pytest.mark.slow
@pytest.mark.parametrize("harm", [_delete, _move, _cut_off])
def test_a_run_whose_journal_is_deleted_moved_or_cut_off_ends_at_rest_and_says_so(
    config, bundle, tmp_path, harm
):
    journal, summary = tmp_path / "state" / "journal.sqlite", tmp_path / "summary.json"
    with Hub("tcp://127.0.0.1:*", tmp_path / "inbox") as hub:
        process = start(
            *("run", "--config", config, "--bundle", bundle, "--summary", summary),
            *("robot.driver.time_scale=1.0", f"robot.bridge={hub.address}"),
        )
        wait_for_steps(process, journal, 3)
        harm(journal)
        _, text = process.communicate()
    assert process.returncode == 3, text
    assert "Traceback" not in text
    assert "running -> hold" in text
    assert "while the journal was recorded into" in json.loads(summary.read_text())["fault"]
    assert "all that was recorded is" in text or "what could be saved is in" in text
    if harm is not _cut_off:
        (saved,) = [file for file in journal.parent.glob("*.sqlite") if file != journal]
        with Journal.read(saved) as found:
            assert find_problems(found) == []
            assert found.entries()[-1].footer is not None
