"""What can be written in a mapping, and what becomes of a field's parts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldtune.settings import ConfigError
from fieldtune.sim.family import Field
from fieldtune.sim.registry import family as make_family
from fieldtune.train.importing.fields import Rows, columns_of
from fieldtune.train.importing.mapping import FieldMapping, Part, load_mapping

PUSH = make_family("push")
WIDE = {"joints": 7, "hand": 3, "pose": 7, "grip": 1}
ROWS = Rows("log: episode 0", {k: np.random.default_rng(n).normal(size=(5, n)) for k, n in WIDE.items()}, 5, 0.05)  # fmt: skip # noqa: E501
FIELDS = {
    "joint_position": "joints",
    "joint_velocity": {"from": "joints", "derivative": True},
    "end_effector_position": "hand",
    "end_effector_velocity": {"from": "hand", "derivative": True},
    "gripper_opening": "grip",
    "block_position": {"from": "pose", "take": "0:3"},
    "block_orientation": {"from": "pose", "take": "3:7", "rotation": {"data": "xyzw"}},
    "gripper_to_block": {"from": "pose", "take": "0:3", "minus": "hand"},
}
ACTION = {
    "end_effector_displacement": "hand",
    "gripper_command": {"from": "grip", "range": {"data": [0, 1], "family": [1, -1]}},
}
WHOLE = {"format": "d4rl", "observation": FIELDS, "action": ACTION}


def read(folder, values):
    path = folder / "mapping.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return load_mapping(path, PUSH)


def made(part, field):
    return columns_of({field.name: (Part.model_validate(part),)}, (field,), ROWS)


def test_short_forms_mean_what_the_long_ones_do(tmp_path):
    short = read(tmp_path, WHOLE)
    long = json.loads(json.dumps(WHOLE))
    long["observation"]["joint_position"] = [{"from": "joints"}]
    long["observation"]["gripper_to_block"]["minus"] = {"from": "hand"}
    assert read(tmp_path, long) == short
    assert short.keys() == {"joints", "hand", "pose", "grip"}


def test_parts_are_computed_in_their_order():
    three, one = Field.unbounded("x", "m", 3), Field.unbounded("g", "normalised")
    joints, hand = ROWS.columns["joints"], ROWS.columns["hand"]
    found = made(
        {"from": "joints", "take": (6, 0, 1), "unit": "mm", "scale": (2.0, 1.0, -1.0),
         "offset": (0.5,), "minus": {"from": "hand"}},
        three,
    )  # fmt: skip
    expected = 1e-3 * joints[:, [6, 0, 1]] * [2, 1, -1] + 0.5 - hand
    np.testing.assert_allclose(found, expected)
    found = made({"from": "hand", "unit": "mm", "derivative": True}, Field.unbounded("v", "m/s", 3))
    np.testing.assert_allclose(found[1:], 1e-3 * np.diff(hand, axis=0) / 0.05)
    np.testing.assert_array_equal(found[0], found[1])
    gripper = made({"from": "grip", "range": {"data": (0, 1), "family": (1, -1)}}, one)
    np.testing.assert_allclose(gripper, 1 - 2 * ROWS.columns["grip"])


def test_an_angle_turns_through_half_a_turn_without_a_jump_in_the_fields_unit():
    degrees = np.array([170.0, 178.0, -174.0, -166.0, -158.0])
    columns = {"heading": np.stack([0 * degrees, 0 * degrees, degrees], axis=1)}
    columns["target"] = columns["heading"] + [0, 0, 20]
    rows = Rows("log: episode 0", columns, 5, 0.05)

    def turned(unit, **more):
        part = {"from": "target", "unit": "deg", "rotation": {"data": "rpy", "family": "yaw"}}
        field = Field.unbounded("heading", unit)
        return columns_of({"heading": (Part.model_validate(part | more),)}, (field,), rows)[:, 0]

    heading = {"from": "heading", "unit": "deg", "rotation": {"data": "rpy", "family": "yaw"}}
    np.testing.assert_allclose(turned("deg/s", derivative=True), 160)
    np.testing.assert_allclose(turned("rad/s", derivative=True, scale=(2,)), 2 * np.deg2rad(160))
    np.testing.assert_allclose(turned("deg", minus=heading), 20)
    np.testing.assert_allclose(turned("rad", minus=heading), np.deg2rad(20))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observation": FIELDS | {"block_orientation": {"from": "pose", "take": "3:7"}}},
         "'observation.block_orientation' is a quaternion: say how the data hold it"),
        ({"observation": FIELDS | {"block_orientation": {
            "from": "pose", "take": "3:7", "rotation": {"data": "wxzy"}}}},
         r"'observation.block_orientation.rotation.data' is 'wxzy': expected 'wxyz'"),
        ({"observation": FIELDS | {"joint_position": {"from": "joints", "constant": 0}}},
         "expected one of 'from'"),
        ({"observation": FIELDS | {"joint_position": {"from": "joints", "unit": "deg/s"}}},
         "'unit' is 'deg/s', which is not known to become 'rad'"),
        ({"observation": FIELDS | {"joint_position": {
            "from": "pose", "take": "3:7", "unit": "deg",
            "rotation": {"data": "xyzw", "family": "yaw"}}}},
         "a rotation has no unit"),
        ({"observation": FIELDS | {"gripper_opening": {
            "from": "pose", "take": "3:7", "rotation": {"data": "xyzw", "family": "yaw"}}}},
         "'rotation.family' is 'yaw', in rad, but the field is in 'm'"),
        ({"observation": FIELDS | {"joint_velocity": {
            "from": "pose", "take": "3:7", "derivative": True,
            "rotation": {"data": "wxyz", "family": "rotvec"}}}},
         "'derivative' of a rotation as rotvec is no angular velocity"),
        ({"observation": FIELDS | {"gripper_opening": {
            "from": "pose", "take": "3:7", "rotation": {"data": "xyzw", "family": "rotvec"}}}},
         "'rotation.family' is 'rotvec', in rad, but the field is in 'm'"),
        ({"observation": FIELDS | {"block_orientation": {
            "from": "pose", "take": "3:7", "rotation": {"data": "xyzw", "family": "xyzw"}}}},
         "'rotation.family' is 'xyzw', but the field is a quaternion, w, x, y, z: leave"),
        ({"reward": {"from": "grip", "unit": "mm"}}, "'reward': 'unit' is 'mm', which is not"),
        ({"action": ACTION | {"gripper_command": {
            "from": "grip", "range": {"data": [1, 1], "family": [1, -1]}}}},
         "both numbers of 'data' are 1"),
        ({"observation": FIELDS | {"joint_position": {"from": "joints", "take": []}}},
         "'take' is a list of positions from 0, at least one"),
        ({"observation": FIELDS | {"joint_position": []}}, "'observation.joint_position' is"),
        ({"signals": {"force": "f"}}, "'signals.force' is no field of push .*: it has none"),
        ({"tasks": {"parameters": {"goal_position": "goal"}}}, "missing key 'tasks.held_out'"),
        ({"tasks": {"name": "goal", "held_out": 2}}, "'held_out' is for 'parameters' and 'file'"),
        ({"tasks": {}}, "expected one of 'name'"),
        ({"longer_episodes": "split"}, "'longer_episodes' is 'split': expected 'refuse'"),
        ({"period_s": 0}, "'period_s' is 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_key_value_and_cure(tmp_path, change, words):
    with pytest.raises(ConfigError, match=words) as told:
        read(tmp_path, WHOLE | change)
    assert "mapping.yaml" in str(told.value)


texts = st.sampled_from([*WIDE, "0:3", "deg"])
plain = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Part.model_fields, "from", "data"]), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from([*FieldMapping.model_fields, "other"])


@settings(deadline=None, max_examples=25)
@given(
    st.one_of(plain, st.dictionaries(keys, plain, max_size=4).map(lambda change: WHOLE | change))
)
def test_any_mapping_is_read_or_refused_by_name(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("mapping")
    try:
        mapping = read(folder, values)
    except ConfigError as error:
        named = "mapping.yaml" in str(error)
        assert named
    else:
        assert set(mapping.observation) == set(FIELDS)
