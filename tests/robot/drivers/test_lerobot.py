"""A LeRobot robot behind the `zmq` driver: LeRobot's own code, in its own environment."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import serve_lerobot  # servers/, on the path by conftest.py

from fieldtune.robot.drivers.driver import DriverFault
from tests.robot.drivers.feetech_servos import STEPS, Servos

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


LOWEST, HIGHEST = 1024, 3000  # steps that the calibration saw
MIDDLE = (LOWEST + HIGHEST) / 2
HALF = (HIGHEST - LOWEST) / 2 * 360 / (STEPS - 1)  # degrees


@pytest.fixture
def servos():
    with Servos(len(JOINTS), lowest=LOWEST, highest=HIGHEST) as found:
        yield found


@pytest.fixture
def so101(tmp_path, settings):
    """Write arm.json of LeRobot's own SO-101 on `servos`, and its calibration file."""

    def write(
        port: str,
        *,
        calibrated: bool = True,
        saw: int = HIGHEST,
        limp: bool = True,
        **changes: object,
    ) -> Path:
        folder = tmp_path / "calibration"
        folder.mkdir(exist_ok=True)
        if calibrated:
            seen = {"drive_mode": 0, "homing_offset": 0, "range_min": LOWEST, "range_max": saw}
            motors = {name: {"id": number, **seen} for number, name in enumerate(JOINTS, 1)}
            (folder / "left.json").write_text(json.dumps(motors))
        fields = {
            f"{joint}.pos": {"unit": "deg", "low": -80, "high": 80, "start": 4.0}
            for joint in JOINTS[:-1]
        }
        fields["gripper.pos"] = {"unit": "%", "low": 0, "high": 100, "start": 50.0}
        robot = {
            "type": "so101_follower",
            "port": port,
            "id": "left",
            "calibration_dir": str(folder),
            "disable_torque_on_disconnect": limp,
        }
        return settings(**{"robot": robot, "fields": fields, "plugins": None} | changes)

    return write


def steps(degrees):
    return np.asarray(degrees) * (STEPS - 1) / 360 + MIDDLE


@needs_lerobot
@pytest.mark.slow
def test_lerobots_own_arm_is_driven_over_its_own_bus_in_its_own_units(servos, serve, so101, driver):
    here = driver(serve(PYTHON, SERVER, so101(servos.port)), lease_s=0.3)
    assert [field.unit for field in here.observation_fields] == ["deg"] * 5 + ["%"]
    here.home(0)
    start = here.read().values
    assert np.abs(start[:5] - 4.0).max() <= 0.5
    assert np.abs(servos.positions[:5] - steps(4.0)).max() <= 0.5 * STEPS / 360 + 1
    asked = start + np.array([10.0, -10.0, 5.0, 0.0, 0.0, 25.0])
    here.apply(asked)
    np.testing.assert_allclose(
        here.read().values, asked, atol=0.1
    )  # behind the command on the line
    assert np.abs(servos.positions[:5] - steps(asked[:5])).max() <= 1
    opened = LOWEST + asked[5] / 100 * (HIGHEST - LOWEST)
    assert abs(servos.positions[5] - opened) <= 1
    here.close()


@needs_lerobot
@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "says", "connected"),
    [
        (
            {"calibrated": False},
            "not calibrated, there is no .*left.json: run `lerobot-cali",
            False,
        ),
        ({"saw": HIGHEST - 5}, "its motors hold another calibration than .*left.json", True),
        ({"saw": HIGHEST - 5, "limp": False}, "--robot.type=so101_follower --robot.id=left", True),
    ],
    ids=["none", "another", "another-that-would-stay-stiff"],
)
def test_an_arm_that_is_not_calibrated_is_refused_and_left_limp(
    so101, servos, changes, says, connected
):
    """LeRobot itself would ask at a terminal, or drive into its stops."""
    before = servos.positions
    done = refused(so101(servos.port, **changes))
    assert re.search(says, done), done
    assert servos.positions == before
    assert dict(servos.torque) == (dict.fromkeys(range(1, 7), False) if connected else {})


