"""Adapting and acting as a person does it: real processes, a real terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fieldtune.robot.cli.app import app
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.policy.exploration import Draws
from fieldtune.robot.policy.saved_tasks import SavedTasks

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "fieldtune.robot.launch"]


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "x.yaml"
    robot = {
        "name": "c1",
        "family": "cheetah-vel",
        "driver": {"name": "sim", "time_scale": float("inf"), "task": [1.5]},
        "state_dir": str(tmp_path / "state"),
        "rewards": {"keys": {"s": 1.0, "f": -1.0}, "patience_s": 60.0},
        "limits": {
            "observation_age_s": 60.0,
            "late_fraction": 1.0,
            "loosen": dict.fromkeys(
                ("observation_age_s", "late_fraction"), "tests run on machines that are busy"
            ),
        },
    }
    path.write_text(yaml.safe_dump({"robot": robot}), encoding="utf-8")
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def tasks(*arguments: object):
    return CliRunner().invoke(app, ["tasks", *map(str, arguments)])


@pytest.mark.slow
def test_a_robot_restarted_in_the_morning_still_knows_its_task(config, cheetah_bundle, tmp_path):
    """One process learns it and ends; another, given nothing but its name, does it."""
    given, other = cheetah_bundle(), cheetah_bundle(seed=1)
    evening = run("adapt", "--config", config, "--bundle", given, "--save", "fast")
    assert evening.returncode == 0, evening.stderr
    assert "task 'fast' is kept: 20 rewarded transitions" in evening.stdout
    given.unlink()

    morning = run("act", "--config", config, "--task", "fast", "--episodes", 1)
    assert morning.returncode == 0, morning.stderr
    posterior = SavedTasks(tmp_path / "state" / "tasks").read("fast").posterior
    with Journal.read(tmp_path / "state" / "journal.sqlite") as journal:
        episode = journal.episode(4)
        assert [len(journal.rewards(number)) for number in (1, 2, 3, 4)] == [10, 10, 10, 0]
    assert episode.steps[0].z == posterior.sample(Draws(0, 4).z).tolist()

    refused = run("act", "--config", config, "--task", "fast", "--bundle", other)
    assert refused.returncode == 1
    assert "fieldtune-robot tasks recompute fast" in refused.stderr

    assert tasks("recompute", "fast", "--config", config, "--bundle", other).exit_code == 0
    (told,) = json.loads(tasks("list", "--config", config, "--json").stdout)
    assert (told["task"], told["rewarded"], told["episodes"]) == ("fast", 20, [1, 2])
    again = run("act", "--config", config, "--task", "fast", "--episodes", 1)
    assert again.returncode == 0, again.stderr

    assert tasks("remove", "fast", "--config", config).exit_code == 0
    assert tasks("show", "fast", "--config", config).exit_code == 1


PARTICLES = ((0.1, 0.2), (-1.0, 2.0), (3.0, -1.0))


@pytest.mark.slow
def test_a_task_unlike_any_trained_on_is_said_wherever_a_person_looks(
    config, cheetah_bundle, tmp_path
):
    """No log-likelihood is as high as what this bundle says of its own tasks."""
    known = {"particles": PARTICLES, "reward_variance": 1.0, "unlike_below": 100.0}
    given, summary = cheetah_bundle(likelihood=known), tmp_path / "summary.json"
    options = ("--config", config, "--bundle", given, "--save", "odd", "--summary", summary)
    done = run("adapt", *options)
    assert done.returncode == 0, done.stderr
    assert "warning: this task is unlike any that the bundle was trained on" in done.stderr
    assert "of 3 particles still count" in done.stdout
    found = json.loads(summary.read_text())["inference"]
    assert (found["unlike"], found["particles"], found["unlike_below"]) == (True, 3, 100.0)
    assert 1.0 <= found["effective_particles"] < 3.0

    listed = tasks("list", "--config", config)
    assert "task 'odd': this task is unlike any" in listed.stderr
    assert f"{found['effective_particles']:.1f} of 3" in listed.stdout
    (told,) = json.loads(tasks("list", "--config", config, "--json").stdout)
    assert {key: told[key] for key in found} == found
    assert tuple(told["likeliest"]) in PARTICLES
    shown = tasks("show", "odd", "--config", config).stdout
    assert "unlike" in shown

    acted = run("act", "--config", config, "--task", "odd", "--episodes", 1)
    assert "task odd: this task is unlike any" in acted.stderr
    with Journal.read(tmp_path / "state" / "journal.sqlite") as journal:
        assert {tuple(step.z) for step in journal.episode(4).steps} == {tuple(told["likeliest"])}


class Terminal:
    """A process on a terminal of its own: what it prints, its keyboard, and its settings."""

    def __init__(self, *arguments: object) -> None:
        pid, self.screen = pty.fork()
        if pid == 0:
            os.chdir(ROOT)
            os.execv(sys.executable, [*COMMAND, *map(str, arguments)])
        self.pid, self.text = pid, ""

    def wait_for(self, text: str) -> None:
        """Read on until `text` has come; what comes after it is for the next call."""
        while text not in self.text:
            self.text += os.read(self.screen, 65536).decode(errors="replace")
        self.text = self.text.partition(text)[2]

    def press(self, keys: str) -> None:
        os.write(self.screen, keys.encode())

    def settings(self) -> list:
        return termios.tcgetattr(self.screen)

    def end(self) -> int:
        """Read to the end; return the exit status."""
        while True:
            try:
                if not os.read(self.screen, 65536):
                    break
            except OSError:  # Linux's word for the end
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.slow
def test_a_persons_keys_are_the_rewards_and_the_terminal_comes_back(
    config, cheetah_bundle, tmp_path
):
    terminal = Terminal(
        "adapt", "--config", config, "--bundle", cheetah_bundle(), "--rewards", "keys"
    )
    before = terminal.settings()
    terminal.wait_for("rewards by key: 'f' is -1, 's' is 1")
    while terminal.settings() == before:
        time.sleep(0.01)
    for key in ("s", "xf", "s"):  # x means nothing
        terminal.wait_for("horizon after 10 steps")
        after = terminal.settings()
        terminal.press(key)
        terminal.wait_for("steps rewarded by keys")
    assert not after[3] & (termios.ICANON | termios.ECHO)
    assert after[3] & termios.ISIG
    stopping = (termios.VSUSP, termios.VQUIT, termios.VSTOP)
    assert {after[6][place] for place in stopping} == {b"\0"}
    terminal.wait_for("disarmed")
    while terminal.settings() != before:
        time.sleep(0.01)
    assert terminal.end() == 0
    with Journal.read(tmp_path / "state" / "journal.sqlite") as journal:
        rewards = [journal.rewards(number) for number in (1, 2, 3)]
    assert rewards == [{9: 1.0}, {9: -1.0}, {9: 1.0}]


@pytest.mark.slow
def test_a_persons_keys_change_z_while_the_robot_moves(config, cheetah_bundle, tmp_path):
    """In real time: she presses once, and what follows is acted on otherwise."""
    terminal = Terminal(
        *(
            "adapt",
            "--config",
            config,
            "--bundle",
            cheetah_bundle(horizon=60),
            "--continuous",
        ),
        *("--rewards", "keys", "--summary", tmp_path / "summary.json", "--save", "fast"),
        *("robot.driver.time_scale=1.0", "robot.rewards.sticky=true"),
        "robot.rewards.patience_s=0",
    )
    terminal.wait_for("episode 1, z from")
    time.sleep(0.5)
    terminal.press("s")
    terminal.wait_for("rewarded steps, deviations of z up to")  # while it moves, or at the end
    assert terminal.end() == 0
    with Journal.read(tmp_path / "state" / "journal.sqlite") as journal:
        steps, rewards = journal.episode(1).steps, journal.rewards(1)
    first = min(rewards)
    assert 0 < first < 50
    assert rewards == dict.fromkeys(range(first, 60), 1.0)
    assert {tuple(step.z) for step in steps[: first + 1]} == {(0.0, 0.0)}
    assert len({tuple(step.z) for step in steps[first + 1 :]}) > 5
    told = json.loads((tmp_path / "summary.json").read_text())["within_episode"]
    assert told["every"] == 1
    assert told["trouble"] == ""
    assert 0 <= told["lag_steps"]["median"] <= told["lag_steps"]["max"] < 60
    kept = SavedTasks(tmp_path / "state" / "tasks").read("fast")
    assert (kept.transitions, kept.posterior.mean.tolist()) == (len(rewards), told["z"])


JUDGE = """import json, sys
for line in sys.stdin:
    told = json.loads(line)
    if "step" in told:
        print(json.dumps({"episode": told["episode"], "step": told["step"], "reward": -1.0}))
        sys.stdout.flush()
