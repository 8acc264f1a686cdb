"""A bundle's policy as the model that ros2_control's `onnx_policy_controller` runs, with its YAML.

Workstation side: onnx is imported where it is used. That controller stands in ros2_control_demos,
example_18: one input of 17 + 6 · joints numbers in a fixed order, one output that is scaled and
added to a standing pose, joint positions as commands. z is fixed here: it infers nothing. Written
by its sources and not tried on hardware.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from pydantic import Field, FiniteFloat

from fieldtune.export.bundle import Bundle
from fieldtune.export.convert import ConversionError
from fieldtune.export.graph import IR_VERSION, OPSET
from fieldtune.export.making import Strict
from fieldtune.export.manifest import FieldSpec
from fieldtune.files import write_atomically

Source = Literal["position", "velocity", "gyro", "accelerometer", "command", "contact", "phase"]
# What the controller makes of what it reads before the model sees it, undone here
# (observation_formatter.cpp): position − default pose, velocity · 0.05, acceleration x + 1.3.
VELOCITY_SCALE, ACCELERATION_OFFSET = 0.05, (1.3, 0.0, 0.0)
_UNITS = {"position": "rad", "velocity": "rad/s", "gyro": "rad/s", "accelerometer": "m/s^2"}


class Wiring(Strict):
    """What a manifest does not say: the file of `--wiring`.

    `observation` says by field of the bundle what the controller reads for it, in the order of
    `joints` where it is of joints. `default_joint_positions` is the pose that it stands in until it
    gets a command, in rad, and `max_motor_velocity`, in rad/s, how fast it goes anywhere. `z` is
    the task, as `fieldtune-robot tasks show` prints it.
    """

    joints: tuple[str, ...] = Field(min_length=1)
    observation: dict[str, Source]
    default_joint_positions: tuple[FiniteFloat, ...]
    max_motor_velocity: FiniteFloat = Field(gt=0)
    z: tuple[FiniteFloat, ...]
    imu: str = "imu"
    left_contact_sensor: str = "left_foot_contact"
    right_contact_sensor: str = "right_foot_contact"


def write_ros2_control(bundle: Bundle, wiring: Wiring, folder: Path) -> None:
    """Write `policy.onnx` and `controllers.yaml` into `folder`, which is made where there is none.

    Args:
        bundle: verified, whose action says in rad where each joint is to be.
        wiring: of the robot.
        folder: files of an older conversion in it are replaced.

    Raises:
        ConversionError: the bundle or the wiring is none that the controller can run.
    """
    _require_runnable(bundle, wiring)
    model = model_of(bundle, wiring)
    text = yaml.safe_dump(_settings(bundle, wiring), sort_keys=False)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "policy.onnx", model)
    write_atomically(folder / "controllers.yaml", f"# Of bundle {bundle.id}.\n{text}".encode())


def model_of(bundle: Bundle, wiring: Wiring) -> bytes:
    """`observation (1, 17 + 6 · joints)` → `action (1, joints)`, rad from the standing pose."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_model_from_string(bundle.graphs["policy.onnx"])
    places, scale, offset = _inverse(bundle, wiring)
    low, high = _bounds(bundle.manifest.action_fields)
    pose = np.array(wiring.default_joint_positions)
    constants: dict[str, Any] = {
        "ros2_places": places,
        "ros2_scale": np.array([scale], np.float32),
        "ros2_offset": np.array([offset], np.float32),
        "ros2_half_range": np.array([(high - low) / 2], np.float32),
        "ros2_centre": np.array([(high + low) / 2 - pose], np.float32),
        "z": np.array([wiring.z], np.float32),
    }
    before = [
        helper.make_node("Gather", ["ros2_observation", "ros2_places"], ["ros2_taken"], axis=1),
        helper.make_node("Mul", ["ros2_taken", "ros2_scale"], ["ros2_scaled"]),
        helper.make_node("Add", ["ros2_scaled", "ros2_offset"], ["observation"]),
    ]
    after = [
        helper.make_node("Tanh", ["mean"], ["ros2_squashed"]),
        helper.make_node("Mul", ["ros2_squashed", "ros2_half_range"], ["ros2_moved"]),
        helper.make_node("Add", ["ros2_moved", "ros2_centre"], ["action"]),
    ]
    count = len(wiring.joints)
    graph = helper.make_graph(
        _needed([*before, *model.graph.node, *after], "action"),
        "policy",
        [helper.make_tensor_value_info("ros2_observation", TensorProto.FLOAT, [1, width(count)])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, [1, count])],
        [
            *model.graph.initializer,
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
        ],
    )
    opset = model.opset_import[0].version or OPSET
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION
    )
    made.producer_name = "fieldtune"
    onnx.checker.check_model(made, full_check=True)
    data: bytes = made.SerializeToString(deterministic=True)
    return data


def width(joints: int) -> int:
    """Of the controller's observation: gyro 3, accelerometer 3, command 7, positions and velocities
    of joints, three last actions, motor targets, contacts 2, phase 2."""
    return 17 + 6 * joints


def _places(source: Source, joints: int) -> range:
    starts = {
        "gyro": (0, 3),
        "accelerometer": (3, 3),
        "command": (6, 7),
        "position": (13, joints),
        "velocity": (13 + joints, joints),
        "contact": (13 + 6 * joints, 2),
        "phase": (15 + 6 * joints, 2),
    }
    start, count = starts[source]
    return range(start, start + count)


