"""Plug-ins are found by group and name; one that cannot be used says whose it is, and why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldtune import plugins
from fieldtune.plugins import GROUPS, NoSuchPlugin, PluginError
from fieldtune.robot.config import RewardsConfig, RobotConfig
from fieldtune.robot.drivers.lookup import create_driver
from fieldtune.robot.rewards.lookup import reward_stream
from fieldtune.settings import ConfigError
from fieldtune.sim import registry
from fieldtune.train.cli.app import app

CHECKOUT = str(Path(__file__).parents[2])


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_built_in_is_there(group):
    """The table's text follows the code: a class that moves takes its line along."""
    for name in plugins.BUILT_IN[group]:
        assert callable(plugins.load(group, name))


def test_another_package_is_found_and_loaded_by_its_name(install):
    install("my-arm", "[fieldtune.drivers]\narm = my_arm:Kinds.arm\n", my_arm=KINDS)
    found = plugins.find("fieldtune.drivers", "arm")
    assert (found.package, found.place) == ("my-arm 1.0", "my_arm:Kinds.arm")
    assert found.load() == "an arm"
    assert plugins.names("fieldtune.drivers") == ("sim", "zmq", "arm")
    assert plugins.problem(found) == ""


KINDS = "class Kinds:\n    arm = 'an arm'\n"


def test_a_name_that_nobody_offers_is_answered_with_those_there_are():
    with pytest.raises(NoSuchPlugin, match="no such driver; did you mean 'sim'"):
        plugins.find("fieldtune.drivers", "simm")
    with pytest.raises(NoSuchPlugin, match="no such algorithm; installed: smac, meta-bc, pearl"):
        plugins.find("fieldtune.algorithms", "zzz")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_vendor_sdk", "No module named 'no_such_vendor_sdk': install what it nee"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("Arm = 1", "AttributeError: module 'their_arm' has no attribute 'ArmDriver'"),
        (
            "from robot.drivers.driver import (\n    Driver,\n)",
            "it is called fieldtune.robot.drivers.driver now; import that",
        ),
        ("import sim.family as family", "it is called fieldtune.sim.family now"),
        ("from train import config", "it is called fieldtune.train now"),
        ("import export.manifest", "it is called fieldtune.export.manifest now"),
    ],
)
def test_one_that_cannot_be_loaded_says_whose_it_is_and_why(
    install, monkeypatch, tmp_path, text, reason
):
    monkeypatch.chdir(tmp_path)  # a checkout has folders by the names from before
    without = [place for place in sys.path if place not in ("", CHECKOUT)]
    monkeypatch.syspath_prepend(tmp_path)  # so that the whole path is what comes back
    monkeypatch.setattr(sys, "path", without)
    install("their-arm", "[fieldtune.drivers]\ntheirs = their_arm:ArmDriver\n", their_arm=text)
    with pytest.raises(ConfigError) as told:
        create_driver(
            RobotConfig(name="m1", family="reach", driver={"name": "theirs"}), "robot.yaml"
        )
    message = str(told.value)
    assert message.startswith("robot.yaml: 'robot.driver.name' is 'theirs': ")
    assert "of package their-arm 1.0 (fieldtune.drivers: their_arm:ArmDriver)" in message
    assert reason in message


def test_two_packages_of_one_name_are_told_apart_by_nobody(install):
    install("one", "[fieldtune.drivers]\narm = one:Arm\n", one="Arm = 1")
    install("two", "[fieldtune.drivers]\narm = two:Arm\n", two="Arm = 2")
    with pytest.raises(PluginError, match=r"'arm' .* is offered by .*one 1\.0 .* uninstall one of"):
        plugins.load("fieldtune.drivers", "arm")


def test_nobody_takes_the_place_of_what_is_built_in(install):
    install("evil", "[fieldtune.drivers]\nsim = evil:Sim\n", evil="Sim = 1")
    assert plugins.load("fieldtune.drivers", "sim").__name__ == "SimDriver"
    (theirs,) = (one for one in plugins.offered("fieldtune.drivers") if not one.built_in)
    assert "is never used: fieldtune has one of its own" in plugins.problem(theirs)


REWARDS = """
class Applause:
    source, error = "applause", ""

def applause(settings, driver):
    return Applause()
"""


def test_a_source_of_rewards_is_chosen_by_its_name(install):
    with pytest.raises(ValueError, match="expected 'driver', 'keys' or 'command'"):
        RewardsConfig(source="applause")
    install("claps", "[fieldtune.rewards]\napplause = claps:applause\n", claps=REWARDS)
    stream = reward_stream(RewardsConfig(source="applause"), driver=None)
    assert stream.source == "applause"


FAMILY = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Slopes:
    steepness: float = 1.0

class Bare:
    pass
"""


def test_a_family_is_chosen_by_its_name_and_takes_its_options(install):
    entries = "[fieldtune.families]\nslopes = hills:Slopes\nbare = hills:Bare\n"
    install("hills", entries, hills=FAMILY)
    assert registry.family("slopes", steepness=2.0).steepness == 2.0
    assert "slopes" in registry.names()
    with pytest.raises(registry.UnknownFamily, match="unknown option 'height'; options: steepness"):
        registry.family("slopes", height=1.0)
    with pytest.raises(PluginError, match=r"hills 1\.0 \(hills:Bare\) is no dataclass"):
        registry.family("bare")


def test_the_command_lists_what_there_is_and_what_failed(install):
    entries = "[fieldtune.drivers]\narm = my_arm:Kinds.arm\nbroken = my_arm:Broken\n"
    install("my-arm", entries, my_arm=KINDS)
    shown = CliRunner().invoke(app, ["plugins"])
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert shown.exit_code == 0
    assert [line for line in lines if line in GROUPS] == list(GROUPS)
    assert "arm my-arm 1.0 my_arm:Kinds.arm" in lines
    assert "broken FAILED my-arm 1.0 my_arm:Broken" in lines
    (failed,) = (line for line in lines if line.startswith("failed: "))
    assert "'broken' of package my-arm 1.0" in failed
    assert "AttributeError" in failed
