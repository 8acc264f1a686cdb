"""Drivers are found by name among what is installed, and bring their own options."""

from __future__ import annotations

import math

import pytest

from robot.config import RobotConfig
from robot.drivers.lookup import create_driver
from robot.drivers.sim import SimDriver
from robot.settings import ConfigError


def config(**driver) -> RobotConfig:
    return RobotConfig(name="m1", family="cheetah-vel", driver=driver)


def test_the_configured_driver_gets_its_options():
    driver = create_driver(config(name="sim", time_scale=math.inf, task=[1.0]), "x.yaml")
    assert isinstance(driver, SimDriver)
    assert driver.time_scale == math.inf


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