def _inverse(bundle: Bundle, wiring: Wiring) -> tuple[Any, list[float], list[float]]:
    """Where each component of the bundle's observation is, and what brings it back to its unit."""
    places: list[int] = []
    scale: list[float] = []
    offset: list[float] = []
    for field in bundle.manifest.observation_fields:
        source = wiring.observation[field.name]
        found = _places(source, len(wiring.joints))
        places += found
        scale += [1 / VELOCITY_SCALE if source == "velocity" else 1.0] * len(found)
        offset += {
            "position": list(wiring.default_joint_positions),
            "accelerometer": [-value for value in ACCELERATION_OFFSET],
        }.get(source, [0.0] * len(found))
    return np.array(places, np.int64), scale, offset


def _require_runnable(bundle: Bundle, wiring: Wiring) -> None:
    known, count = bundle.manifest, len(wiring.joints)
    for key, found, expected in (
        ("default_joint_positions", len(wiring.default_joint_positions), count),
        ("z", len(wiring.z), known.latent_size),
    ):
        if found != expected:
            raise ConversionError(f"wiring: {key} has {found} numbers, expected {expected}")
    names = [field.name for field in known.observation_fields]
    if sorted(wiring.observation) != sorted(names):
        raise ConversionError(
            f"wiring: observation names {sorted(wiring.observation)}, the bundle's fields are "
            f"{names}: say for each what the controller reads for it"
        )
    for field in known.observation_fields:
        source = wiring.observation[field.name]
        expected = len(_places(source, count))
        if field.width != expected:
            raise ConversionError(
                f"wiring: observation.{field.name} is {source!r}, {expected} numbers of the "
                f"controller's, the field has {field.width}"
            )
        unit = _UNITS.get(source)
        if unit is not None and field.unit != unit:
            raise ConversionError(
                f"observation field {field.name!r} is in {field.unit!r}, the controller gives "
                f"{source!r} in {unit!r}: export a family in that unit"
            )
    units = {field.unit for field in known.action_fields}
    if known.action_width != count or units != {"rad"}:
        raise ConversionError(
            f"the bundle's action is {known.action_width} wide, in {', '.join(sorted(units))}: the "
            f"controller commands a position in rad for each of {count} joints"
        )
    low, high = _bounds(known.action_fields)
    for name, pose, least, most in zip(
        wiring.joints, wiring.default_joint_positions, low, high, strict=True
    ):
        if not least <= pose <= most:
            raise ConversionError(
                f"wiring: default_joint_positions of {name} is {pose:g}, outside the action's "
                f"[{least:g}, {most:g}]"
            )
    if abs(1 / known.period_s - round(1 / known.period_s)) > 1e-6:
        raise ConversionError(
            f"the bundle's period is {known.period_s:g} s: ros2_control's update_rate is a whole "
            "number a second"
        )


def _settings(bundle: Bundle, wiring: Wiring) -> dict[str, Any]:
    """Parameters by node, as example_18's open_duck_mini_controllers.yaml has them."""
    known, joints = bundle.manifest, list(wiring.joints)
    low, high = _bounds(known.action_fields)
    imu = [f"orientation.{axis}" for axis in "xyzw"]
    imu += [
        f"{what}.{axis}" for what in ("angular_velocity", "linear_acceleration") for axis in "xyz"
    ]
    interfaces = [f"{wiring.imu}/{name}" for name in imu]
    interfaces += [f"{joint}/{what}" for what in ("position", "velocity") for joint in joints]
    if "contact" in wiring.observation.values():
        sensors = (wiring.left_contact_sensor, wiring.right_contact_sensor)
        interfaces += [f"{sensor}/contact_raw" for sensor in sensors]
    controller = {
        "joints": joints,
        "model_path": "policy.onnx",
        "model_input_size": width(len(joints)),
        "model_output_size": len(joints),
        "interfaces_broadcaster_topic": "state_interfaces_broadcaster/values",
        "interfaces_broadcaster_names_topic": "state_interfaces_broadcaster/names",
        "left_contact_sensor_name": wiring.left_contact_sensor,
        "right_contact_sensor_name": wiring.right_contact_sensor,
        "action_scale": 1.0,
        "default_joint_positions": list(wiring.default_joint_positions),
        "joint_position_limits_min": low.tolist(),
        "joint_position_limits_max": high.tolist(),
        "max_motor_velocity": wiring.max_motor_velocity,
        "training_control_period": known.period_s,
        "gyro_deadband": 0.0,
        "imu_upside_down": False,
    }
    types = {
        "state_interfaces_broadcaster": "state_interfaces_broadcaster/StateInterfacesBroadcaster",
        "onnx_policy_controller": "onnx_policy_controller/OnnxPolicyController",
    }
    manager = {"update_rate": round(1 / known.period_s)}
    return {
        "controller_manager": {
            "ros__parameters": manager | {name: {"type": kind} for name, kind in types.items()}
        },
        "state_interfaces_broadcaster": {"ros__parameters": {"interfaces": interfaces}},
        "onnx_policy_controller": {"ros__parameters": controller},
    }


def _bounds(fields: tuple[FieldSpec, ...]) -> tuple[Any, Any]:
    return (
        np.array([value for field in fields for value in field.low]),
        np.array([value for field in fields for value in field.high]),
    )


def _needed(nodes: list[Any], output: str) -> list[Any]:
    """Those that `output` comes from, in their order."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]
