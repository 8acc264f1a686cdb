"""The list of allowed robots: one key a robot, in force at once, and nobody when in doubt."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fieldtune.robot.curve_keys import KeysError
from fieldtune.train.bridge.keys import Allowed, make_keys, open_keys
from fieldtune.train.cli.keys import app

ROOT = Path(__file__).parents[3]
A, B, C = (digit * 64 for digit in "abc")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def keys(folder):
    return make_keys(folder)


@pytest.fixture
def allowed(keys):
    return keys.allowed


def test_the_trainers_keys_are_for_its_owner_alone(folder, keys):
    keys.allowed.allow("one", A)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (folder, *folder.iterdir())}
    assert modes == {"keys": 0o700, "trainer.key": 0o600, "robots": 0o600}
    assert open_keys(folder).own == keys.own


def test_keys_that_are_not_there_name_the_command_that_makes_them(folder):
    with pytest.raises(KeysError, match=f"make one with `fieldtune keys new --keys {folder}`"):
        open_keys(folder)
    with pytest.raises(KeysError, match="make the trainer's key first"):
        Allowed(folder / "robots").allow("one", A)


def test_a_list_without_robots_is_not_enough_to_open_a_hub(keys):
    with pytest.raises(KeysError, match="fieldtune keys allow ROBOT KEY"):
        keys.require_robots()
    keys.allowed.allow("one", A)
    keys.require_robots()


def test_a_robot_is_known_by_its_key_as_soon_as_it_is_allowed_and_no_longer(allowed):
    elsewhere = Allowed(allowed.path)  # another process: the command line
    assert allowed.name_of(A) is None
    for _ in range(20):
        elsewhere.allow("one", A)
        assert (allowed.name_of(A), allowed.name_of(B)) == ("one", None)
        elsewhere.revoke("one")
        assert allowed.name_of(A) is None


def test_a_key_that_changes_hands_is_not_taken_for_the_old_one(allowed):
    allowed.allow("one", A)
    with pytest.raises(KeysError, match="has another key: `fieldtune keys revoke one` first"):
        allowed.allow("one", B)
    with pytest.raises(KeysError, match="this is the key of robot 'one'"):
        allowed.allow("two", A)
    allowed.allow("one", A)
    assert allowed.entries() == {"one": A}


def test_revoking_a_robot_that_is_not_there_names_those_that_are(allowed):
    allowed.allow("one", A)
    with pytest.raises(KeysError, match="'tow' is not allowed; allowed: one"):
        allowed.revoke("tow")


@pytest.mark.parametrize("name", ["", " ", "a b", "-x", "ü", "a\nb", "n" * 129, "../x"])
def test_a_name_that_could_be_mistaken_is_refused(allowed, name):
    with pytest.raises(KeysError, match="cannot be used with keys"):
        allowed.allow(name, A)
    assert allowed.entries() == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a list of allowed robots"),
        (f"one {A}\n".encode(), "is not a list of allowed robots"),
        (b"fieldtune allowed robots 2\n", "version '2' is unknown, expected 1"),
        (f"fieldtune allowed robots 1\none {A}\none {B}\n".encode(), "line 3: 'one' or its key"),
        (f"fieldtune allowed robots 1\none {A}\ntwo {A}\n".encode(), "line 3: 'two' or its key"),
        (b"fieldtune allowed robots 1\none abc\n", "line 2: the key is 'abc'"),
        (b"fieldtune allowed robots 1\none\n", "line 2: is 'one', expected a name"),
        (f"fieldtune allowed robots 1\n* {A}\n".encode(), r"line 2: the name '\*' cannot"),
    ],
)
def test_a_list_that_is_damaged_lets_nobody_in_until_it_is_mended(
    allowed, content, message, caplog
):
    allowed.allow("one", A)
    sound = allowed.path.read_bytes()
    assert allowed.name_of(A) == "one"
    allowed.path.write_bytes(content)
    assert allowed.name_of(A) is None
    with pytest.raises(KeysError, match=message):
        allowed.entries()
    assert "no robot is allowed until this is mended" in caplog.text
    with pytest.raises(KeysError):
        allowed.allow("two", B)
    assert allowed.path.read_bytes() == content
    allowed.path.write_bytes(sound)
    assert allowed.name_of(A) == "one"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o664])
def test_a_list_that_others_can_write_lets_nobody_in(allowed, mode):
    allowed.allow("one", A)
    allowed.path.chmod(mode)
    assert allowed.name_of(A) is None
    with pytest.raises(KeysError, match=f"mode is {mode:04o}.*chmod 600"):
        allowed.entries()
    allowed.path.chmod(0o600)
    assert allowed.name_of(A) == "one"


@given(st.binary(max_size=200))
def test_no_bytes_but_a_list_let_anybody_in(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("keys") / "robots"
    path.write_bytes(b"fieldtune allowed robots 1\n" + content)
    path.chmod(0o600)
    allowed = Allowed(path)
    try:
        for name, key in allowed.entries().items():
            assert allowed.name_of(key) == name
    except KeysError:
        assert allowed.name_of(A) is None


def test_robots_allowed_at_the_same_time_are_all_on_the_list(allowed):
    script = (
        "import sys; from pathlib import Path; from fieldtune.train.bridge.keys import Allowed\n"
        "for n in range(10):\n"
        "    Allowed(Path(sys.argv[1])).allow(f'{sys.argv[2]}-{n}', f'{sys.argv[2]}{n}' * 32)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script, str(allowed.path), letter], cwd=ROOT)
        for letter in "de"
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(allowed.entries()) == 20


@pytest.fixture
def command(folder):
    def run(*words):
        return CliRunner().invoke(app, [words[0], "--keys", str(folder), *words[1:]])

    return run


def test_the_commands_make_show_allow_list_and_revoke(command, folder):
    made = command("new")
    own = open_keys(folder).own
    assert f"robot.keys.trainer: {own.public}" in made.stdout
    assert command("show").stdout.strip().endswith(own.public)
    assert command("allow", "one", A).exit_code == command("allow", "two", B).exit_code == 0
    assert command("list").stdout == f"one {A}\ntwo {B}\n"
    assert command("revoke", "one").exit_code == 0
    assert command("list").stdout == f"two {B}\n"
    assert own.secret not in made.output


def test_the_commands_explain_what_is_wrong(command, folder):
    assert "fieldtune keys new" in command("allow", "one", A).output
    command("new")
    twice = command("new")
    assert (twice.exit_code, "there is a key already" in twice.output) == (1, True)
    assert "expected 64 hexadecimal digits" in command("allow", "one", "abc").output
    assert "no robot is allowed" in command("list").output
    (folder / "trainer.key").chmod(0o644)
    assert "chmod 600" in command("show").output


def test_a_list_that_trainers_share_by_a_link_is_changed_for_all_of_them(allowed, tmp_path):
    allowed.allow("one", A)
    shared = tmp_path / "shared"
    allowed.path.rename(shared)
    allowed.path.symlink_to(shared)
    other = Allowed(shared)
    allowed.allow("two", B)
    assert other.name_of(B) == "two"
    allowed.revoke("one")
    assert allowed.path.is_symlink()
    assert other.name_of(A) is allowed.name_of(A) is None

    shared.unlink()
    with pytest.raises(KeysError, match=r"is a link to .*shared, and nothing is there: mount"):
        allowed.allow("one", A)
    assert allowed.path.is_symlink()


def test_a_pipe_in_the_place_of_the_list_lets_nobody_in_and_is_not_waited_for(allowed):
    os.mkfifo(allowed.path, 0o600)
    assert allowed.name_of(A) is None
    with pytest.raises(KeysError, match="is a pipe, expected a file"):
        allowed.entries()


def test_what_can_be_no_robots_key_is_refused(command, folder):
    command("new")
    own = command("allow", "one", open_keys(folder).own.public)
    assert (own.exit_code, "this is the trainer's own key" in own.output) == (1, True)
    nothing = command("allow", "one", "0" * 64)
    assert (nothing.exit_code, "is all zeros, which is no key" in nothing.output) == (1, True)
    assert "no robot is allowed" in command("list").output


def test_a_list_of_another_user_lets_nobody_in(allowed):
    allowed.allow("one", A)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(allowed.path, 12345, -1)
    assert allowed.name_of(A) is None
    with pytest.raises(KeysError, match="belongs to user 12345"):
        allowed.entries()
