"""Rewards from real programs: good ones, silent ones, and those that print nonsense or die."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fieldtune.robot.config import RewardsConfig
from fieldtune.robot.programs.adapt import Adaptation
from fieldtune.robot.rewards.command import WAITING_LINES, CommandRewards
from fieldtune.robot.rewards.driver import DriverRewards
from fieldtune.robot.rewards.streams import NoRewards

PYTHON = (sys.executable, "-I", "-S", "-u", "-c")
JUDGE = """
import json, sys
for line in sys.stdin:
    told = json.loads(line)
    if "step" in told:
        reward = -abs(told["next_observation"][0] - 1.0)
        print(json.dumps({"episode": told["episode"], "step": told["step"], "reward": reward}))
"""


@pytest.fixture
def stream():
    opened = []

    def make(script, **settings):
        command = (*PYTHON, script) if isinstance(script, str) else script
        made = CommandRewards(RewardsConfig(command=command, **({"patience_s": 20.0} | settings)))
        made.open()
        opened.append(made)
        return made

    yield make
    for made in opened:
        made.close()


def never():
    return False


def follow(stream, count):
    for _ in range(count):
        stream.follow(np.zeros(2), np.zeros(1), np.ones(2))


def test_a_program_that_is_told_each_transition_adapts_as_the_driver_itself(
    config, mass, point_bundle, tmp_path
):
    bundle, posteriors = point_bundle(), []
    judge = CommandRewards(RewardsConfig(command=(*PYTHON, JUDGE), patience_s=20.0))
    for name, rewards in (("driver", DriverRewards(mass)), ("command", judge)):
        own = config.model_copy(update={"state_dir": tmp_path / name})
        run = Adaptation(own, mass, rewards, bundle=bundle)
        assert [episode.rewarded for episode in run.run()] == [5, 5, 5]
        posteriors.append(run.posterior)
    np.testing.assert_array_equal(posteriors[0].mean, posteriors[1].mean)
    np.testing.assert_array_equal(posteriors[0].variance, posteriors[1].variance)


def test_a_bare_number_is_for_the_transition_under_way(stream):
    made = stream("import sys; sys.stdin.readline(); print(2.5); sys.stdin.read()")
    made.begin(1)
    time.sleep(0.5)
    follow(made, 1)
    assert made.collect(never) == {0: 2.5}


def test_nonsense_is_left_out(stream):
    script = r"""
import sys
sys.stdin.readline()  # what is said before the episode is dropped
for line in ("hello", "NaN", "1e999", "[1]", '{"step": 0}', '{"step": 0, "reward": 1, "x": 2}',
             '"' * 70000, "\x00\xff", '{"step": 1, "reward": 4}', '{"step": 0, "reward": 3}'):
    print(line)
sys.stdin.read()
"""
    made = stream(script)
    made.begin(1)
    follow(made, 2)
    assert made.collect(never) == {0: 3.0, 1: 4.0}
    assert made.error == ""


def test_a_program_that_never_reads_does_not_hold_up_the_loop(stream):
    made = stream("import time; time.sleep(100)", patience_s=0.0)
    made.begin(1)
    values = np.zeros(500)
    for _ in range(3 * WAITING_LINES):  # many times what a pipe holds
        made.follow(values, values, values)
    assert made.collect(never) == {}


def test_a_program_that_ends_is_said_with_its_status(stream):
    made = stream("raise SystemExit(5)")
    made.begin(1)
    follow(made, 1)
    assert made.collect(never) == {}
    assert "ended with status 5" in made.error


def test_a_program_that_ends_stops_the_adaptation(config, mass, point_bundle):
    settings = RewardsConfig(command=(*PYTHON, "raise SystemExit(5)"))
    run = Adaptation(config, mass, CommandRewards(settings), bundle=point_bundle())
    with pytest.raises(NoRewards, match="ended with status 5"):
        list(run.run())
    assert mass.held
    assert run.robot.fault == ""


def test_a_program_that_is_not_there_moves_nothing(config, mass, point_bundle):
    settings = RewardsConfig(command=("no-such-program",))
    run = Adaptation(config, mass, CommandRewards(settings), bundle=point_bundle())
    with pytest.raises(NoRewards, match="no-such-program"):
        list(run.run())
    assert mass.commands == []


def test_without_a_command_it_says_how_to_set_one():
    with pytest.raises(NoRewards, match=r"robot\.rewards\.command=\[python, judge\.py\]"):
        CommandRewards(RewardsConfig())


def test_closing_ends_the_program_and_what_it_started(stream, tmp_path):
    pid = tmp_path / "pid"
    made = stream(("/bin/sh", "-c", f"sleep 1000 & echo $! > {pid}; wait"))
    while not (pid.exists() and pid.read_text().strip()):
        time.sleep(0.01)
    made.close()
    number = int(pid.read_text())
    assert wait_until(lambda: not alive(number))


def alive(number):
    try:
        return "State:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(done, seconds=20):
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    return done()


def test_a_program_runs_in_the_folder_of_the_config_that_names_it(stream, tmp_path):
    (tmp_path / "judge.py").write_text("raise SystemExit(5)")
    made = stream((*PYTHON[:-1], "judge.py"), folder=tmp_path)
    made.begin(1)
    follow(made, 1)
    assert made.collect(never) == {}
    assert "ended with status 5" in made.error  # 2, were it not found
    with pytest.raises(NoRewards, match=r"cannot be started: .*nowhere"):
        stream((*PYTHON[:-1], "judge.py"), folder=tmp_path / "nowhere")
