"""The driver keeps its promises, against the pretend arm; on the real one:
`fieldtune-robot check --config robot.yaml --connect`."""

import time
from importlib.metadata import entry_points

import numpy as np
import pytest
from fieldtune.robot.drivers.checked import checked
from fieldtune.robot.drivers.driver import DriverFault

from ur5e_reach.driver import FLOOR, START_NOISE, Ur5eReachDriver, above_the_floor
from ur5e_reach.kinematics import HOME, tip, tip_and_jacobian
from ur5e_reach.pretend_arm import ACCELERATION, WATCHDOG_S


@pytest.fixture
def driver():
    """Connected, and behind the boundary that the control loop has before it too."""
    made = checked(Ur5eReachDriver("ur5e-reach", Ur5eReachDriver.Options()), "ur5e-reach")
    made.connect()
    yield made
    made.close()


def joints(driver):
    return driver.read().values[:6]


def at_rest(driver):
    return np.abs(driver.read().values[6:12]).max() < 1e-3


def test_fieldtune_finds_it_by_its_name():
    found = entry_points(group="fieldtune.drivers", name="ur5e-reach")
    assert [one.load() for one in found] == [Ur5eReachDriver], "run make install"


def test_an_action_moves_it_and_hold_stops_it(driver):
    before, action = joints(driver), np.array([1.0, -1.0, 0.0, 0.0, 0.0, 0.5])
    np.testing.assert_array_equal(driver.apply(action), action)
    time.sleep(0.1)
    driver.hold()
    moved = joints(driver) - before
    assert (np.sign(moved) * np.sign(action) >= 0)[[0, 1, 5]].all()
    assert np.abs(moved[[0, 1, 5]]).min() > 0.005
    time.sleep(1.0 / ACCELERATION + 0.05)
    assert at_rest(driver)


def test_it_stops_by_itself_when_commands_stop_coming(driver):
    driver.apply(np.full(6, 1.0))
    time.sleep(WATCHDOG_S + 1.0 / ACCELERATION + 0.05)
    assert at_rest(driver)


def test_homing_ends_at_rest_near_home_and_the_seed_chooses_where(driver):
    starts = []
    for seed in (0, 1, 0):
        driver.home(seed)
        starts.append(joints(driver))
        assert np.abs(starts[-1] - HOME).max() < START_NOISE + 0.01
        assert at_rest(driver)
    np.testing.assert_allclose(starts[0], starts[2], atol=0.02)
    assert np.abs(starts[0] - starts[1]).max() > 0.02


def test_no_command_leads_the_tip_into_the_table():
    joints, down = HOME.copy(), np.array([0.3, 1.0, 0.5, 0.0, 0.0, 0.0])
    assert tip_and_jacobian(joints)[1][2] @ down < -0.2
    heights = []
    for _ in range(40):
        joints = joints + 0.05 * above_the_floor(joints, down)
        heights.append(tip(joints)[2])
    assert FLOOR - 0.01 < min(heights) < FLOOR + 0.02
    up = -down
    np.testing.assert_array_equal(above_the_floor(joints, up), up)


def test_an_observation_tells_when_it_was_sensed(driver):
    time.sleep(0.05)
    seen, now = driver.read(), time.monotonic_ns()
    assert 0 <= now - seen.sense_ns < 1_000_000_000


def test_disconnected_it_says_so():
    made = Ur5eReachDriver("ur5e-reach", Ur5eReachDriver.Options())
    with pytest.raises(DriverFault, match="not connected"):
        made.apply(np.zeros(6))
    made.close()
