"""The driver keeps its promises, against the pretend rover; on the real one:
`fieldtune-robot check --config robot.yaml --connect`."""

import time
from importlib.metadata import entry_points

import numpy as np
import pytest
from fieldtune.robot.drivers.checked import checked
from fieldtune.robot.drivers.driver import DriverFault

from rover_velocity.driver import CLOSE, RoverVelocityDriver
from rover_velocity.pretend_rover import LAG_S, WATCHDOG_S


@pytest.fixture
def driver():
    """Connected, and behind the boundary that the control loop has before it too."""
    made = checked(RoverVelocityDriver("rover-velocity", RoverVelocityDriver.Options()), "rover")
    made.connect()
    yield made
    made.close()


def wheels(driver):
    return driver.read().values[5:]


def heading(driver):
    cos, sin = driver.read().values[:2]
    return np.arctan2(sin, cos)


def test_fieldtune_finds_it_by_its_name():
    found = entry_points(group="fieldtune.drivers", name="rover-velocity")
    assert [one.load() for one in found] == [RoverVelocityDriver], "run make install"


def test_an_action_drives_it_and_hold_stops_it(driver):
    action = np.array([6.0, 3.0])
    np.testing.assert_array_equal(driver.apply(action), action)
    time.sleep(0.12)
    seen = driver.read().values
    assert seen[2] > 0.1  # ahead is along x, where it begins
    assert seen[4] < -0.2  # the left wheel is faster: it turns right
    driver.hold()
    time.sleep(8 * LAG_S)
    assert np.abs(wheels(driver)).max() < 0.1


def test_it_stops_by_itself_when_commands_stop_coming(driver):
    driver.apply(np.full(2, 8.0))
    time.sleep(WATCHDOG_S + 8 * LAG_S)
    assert np.abs(wheels(driver)).max() < 0.1


def test_homing_ends_at_rest_and_the_seed_chooses_the_heading(driver):
    pointing = []
    for seed in (0, 1, 0):
        driver.home(seed)
        pointing.append(heading(driver))
        assert np.abs(wheels(driver)).max() < 0.15
    assert abs(pointing[0] - pointing[2]) < 3 * CLOSE
    assert abs(pointing[0] - pointing[1]) > 0.1


def test_an_observation_tells_when_it_was_sensed(driver):
    time.sleep(0.05)
    seen, now = driver.read(), time.monotonic_ns()
    assert 0 <= now - seen.sense_ns < 1_000_000_000


def test_disconnected_it_says_so():
    made = RoverVelocityDriver("rover-velocity", RoverVelocityDriver.Options())
    with pytest.raises(DriverFault, match="not connected"):
        made.apply(np.zeros(2))
    made.close()
