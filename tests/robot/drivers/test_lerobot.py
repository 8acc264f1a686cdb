"""A LeRobot robot behind the `zmq` driver: LeRobot's own code, in its own environment."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import serve_lerobot  # servers/, on the path by conftest.py

from fieldtune.robot.drivers.driver import DriverFault

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-lerobot" / "bin" / "python"
SERVER = ROOT / "servers" / "serve_lerobot.py"
ONE = {"a.pos": {"low": 0, "high": 1}, "a.vel": {"low": -1, "high": 1}}
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")

needs_lerobot = pytest.mark.skipif(
    not PYTHON.exists(), reason="LeRobot is not installed: `make lerobot` does, about 8 GB"
)


class Mixed:
    """What LeRobot's `Robot` offers, of a robot with a joint, a wheel and a gripper."""

    observation_features = {"a.pos": float, "a.vel": float, "front": (480, 640, 3)}  # noqa: RUF012
    action_features = {"a.pos": float, "a.vel": float, "grip": float}  # noqa: RUF012

    def __init__(self) -> None:
        self.sent = []

    def get_observation(self) -> dict[str, float]:
        return {"a.pos": 0.25, "a.vel": 0.75}

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        self.sent.append(action)
        return action


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Write arm.json; `changes` replace keys, None removes one."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for the plugin
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def write(**changes: object) -> Path:
        fields = {
            f"{joint}.pos": {"unit": "deg", "low": -100, "high": 100, "start": 4.0}
            for joint in JOINTS
        }
        values = {
            "robot": {
                "type": "mock_arm",
                "id": "mock",
                "calibration_dir": str(tmp_path / "calibration"),
                "max_relative_target": 5.0,
            },
            "period_s": 0.02,
            "max_lease_s": 0.4,
            "fields": fields,
            "start_tolerance": 0.5,
            "plugins": ["mock_arm"],
        } | changes
        path = tmp_path / "arm.json"
        path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
        return path

    return write


@pytest.fixture
def arm(serve, settings):
    return serve(PYTHON, SERVER, settings())


@needs_lerobot
@pytest.mark.slow
def test_an_arm_of_lerobot_is_homed_moved_clipped_and_stopped(arm, driver):
    here = driver(arm, lease_s=0.3)
    assert [field.name for field in here.action_fields] == [f"{joint}.pos" for joint in JOINTS]
    assert here.robot == "mock_arm"
    here.home(0)
    start = here.read().values
    assert np.abs(start - 4.0).max() <= 0.5
    assert here.apply(start + 1.0).tolist() == (start + 1.0).tolist()
    moved = here.read()
    assert moved.values.tolist() == (start + 1.0).tolist()
    assert moved.sense_ns <= time.monotonic_ns()
    clipped = here.apply(moved.values + 50.0)  # by max_relative_target, LeRobot's own
    np.testing.assert_allclose(clipped, moved.values + 5.0)
    time.sleep(0.5)
    here.read()
    with pytest.raises(DriverFault, match="the lease ran out while driven"):
        here.apply(start)
    np.testing.assert_allclose(here.read().values, clipped)
    here.close()  # a server that goes before it has said that it holds would be a fault
    arm.process.send_signal(signal.SIGTERM)
    assert arm.process.wait(30) == 0


