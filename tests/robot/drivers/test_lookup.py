"""Drivers are found by name among what is installed, and bring their own options."""

from __future__ import annotations

import math

import pytest

from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.drivers.lookup import create_driver
from fieldtune.robot.drivers.sim import SimDriver
from fieldtune.settings import ConfigError


def config(model=None, **driver) -> RobotConfig:
    return RobotConfig(name="m1", family="cheetah-vel", model=model, driver=driver)


def test_the_configured_driver_gets_its_options():
    driver = create_driver(config(name="sim", time_scale=math.inf, task=[1.0]), "x.yaml")
    assert isinstance(driver.driver, SimDriver)
    assert driver.time_scale == math.inf


def test_the_simulated_robot_is_the_configured_model():
    reach = RobotConfig(name="m1", family="reach", model="panda")
    assert create_driver(reach, "x.yaml").robot == "panda"
    with pytest.raises(DriverFault, match=r"robot\.family, robot\.model: .*unknown robot 'r2d2'"):
        create_driver(reach.model_copy(update={"model": "r2d2"}), "x.yaml")


def test_another_package_brings_a_driver_by_its_entry_point(tmp_path, monkeypatch):
    """As `pip install` leaves it: a module, and its metadata beside it."""
    (tmp_path / "their_arm.py").write_text(THEIRS)
    metadata = tmp_path / "their_arm-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-arm\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[fieldtune.drivers]\ntheirs = their_arm:TheirArm\n")
    monkeypatch.syspath_prepend(tmp_path)
    driver = create_driver(config(name="theirs", port="/dev/arm"), "x.yaml")
    assert (driver.robot, driver.port) == ("cheetah-vel", "/dev/arm")
    broken = create_driver(config(name="theirs", port="x", faults={"dead": "raise"}), "x.yaml")
    broken.connect()
    with pytest.raises(DriverFault, match="the link is dead"):
        broken.read()
    with pytest.raises(ConfigError, match=r"missing key 'robot\.driver\.port'"):
        create_driver(config(name="theirs"), "x.yaml")
    assert create_driver(config("cheetah-vel", name="theirs", port="x"), "x.yaml").port == "x"
    with pytest.raises(
        ConfigError, match=r"'robot\.model' is 'ant': driver .* is of 'cheetah-vel'"
    ):
        create_driver(config("ant", name="theirs", port="x"), "x.yaml")


THEIRS = """
from pydantic import BaseModel, ConfigDict
from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.faults import FaultOptions

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    port: str
    faults: FaultOptions | None = None

class TheirArm:
    Options = Options
    observation_fields = action_fields = (FieldSpec(name="x", unit="", low=(-1.0,), high=(1.0,)),)
    period_s, time_scale = 0.02, 1.0

    def __init__(self, family, options):
        self.robot, self.port = family, options.port

    def connect(self): ...
    def home(self, seed): ...
    def read(self): ...
    def apply(self, action): ...
    def hold(self): ...
    def close(self): ...
"""


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        ({"name": "simm"}, "x.yaml: 'robot.driver.name' is 'simm': no such driver; did you mean"),
        ({"name": "zzz"}, "installed: "),
        ({"timescale": 1}, "unknown key 'robot.driver.timescale': did you mean 'robot.driver.time"),
        ({"task": "far"}, "x.yaml: 'robot.driver.task' is 'far': expected a valid array"),
        ({"time_scale": 0}, "'robot.driver.time_scale' is 0: expected greater than 0"),
    ],
)
def test_a_driver_that_cannot_be_is_explained(driver, says):
    with pytest.raises(ConfigError) as caught:
        create_driver(config(**driver), "x.yaml")
    assert says in str(caught.value)
