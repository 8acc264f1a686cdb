"""A robot's key is its own: no one else may read it, and none that is half right is used."""

from __future__ import annotations

import contextlib
import os
import stat
import time

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner
from zmq.utils import z85

from fieldtune.robot.cli.app import app
from fieldtune.robot.config import KeysConfig, RobotConfig
from fieldtune.robot.curve_keys import KeyPair, KeysError, bridge_keys, check_public, new_pair
from fieldtune.robot.curve_keys import read_secret as read
from fieldtune.robot.curve_keys import write_secret as write
from fieldtune.robot.programs.explore import Daemon
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.bridge.keys import make_keys

CURE = "fieldtune-robot keys new"


def read_secret(path):
    return read(path, CURE)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "robot.key"


def wait_until(condition):
    while not condition():
        time.sleep(0.01)


@pytest.fixture
def pair(path):
    pair = new_pair()
    write(path, pair)
    return pair


def test_a_written_key_is_read_back_and_belongs_to_its_owner_alone(path, pair):
    assert read_secret(path) == pair
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["robot.key"]


def test_the_umask_does_not_open_a_key_to_others(path):
    before = os.umask(0)
    try:
        write(path, new_pair())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_are_what_libzmq_takes_for_curve():
    pair = new_pair()
    secret = z85.encode(bytes.fromhex(pair.secret))
    assert zmq.curve_public(secret) == z85.encode(bytes.fromhex(pair.public))
    assert new_pair() != pair


def test_a_secret_is_not_shown_by_accident(pair):
    assert pair.secret not in repr(pair)
    assert pair.public in repr(pair)


def test_a_key_is_not_written_over(path, pair):
    with pytest.raises(KeysError, match="there is a key already"):
        write(path, new_pair())
    assert read_secret(path) == pair


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o610])
def test_a_key_that_others_may_use_is_refused_with_the_cure(path, pair, mode):
    path.chmod(mode)
    with pytest.raises(KeysError, match=f"mode is {mode:04o}.*`chmod 600 {path}`"):
        read_secret(path)
    path.chmod(0o600)
    assert read_secret(path) == pair


def test_a_key_that_is_not_there_names_the_command_that_makes_it(path):
    with pytest.raises(KeysError, match=f"no key there: make one with `{CURE}`"):
        read_secret(path)


@pytest.mark.usefixtures("pair")
def test_another_version_of_the_file_is_refused_by_name(path):
    path.write_text(path.read_text().replace("key 1\n", "key 2\n"))
    with pytest.raises(KeysError, match="version 2 is unknown, expected 1"):
        read_secret(path)


def test_halves_of_two_keys_are_not_taken_for_one(path):
    write(path, KeyPair(new_pair().public, new_pair().secret))
    with pytest.raises(KeysError, match="do not belong together"):
        read_secret(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_no_bytes_but_a_key_are_taken_for_one_and_no_error_shows_a_secret(path, pair, data):
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    mutated = path.with_name("mutated.key")
    mutated.write_bytes(content)
    mutated.chmod(0o600)
    said = ""
    try:
        assert (
            read_secret(mutated).public == pair.public
        )  # the lowest bits of a secret do not count
    except KeysError as error:
        said = str(error)
    assert pair.secret not in said


@given(st.binary(max_size=300))
def test_random_bytes_are_no_key(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("keys") / "robot.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(KeysError):
        read_secret(path)


@pytest.mark.parametrize("text", ["", "f" * 63, "f" * 65, "F" * 64, "g" * 64, "f" * 64 + "\n"])
def test_what_is_no_public_key_is_named_with_what_was_expected(text):
    with pytest.raises(KeysError, match=r"the key is .* expected 64 hexadecimal digits"):
        check_public(text, "the key")


def named(tmp_path, **keys):
    return RobotConfig(name="s", family="reach", state_dir=tmp_path, keys=keys)


@pytest.mark.usefixtures("pair")
def test_without_the_trainers_key_a_robot_has_none_to_use(tmp_path):
    assert bridge_keys(named(tmp_path)) is None


def test_the_robots_own_key_lies_in_its_state_folder_unless_said_otherwise(tmp_path, pair):
    assert bridge_keys(named(tmp_path, trainer="a" * 64)).own == pair
    elsewhere = new_pair()
    write(tmp_path / "other.key", elsewhere)
    keys = bridge_keys(named(tmp_path, trainer="a" * 64, secret=tmp_path / "other.key"))
    assert (keys.own, keys.trainer) == (elsewhere, "a" * 64)


@pytest.mark.usefixtures("pair")
def test_half_a_setting_is_not_taken_for_no_setting(tmp_path):
    with pytest.raises(KeysError, match=r"robot\.keys\.trainer is not"):
        bridge_keys(named(tmp_path, secret=tmp_path / "robot.key"))


@pytest.fixture
def command(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text(f"robot: {{name: sawyer-1, family: reach, state_dir: {tmp_path / 'state'}}}\n")

    def run(*words):
        return CliRunner().invoke(app, ["keys", words[0], "--config", str(file), *words[1:]])

    return run


def test_the_commands_make_a_key_and_say_what_to_do_with_it(command, tmp_path):
    made = command("new")
    assert made.exit_code == 0
    pair = read_secret(tmp_path / "state" / "robot.key")
    assert f"fieldtune keys allow sawyer-1 {pair.public}" in made.stdout
    assert "set robot.keys.trainer" in made.stdout
    shown = command("show", f"robot.keys.trainer={'a' * 64}")
    assert f"fieldtune keys allow sawyer-1 {pair.public}" in shown.stdout
    assert "robot.keys.trainer" not in shown.stdout
    assert pair.secret not in made.output + shown.output


def test_the_commands_explain_what_is_wrong(command):
    missing = command("show")
    assert (missing.exit_code, "make one with `fieldtune-robot keys new" in missing.output) == (
        1,
        True,
    )
    wrong = command("new", "robot.keys.trainer=abc")
    assert (wrong.exit_code, "'robot.keys.trainer' is 'abc'" in wrong.output) == (1, True)


def test_a_daemon_with_keys_in_its_settings_uploads_to_its_trainer(
    config, mass, point_bundle, tmp_path
):
    point_bundle()
    trainer = make_keys(tmp_path / "keys")
    pair = new_pair()
    write(config.secret_key, pair)
    trainer.allowed.allow(config.name, pair.public)
    with Hub("tcp://127.0.0.1:*", tmp_path / "inbox", trainer) as hub:
        keys = KeysConfig(trainer=trainer.own.public)
        config = config.model_copy(update={"bridge": hub.address, "keys": keys})
        daemon = Daemon(config, mass, episodes=2)
        mass.trouble = lambda _: wait_until(lambda: hub.robots())
        assert daemon.run().uploaded is True
        assert len(list(hub.episodes(set()))) == 2


def test_the_daemon_refuses_a_network_without_keys_before_it_touches_the_robot(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text(
        "robot: {name: s, family: reach, bridge: 'tcp://10.0.0.2:5780', "
        f"state_dir: {tmp_path / 'state'}}}\n"
    )
    with contextlib.chdir(tmp_path):
        result = CliRunner().invoke(app, ["run", "--config", str(file)])
    assert result.exit_code == 1
    assert "CURVE keys are required" in result.output
    assert "robot.keys.trainer" in result.output
