"""Paths in settings start where they were written, whichever folder a command is called in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.hardware.options import ZmqOptions
from fieldtune.settings import ConfigError, check, dump, load

ROBOT = "name: a\n  family: reach\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A config in `home/etc`, called from `home/elsewhere`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("etc", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def robot(home, text="", *overrides, path=None):
    (home / "etc" / "a.yaml").write_text(f"robot:\n  {ROBOT}  {text}\n", encoding="utf-8")
    return load(RobotConfig, path or home / "etc" / "a.yaml", section="robot", overrides=overrides)


def test_a_relative_path_starts_in_the_folder_of_the_file_that_names_it(home):
    for folder in ("etc", "elsewhere", "/"):
        os.chdir(home / folder)
        for path in (home / "etc" / "a.yaml", os.path.relpath(home / "etc" / "a.yaml")):
            found = robot(home, "state_dir: state", path=Path(path))
            assert found.state_dir == home / "etc" / "state"
            assert found.latch == home / "etc" / "state" / "fault.txt"


def test_a_link_to_a_config_means_the_same_robot(home):
    robot(home)
    link = home / "elsewhere" / "b.yaml"
    link.symlink_to(home / "etc" / "a.yaml")
    assert robot(home, "state_dir: state", path=link).state_dir == home / "etc" / "state"


def test_a_default_starts_there_too(home):
    assert robot(home).state_dir == home / "etc" / "runs" / "robot"


def test_a_path_typed_on_the_command_line_starts_where_it_is_typed(home):
    found = robot(home, "state_dir: state", "robot.state_dir=mine", "robot.keys.secret=../k")
    assert found.state_dir == home / "elsewhere" / "mine"
    assert found.keys.secret == home / "k"


@pytest.mark.parametrize("place", ["state_dir: ~/x", "state_dir: '~/x'", "state_dir: ../x"])
def test_a_tilde_is_the_home_folder_and_two_dots_the_one_above(home, place):
    assert robot(home, place).state_dir == home / "x"
    assert robot(home, "", f"robot.{place.replace(': ', '=')}").state_dir == home / "x"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("state_dir: ''", "'robot.state_dir' is '': expected a path"),
        ("state_dir: $HOME/x", "'robot.state_dir' is '$HOME/x': variables are not expanded here"),
        ("state_dir: a/${X}", "variables are not expanded here: write the path itself"),
        ("state_dir: ~no.such.user/x", "no home folder is known for '~no.such.user'"),
        ('state_dir: "a\\0b"', "'robot.state_dir' is 'a\\x00b': expected a path without"),
        ("keys: {secret: $K}", "'robot.keys.secret' is '$K': variables"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused_by_its_key(home, text, says):
    with pytest.raises(ConfigError) as refused:
        robot(home, text)
    assert says in str(refused.value)
    assert list((home / "elsewhere").iterdir()) == []


def test_text_is_a_path_only_where_its_field_says_so(home):
    found = robot(home, "limits: {model: m.xml}\n  bridge: ipc://run/b\n  driver: {port: m}")
    assert found.limits.model == str(home / "etc" / "m.xml")
    assert found.bridge == f"ipc://{home}/etc/run/b"
    assert found.driver.options == {"port": "m"}
    found = robot(home, "limits: {model: package://p/m.xml}\n  bridge: tcp://127.0.0.1:1")
    assert (found.limits.model, found.bridge) == ("package://p/m.xml", "tcp://127.0.0.1:1")


def test_a_drivers_paths_start_there_too(home):
    text = "driver: {name: zmq, address: ipc://s, description: d.json, secret: ~/k}"
    for overrides, description in (
        ((), home / "etc" / "d.json"),
        (("robot.driver.description=d.json",), home / "elsewhere" / "d.json"),
    ):
        options = robot(home, text, *overrides).driver.options
        found = check(ZmqOptions, options, source="a.yaml", key="robot.driver")
        assert (found.description, found.secret) == (description, home / "k")
        assert found.address == f"ipc://{home}/etc/s"


def test_a_program_that_gives_rewards_runs_where_it_was_named(home):
    text = "rewards: {command: [python, judge.py]}"
    assert robot(home, text).rewards.folder == home / "etc"
    typed = robot(home, text, "robot.rewards.command=[python, mine.py]")
    assert typed.rewards.folder == home / "elsewhere"
    chosen = robot(home, text, "robot.rewards.folder=/srv")
    assert chosen.rewards.folder == Path("/srv")


def test_a_saved_config_means_the_same_from_its_new_place(home):
    before = robot(home, "state_dir: s\n  rewards: {command: [judge]}\n  limits: {model: m.xml}")
    dump(before, home / "elsewhere" / "deep" / "saved.yaml")
    assert load(RobotConfig, home / "elsewhere" / "deep" / "saved.yaml") == before


def test_a_relative_path_of_a_program_is_saved_as_it_was_used(home):
    used = RobotConfig(name="a", family="reach", state_dir=Path("s"))
    dump(used, home / "etc" / "saved.yaml")
    assert load(RobotConfig, home / "etc" / "saved.yaml").state_dir == home / "elsewhere" / "s"


def test_a_working_folder_that_is_gone_is_said(home):
    robot(home)
    (home / "elsewhere").rmdir()
    assert robot(home).state_dir == home / "etc" / "runs" / "robot"
    with pytest.raises(ConfigError, match="the working folder is gone"):
        robot(home, "", "robot.state_dir=x")
    os.chdir("/")