@needs_lerobot
@pytest.mark.slow
def test_a_port_that_is_not_there_is_one_sentence(so101, tmp_path):
    said = refused(so101(str(tmp_path / "none")))
    assert re.match("error: robot: LeRobot cannot connect to it: ", said), said


def refused(settings):
    """What the server says that ends with a mistake."""
    done = subprocess.run(
        [PYTHON, SERVER, settings, "--address", "tcp://127.0.0.1:0"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr.strip().splitlines()[-1]


@needs_lerobot
@pytest.mark.slow
def test_a_robot_of_another_package_is_found_by_lerobots_own_discovery(
    serve, settings, driver, tmp_path, monkeypatch
):
    site, here = tmp_path / "site", Path(__file__).parent
    (site / "lerobot_robot_mock-0.1.dist-info").mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: lerobot_robot_mock\nVersion: 0.1\n"
    (site / "lerobot_robot_mock-0.1.dist-info" / "METADATA").write_text(metadata)
    (site / "lerobot_robot_mock.py").write_text((here / "mock_arm.py").read_text())
    monkeypatch.setenv("PYTHONPATH", str(site))
    found = driver(serve(PYTHON, SERVER, settings(plugins=None)), lease_s=0.3)
    assert found.robot == "mock_arm"
    found.close()


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


def on_a_bus(mode, *, calibrated=True):
    """A robot with one motor of that mode."""
    seen = SimpleNamespace(range_min=LOWEST, range_max=HIGHEST)
    bus = SimpleNamespace(
        motors={"a": SimpleNamespace(norm_mode=SimpleNamespace(value=mode), model="sts3215")},
        calibration={"a": seen} if calibrated else {},
        model_resolution_table={"sts3215": STEPS},
    )
    return SimpleNamespace(bus=bus)


@pytest.mark.parametrize(
    ("mode", "field"),
    [
        ("degrees", {"unit": "deg", "low": -86.8, "high": 86.8}),
        ("degrees", {"low": -10, "high": 10}),
        ("range_m100_100", {"unit": "%", "low": -100, "high": 100}),
        ("range_0_100", {"low": 0, "high": 100}),
    ],
)
def test_units_and_bounds_that_lerobot_tells_positions_in_are_taken(mode, field):
    serve_lerobot.check_told({"a.pos": field}, on_a_bus(mode))
    serve_lerobot.check_told({}, on_a_bus(mode))


@pytest.mark.parametrize(
    ("mode", "field", "says"),
    [
        ("range_m100_100", {"unit": "deg"}, "percent of its calibrated range, from -100 to 100"),
        ("range_0_100", {"unit": "rad"}, "from 0 to 100: expected '%'"),
        ("degrees", {"unit": "rad"}, "in degrees: expected 'deg'"),
        ("degrees", {"low": -90, "high": 80}, "its calibration saw -86.9 to 86.9 deg"),
        ("range_0_100", {"low": -1, "high": 100}, "saw 0.0 to 100.0 %"),
        ("range_m100_100", {"low": -100, "high": 180}, "from -100 to 180"),
    ],
)
def test_other_units_and_bounds_are_refused_before_anything_is_connected(mode, field, says):
    with pytest.raises(serve_lerobot.Mistake, match=re.escape(says)):
        serve_lerobot.check_told({"a.pos": field}, on_a_bus(mode))


def test_nothing_is_known_of_what_lerobot_does_not_say():
    turning = {"a.pos": {"unit": "rad", "low": -9, "high": 9}}
    serve_lerobot.check_told(turning, SimpleNamespace())
    serve_lerobot.check_told(turning, SimpleNamespace(bus=SimpleNamespace(motors={"a": None})))
    beyond = {"a.pos": {"unit": "deg", "low": -170, "high": 170}}
    serve_lerobot.check_told(beyond, on_a_bus("degrees", calibrated=False))


def test_pictures_are_no_fields():
    assert serve_lerobot.numbers({"a.pos": float, "front": (480, 640, 3), "n": int}) == [
        "a.pos",
        "n",
    ]
