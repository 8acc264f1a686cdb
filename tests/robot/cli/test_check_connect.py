"""`fieldtune-robot check --connect`: real processes, with drivers of other people's packages."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fieldtune.robot.safety.latch import latch

ROOT = Path(__file__).parents[3]

ARM = """
import time
import numpy as np
from pydantic import BaseModel
from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import Observation


class Options(BaseModel):
    trouble: str = ""


class Arm:
    Options = Options
    robot, period_s, time_scale = "arm", 0.005, 1.0
    observation_fields = (FieldSpec(name="angle", unit="rad", low=(-3.2,), high=(3.2,)),)
    action_fields = (FieldSpec(name="target", unit="rad", low=(-3.0,), high=(3.0,)),)

    def __init__(self, family, options):
        self._trouble, self._angle = options.trouble, 0.5

    def connect(self):
        if self._trouble == "connect":
            raise OSError("/dev/arm: no such device")

    def home(self, seed):
        print("homing", flush=True)
        self._angle = 1.0
        if self._trouble == "home":
            raise RuntimeError("joint 3 does not move")

    def read(self):
        values = np.array([self._angle + 1e-6 * np.random.standard_normal()])
        if self._trouble == "drift":
            self._angle += 0.01
        if self._trouble == "list":
            values = values.tolist()
        return Observation(values, time.monotonic_ns())

    def apply(self, action):
        print("target", action[0], flush=True)
        return {"nan": action * np.nan, "huge": action + 1e30}.get(self._trouble, action)

    def hold(self):
        print("holding", flush=True)
        if self._trouble == "hold":
            raise OSError("the bus is busy")

    def close(self):
        self.hold()


class NoHold(Arm):
    hold = None