@needs_lerobot
@pytest.mark.slow
def test_nothing_of_fieldtune_is_in_its_environment():
    script = (
        f"import sys; sys.path.insert(0, {str(SERVER.parent)!r}); import serve_lerobot\n"
        "print(sorted({'robot', 'export', 'sim', 'train', 'fieldtune'} & set(sys.modules)))\n"
        "import lerobot; print(lerobot.__file__)"
    )
    done = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[]\n")
    assert ".venv-lerobot" in done.stdout


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fields": {}}, "fields.a.pos: LeRobot declares no bounds, so a person has to"),
        ({"fields": {"elbow": {}}}, "fields: the robot has no 'elbow'; it has a.pos, a.vel"),
        ({"fields": {"a.pos": {"min": 0}}}, "fields.a.pos: expected an object with high, low"),
        ({"fields": {"a.pos": {"low": 1, "high": 0}}}, "fields.a.pos: LeRobot declares no bounds"),
        ({"fields": ONE | {"a.pos": {"low": 0, "high": 1, "start": 2}}}, "a.pos.start: expected"),
        ({"fields": ONE | {"grip": {"low": 0, "high": 1}}}, "fields.grip: how does it rest?"),
        (
            {"fields": ONE | {"a.pos": {"unit": "deg", "low": -90, "high": 90, "wraps": True}}},
            "fields.a.pos.wraps: from -90 to 90 'deg' is no whole turn",
        ),
        (
            {"fields": ONE | {"a.pos": {"low": 0, "high": 1, "wraps": 3}}},
            "a.pos.wraps: 3: expected",
        ),
        ({"period_s": 0}, "'period_s' is 0: expected a number above 0"),
        ({"period_s": True}, "'period_s' is True"),
        ({"speed": 1}, "unknown key 'speed'; known: robot, period_s"),
        ({"fields": None}, "'fields' is None"),
    ],
)
def test_settings_that_cannot_be_are_explained(settings, changes, says):
    with pytest.raises(serve_lerobot.Mistake, match=re.escape(says)):
        serve_lerobot.check_fields(
            serve_lerobot.read_settings(settings(**changes))["fields"], Mixed()
        )


@pytest.mark.parametrize("content", ["", "[1]", "3", "\x00"])
def test_a_file_that_is_no_settings_is_explained(tmp_path, content):
    (tmp_path / "arm.json").write_text(content)
    with pytest.raises(serve_lerobot.Mistake, match=r"arm\.json"):
        serve_lerobot.read_settings(tmp_path / "arm.json")


def test_holding_keeps_positions_stops_speeds_and_rests_the_others(settings):
    fields = ONE | {"grip": {"low": 0, "high": 1, "rest": 0.5}}
    robot = Mixed()
    read = serve_lerobot.read_settings(settings(fields=fields))
    serve_lerobot.check_fields(read["fields"], robot)
    serve_lerobot.Arm(robot, read).hold()
    assert robot.sent == [{"a.pos": 0.25, "a.vel": 0.0, "grip": 0.5}]


class Turntable(Mixed):
    """One joint that goes where it is sent at once."""

    observation_features = {"a.pos": float}  # noqa: RUF012
    action_features = {"a.pos": float}  # noqa: RUF012
    position = 170.0

    def get_observation(self) -> dict[str, float]:
        return {"a.pos": self.position}

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        self.position = action["a.pos"]
        return super().send_action(action)


@pytest.mark.parametrize(("wraps", "within"), [(True, (170, 190)), (False, (-170, 170))])
def test_homing_takes_the_short_way_round_where_a_joint_wraps(settings, wraps, within):
    field = {"unit": "deg", "low": -180, "high": 180, "start": -170, "wraps": wraps}
    robot = Turntable()
    read = serve_lerobot.read_settings(settings(fields={"a.pos": field}, start_speed=500.0))
    serve_lerobot.check_fields(read["fields"], robot)
    arm = serve_lerobot.Arm(robot, read)
    arm.home(0)
    while not arm.homed():
        time.sleep(0.005)
    sent = [action["a.pos"] for action in robot.sent]
    assert sent[-1] == pytest.approx(-170)
    assert all(-180 <= each <= 180 for each in sent)
    turned = [each % 360 if wraps else each for each in sent]
    assert all(within[0] <= each <= within[1] for each in turned)


def test_pictures_are_no_fields():
    assert serve_lerobot.numbers({"a.pos": float, "front": (480, 640, 3), "n": int}) == [
        "a.pos",
        "n",
    ]