"""


@pytest.mark.slow
def test_a_program_judges_while_the_robot_moves(config, cheetah_bundle, tmp_path):
    (tmp_path / "judge.py").write_text(JUDGE)
    done = run(
        *(
            "adapt",
            "--config",
            config,
            "--bundle",
            cheetah_bundle(horizon=30),
            "--continuous",
        ),
        *("--rewards", "command", "robot.driver.time_scale=1.0", "robot.adaptation.every=2"),
        f"robot.rewards.command=[{sys.executable}, {tmp_path / 'judge.py'}]",
    )
    assert done.returncode == 0, done.stderr
    with Journal.read(tmp_path / "state" / "journal.sqlite") as journal:
        z = [tuple(step.z) for step in journal.episode(1).steps]
        assert journal.rewards(1) == dict.fromkeys(range(30), -1.0)
    assert z[::2] == z[1::2]
    assert len(set(z)) > 3


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "twice", "terminate"])
def test_the_terminal_comes_back_however_it_ends(config, cheetah_bundle, how):
    terminal = Terminal(
        *("adapt", "--config", config, "--bundle", cheetah_bundle(), "--rewards", "keys"),
        "robot.driver.time_scale=1.0",
    )
    before = terminal.settings()
    terminal.wait_for("episode 1, z from")
    while terminal.settings() == before:
        time.sleep(0.01)
    if how == "terminate":
        os.kill(terminal.pid, signal.SIGTERM)
    else:
        terminal.press("\x03" if how == "ctrl-c" else "\x03\x03")
    while terminal.settings() != before:
        time.sleep(0.01)
    status = terminal.end()  # not 0: nothing was learned that a next command could use
    assert status in {130, -signal.SIGINT} if how == "twice" else status == 130


@pytest.mark.slow
def test_a_task_whose_only_context_episode_was_stopped_is_not_there_for_the_next_command(
    config, cheetah_bundle
):
    terminal = Terminal(
        *("adapt", "--config", config, "--bundle", cheetah_bundle(), "--rewards", "keys"),
        *("--context-episodes", "1", "--episodes", "0", "--save", "cut-short"),
        "robot.driver.time_scale=1.0",
    )
    terminal.wait_for("episode 1, z from")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end() == 130
    assert run("tasks", "show", "cut-short", "--config", config).returncode == 1


@pytest.mark.slow
def test_a_terminal_that_goes_away_ends_the_episode_safely(config, cheetah_bundle, tmp_path):
    """As when an ssh connection is lost: the robot is brought to rest, and that is recorded."""
    terminal = Terminal(
        *("adapt", "--config", config, "--bundle", cheetah_bundle(), "--rewards", "keys"),
        "robot.driver.time_scale=1.0",
    )
    terminal.wait_for("episode 1, z from")
    os.close(terminal.screen)
    os.waitpid(terminal.pid, 0)
    with Journal.read(tmp_path / "state" / "journal.sqlite") as journal:
        *_, last = journal.entries()
    assert last.footer.end_reason in (EndReason.STOPPED, EndReason.HORIZON)


def test_keys_without_a_terminal_are_refused_before_anything_moves(
    config, cheetah_bundle, tmp_path
):
    done = run("adapt", "--config", config, "--bundle", cheetah_bundle(), "--rewards", "keys")
    assert done.returncode == 1
    assert "standard input is no terminal" in done.stderr
    with Journal.read(tmp_path / "state" / "journal.sqlite") as journal:
        assert journal.entries() == []


def test_check_prints_limits_and_the_observation_and_moves_nothing(
    config, cheetah_bundle, tmp_path
):
    given = cheetah_bundle()
    dry = CliRunner().invoke(app, ["check", "--config", str(config), "--bundle", str(given)])
    assert dry.exit_code == 0, dry.output
    assert "limit action joint_torque[0] in [-1, 1]" in dry.output
    assert "fits robot 'c1': cheetah-vel, 20 Hz, 10 steps an episode" in dry.output
    wet = run("check", "--config", config, "--bundle", given, "--connect")
    assert wet.returncode == 0, wet.stderr
    assert "observation root_velocity: " in wet.stdout
    assert not (tmp_path / "state" / "journal.sqlite").exists()


def test_a_task_that_could_not_be_kept_is_said_before_anything_moves(
    config, cheetah_bundle, tmp_path
):
    given = cheetah_bundle()
    state = tmp_path / "state"
    (state / "tasks").mkdir(parents=True)
    (state / "tasks" / "left.json").symlink_to(tmp_path / "stick" / "left.json")
    done = run("adapt", "--config", config, "--bundle", given, "--save", "left")
    assert done.returncode == 1, done.stderr
    assert f"{state / 'tasks' / 'left.json'}: is a link to" in done.stderr
    assert not (state / "journal.sqlite").exists()


def test_keys_without_a_meaning_are_refused(config, cheetah_bundle):
    done = run(
        *("adapt", "--config", config, "--bundle", cheetah_bundle(), "--rewards", "keys"),
        "robot.rewards.keys={}",
    )
    assert done.returncode == 1
    assert "say what each key is worth" in done.stderr