"""
JOINTS = {"names": ["a"], "position": "angle", "command": "target", "command_kind": "position"}


@pytest.fixture
def arm(tmp_path):
    """A config for the arm, as `pip install` of its package leaves it."""
    (tmp_path / "their_arm.py").write_text(ARM)
    metadata = tmp_path / "their_arm-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-arm\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[fieldtune.drivers]\narm = their_arm:Arm\nnohold = their_arm:NoHold\n"
    )

    def make(joints: bool = True, **driver: object) -> Path:
        limits = {
            "joints": [JOINTS] if joints else [],
            "observation_age_s": 5.0,
            "loosen": {"observation_age_s": "tests run on machines that are busy"},
        }
        robot = {
            "name": "a1",
            "family": "any",
            "driver": {"name": "arm"} | driver,
            "state_dir": str(tmp_path / "state"),
            "limits": limits,
        }
        path = tmp_path / "x.yaml"
        path.write_text(yaml.safe_dump({"robot": robot}))
        return path

    return make


def check(config: Path, *arguments: str, **given) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fieldtune.robot.launch", "check", "--config", config, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(config.parent)},
        capture_output=True,
        text=True,
        check=False,
        **({"stdin": subprocess.DEVNULL} | given),
    )


def test_a_driver_is_tried_without_any_bundle(arm, tmp_path):
    done = check(arm(), "--connect", "--yes")
    # A busy machine may make it too slow, and nothing else may be wrong.
    assert done.returncode == 0 or "cannot keep its period" in done.stderr, done.stderr
    assert "limit action target in [-3, 3]" in done.stdout
    assert "held still  100 cycles, after 20 readings at rest" in done.stdout
    assert "driver      driver 'arm' (their_arm.Arm), robot 'arm'" in done.stdout
    said = [line.split() for line in done.stdout.splitlines()]
    targets = {float(words[1]) for words in said if words[:1] == ["target"]}
    assert len(targets) == 1
    assert targets.pop() == pytest.approx(1.0, abs=1e-4)
    assert done.stdout.count("homing") == 1
    assert not (tmp_path / "state" / "journal.sqlite").exists()


def test_nothing_moves_until_somebody_has_agreed(arm):
    done = check(arm(), "--connect")
    assert done.returncode == 1
    assert "it was looked at and no more, since homing moves the robot: say --yes" in done.stderr
    assert "angle" in done.stdout
    assert not any(line.startswith(("homing", "target")) for line in done.stdout.splitlines())


def test_a_person_at_a_terminal_is_asked(arm):
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, b"n\n")
        done = check(arm(), "--connect", stdin=terminal)
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert "Homing moves robot 'a1'. Is its way clear" in done.stderr
    assert done.returncode == 1
    assert "homing\n" not in done.stdout


def test_an_action_that_nobody_has_explained_is_not_sent_unless_a_person_says_it(arm):
    done = check(arm(joints=False), "--connect", "--yes")
    assert "note: apply was not tried: nothing says which target leaves the robot" in done.stdout
    assert "\ntarget" not in done.stdout
    assert "nothing is wrong, but apply was not tried" in done.stdout
    done = check(arm(joints=False), "--connect", "--yes", "--still", "target=1.0")
    assert "commanded   1\n" in done.stdout
    assert done.stdout.count("target 1.0") == 100


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        ({"trouble": "connect"}, ").connect raised OSError: /dev/arm: no such device"),
        ({"trouble": "list"}, ").read gave values as a list, expected a numpy array of 1"),
        ({"trouble": "home"}, "start: driver 'arm' (their_arm.Arm).home raised RuntimeError"),
        ({"trouble": "drift"}, "holding it still: it did not stay where it was: angle was 1.0"),
        ({"trouble": "nan"}, "holding it still: the driver says that it applied [nan], expected"),
        ({"trouble": "huge"}, "holding it still: the driver says that it applied [1.e+30]"),
        ({"name": "nohold"}, "driver 'nohold' (their_arm.NoHold) has no method hold"),
    ],
)
def test_a_driver_that_is_wrong_is_a_sentence_and_status_1(arm, driver, says):
    done = check(arm(**driver), "--connect", "--yes")
    assert done.returncode == 1
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert says in sentence
    assert "nothing is wrong" not in done.stdout


def test_a_driver_that_cannot_hold_leaves_the_robot_in_fault(arm, tmp_path):
    done = check(arm(trouble="hold"), "--connect", "--yes")
    assert done.returncode == 3
    assert ").hold raised OSError: the bus is busy" in done.stderr
    assert "the robot may still move" in (tmp_path / "state" / "fault.txt").read_text()


def test_a_robot_in_fault_is_looked_at_and_not_moved(arm, tmp_path):
    latch(tmp_path / "state" / "fault.txt", "it hums")
    done = check(arm(), "--connect", "--yes")
    assert done.returncode == 3
    assert "it hums: look at the robot, then re-arm it" in done.stderr
    assert "homing\n" not in done.stdout
    assert "after 20 readings at rest" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--still", "aim=1"), "--still aim: no such action field; known: target"),
        (("--still", "target"), "--still is 'target': expected FIELD=NUMBER"),
        (("robot.limits.box={x: {low: [0], high: [1]}}",), "unknown observation field 'x'"),
    ],
)
def test_a_mistake_of_the_person_is_said_before_anything_is_connected(arm, arguments, says):
    done = check(arm(), "--connect", "--yes", *arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert "holding" not in done.stdout


@pytest.fixture
def simulated(tmp_path) -> Path:
    robot = {
        "name": "c1",
        "family": "cheetah-vel",
        "driver": {"name": "sim", "time_scale": float("inf")},
        "state_dir": str(tmp_path / "state"),
    }
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({"robot": robot}))
    return path


def test_the_simulated_robot_passes_unasked_and_tells_programs(simulated):
    done = check(simulated, "--connect", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["cycles"], found["wrong"], found["reuses"]) == (100, [], [])
    assert found["commanded"] == [0.0] * 6
    assert found["differs"] == 0.0
    assert {one["name"] for one in found["observation"]} >= {"root_height", "joint_position[5]"}


def test_injected_faults_are_found(simulated):
    done = check(simulated, "--connect", "robot.driver.faults={nan: 1.0, after: 50}")
    assert done.returncode == 1
    assert "error: holding it still: observation " in done.stderr
    assert "held still  51 cycles" in done.stdout


def test_what_belongs_to_a_trial_is_refused_elsewhere(simulated):
    done = check(simulated, "--json")
    assert done.returncode != 0
    assert "go with --connect" in done.stderr
