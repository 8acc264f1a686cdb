"""What ros2_control's onnx_policy_controller would command is what the bundle's policy asks for."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import yaml
from typer.testing import CliRunner

from fieldtune.export.bundle import Bundle, pack_bundle, read_bundle
from fieldtune.export.convert import ConversionError
from fieldtune.export.manifest import FieldSpec
from fieldtune.export.ros2_control import Wiring, width, write_ros2_control
from fieldtune.robot.policy.policy import Policy
from fieldtune.train.cli.bundle import app

POSE = (0.1, -0.3)
WIRING = {
    "joints": ["hip", "knee"],
    "observation": {"gyro": "gyro", "angle": "position"},
    "default_joint_positions": list(POSE),
    "max_motor_velocity": 2.0,
    "z": [0.1, 0.2, 0.3],
}


@pytest.fixture
def legged(bundle_path) -> Bundle:
    """The good bundle, as if of two joints that are told where to be."""

    def field(name: str, unit: str, count: int) -> FieldSpec:
        return FieldSpec(name=name, unit=unit, low=(-1.5,) * count, high=(1.0,) * count)

    good = read_bundle(bundle_path)
    manifest = good.manifest.model_copy(
        update={
            "observation_fields": (field("gyro", "rad/s", 3), field("angle", "rad", 2)),
            "action_fields": (field("target", "rad", 2),),
            "period_s": 0.02,
        }
    )
    return Bundle(good.id, manifest, good.graphs)


def as_the_controller_formats(gyro, angles, rng) -> np.ndarray:
    """observation_formatter.cpp of ros2_control_demos; what the policy does not see is noise."""
    joints = len(angles)
    noise = rng.normal(size=width(joints))
    noise[:3] = gyro
    noise[13 : 13 + joints] = angles - np.array(POSE)
    return noise.astype(np.float32)[None]


def test_the_commands_are_the_policys(legged, tmp_path):
    path, wiring, out = tmp_path / "legged.bundle", tmp_path / "wiring.yaml", tmp_path / "ros2"
    path.write_bytes(pack_bundle(legged.manifest, legged.graphs))
    wiring.write_text(yaml.safe_dump(WIRING))
    words = ["convert", str(path), "--to", "ros2-control", "--out", str(out)]
    done = CliRunner().invoke(app, [*words, "--wiring", str(wiring)])
    assert done.exit_code == 0, done.output

    session = onnxruntime.InferenceSession(out / "policy.onnx")
    assert [one.shape for one in session.get_inputs()] == [[1, 29]]  # one input, one output
    assert [one.shape for one in session.get_outputs()] == [[1, 2]]
    said = yaml.safe_load((out / "controllers.yaml").read_text())
    assert said["controller_manager"]["ros__parameters"]["update_rate"] == 50
    given = said["onnx_policy_controller"]["ros__parameters"]
    assert (given["joint_position_limits_min"], given["action_scale"]) == ([-1.5, -1.5], 1.0)
    broadcast = said["state_interfaces_broadcaster"]["ros__parameters"]["interfaces"]
    assert broadcast[4] == "imu/angular_velocity.x"
    assert broadcast[10:] == ["hip/position", "knee/position", "hip/velocity", "knee/velocity"]

    policy, rng = Policy(legged), np.random.default_rng(0)
    for _ in range(100):
        gyro, angles = rng.normal(size=3), rng.uniform(-1.5, 1, 2)
        inputs = {session.get_inputs()[0].name: as_the_controller_formats(gyro, angles, rng)}
        (scaled,) = session.run(None, inputs)
        target = np.array(POSE) + given["action_scale"] * scaled[0]
        wanted = policy.act(np.concatenate([gyro, angles]), np.array(WIRING["z"]))
        np.testing.assert_allclose(target, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"z": [0.1]}, "z has 1 numbers, expected 3"),
        ({"observation": {"gyro": "gyro"}}, "observation names .*'gyro'.*'angle'"),
        ({"observation": {"gyro": "gyro", "angle": "velocity"}}, "'angle' is in 'rad'"),
        ({"observation": {"gyro": "command", "angle": "position"}}, "'command', 7 numbers"),
        ({"joints": ["hip"], "default_joint_positions": [0.0]}, "observation.angle"),
        ({"default_joint_positions": [0.0, 3.0]}, "knee is 3, outside"),
    ],
)
def test_what_the_controller_cannot_run_is_refused(legged, tmp_path, changes, says):
    wiring = Wiring.model_validate(WIRING | changes)
    with pytest.raises(ConversionError, match=says):
        write_ros2_control(legged, wiring, tmp_path / "out")
    assert not (tmp_path / "out").exists()
