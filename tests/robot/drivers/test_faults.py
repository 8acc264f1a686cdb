"""Each injected fault has its effect, and no other; the same seed breaks the same way."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.driver import DriverFault, Observation
from fieldtune.robot.drivers.faults import FaultOptions, FaultyDriver
from fieldtune.robot.drivers.lookup import create_driver
from fieldtune.robot.rewards.driver import RewardSource
from fieldtune.settings import ConfigError

POSITION = FieldSpec(name="position", unit="m", low=(-9.0,) * 2, high=(9.0,) * 2)
SPEED = FieldSpec(name="speed", unit="m/s", low=(-9.0,), high=(9.0,))
FORCE = FieldSpec(name="force", unit="N", low=(-1.0, 0.5), high=(1.0, 2.0))


class Counter:
    """A healthy robot: its n-th observation since `home` is (n, n, n), sensed when it came."""

    robot = "counter"
    observation_fields = (POSITION, SPEED)
    action_fields = (FORCE,)
    period_s = 0.05
    time_scale = math.inf

    def __init__(self) -> None:
        self.got, self.held = [], 0

    def connect(self) -> None:
        self.home(0)

    def home(self, seed: int) -> None:  # noqa: ARG002
        self._count = itertools.count(1)
        self._latest = Observation(np.zeros(3), time.monotonic_ns())

    def read(self) -> Observation:
        return self._latest

    def apply(self, action):
        self.got.append(action.tolist())
        self._latest = Observation(np.full(3, float(next(self._count))), time.monotonic_ns())
        return action

    def hold(self) -> None:
        self.held += 1

    def close(self) -> None:
        self.hold()


def connected(**faults) -> FaultyDriver:
    driver = FaultyDriver(Counter(), FaultOptions(**faults))
    driver.connect()
    return driver


def drive(driver, steps: int = 60) -> np.ndarray:
    """What is read after each of `steps` commands."""
    seen = []
    for _ in range(steps):
        driver.apply(np.array([0.25, 1.5]))
        seen.append(driver.read())
    return seen


def values(seen) -> np.ndarray:
    return np.array([observation.values for observation in seen])


def test_without_faults_nothing_is_changed():
    driver = connected()
    np.testing.assert_array_equal(values(drive(driver))[:, 0], np.arange(1, 61))
    assert driver.got == [[0.25, 1.5]] * 60


def test_a_dropped_observation_is_the_last_one_with_its_old_time():
    seen = drive(connected(drop=0.5))
    repeated = [a is b for a, b in itertools.pairwise(seen)]
    assert 10 < sum(repeated) < 50
    steps = range(2, 61)
    fresh = [n for n, o, again in zip(steps, seen[1:], repeated, strict=True) if not again]
    assert fresh == [n for n in steps if seen[n - 1].values[0] == n]


def test_a_frozen_observation_has_old_values_and_a_new_time():
    seen = drive(connected(freeze=0.5))
    times = [observation.sense_ns for observation in seen]
    assert times == sorted(set(times))
    repeats = (np.diff(values(seen)[:, 0]) == 0).sum()
    assert 10 < repeats < 50
    frozen = values(drive(connected(freeze=1.0)))
    assert (frozen == frozen[0]).all()


def test_noise_is_on_the_named_field_alone_in_its_unit():
    seen = values(drive(connected(noise={"position": 0.1}), 2000))
    truth = np.arange(1, 2001)
    np.testing.assert_array_equal(seen[:, 2], truth)
    error = seen[:, :2] - truth[:, None]
    assert 0.09 < error.std() < 0.11
    assert abs(error.mean()) < 0.01


def test_nan_takes_one_component():
    broken = np.isnan(values(drive(connected(nan=0.5))))
    assert 10 < broken.any(axis=1).sum() < 50
    assert (broken.sum(axis=1) <= 1).all()


def test_what_was_broken_is_not_the_drivers_own_memory():
    driver = connected(nan=1.0)
    assert np.isnan(driver.read().values).any()
    assert np.isfinite(driver._driver.read().values).all()


def test_latency_shows_what_was_sensed_that_long_ago():
    driver = connected(latency_s=0.03)
    driver.read()
    for _ in range(40):
        driver.apply(np.array([0.0, 1.0]))
        observation, newest = driver.read(), driver._driver.read()
        if observation.values[0] > 0:  # else nothing has arrived yet, and the start is seen
            assert time.monotonic_ns() - observation.sense_ns >= 30_000_000
        time.sleep(0.002)
    assert 0 < observation.values[0] < newest.values[0]
    time.sleep(0.05)
    assert driver.read().sense_ns == newest.sense_ns


def test_a_stuck_joint_gets_the_rest_action_and_the_driver_says_so():
    driver = connected(stuck={"force": (1,)})
    assert driver.apply(np.array([0.25, 1.5])).tolist() == [0.25, 0.5]
    assert driver.got == [[0.25, 0.5]]


def test_a_dead_link_raises_whatever_is_asked_of_it_and_still_holds():
    driver = connected(dead="raise", after=2)
    drive(driver, 1)
    driver.apply(np.array([0.0, 1.0]))
    for use in (driver.read, lambda: driver.apply(np.zeros(2)), lambda: driver.home(0)):
        with pytest.raises(DriverFault, match="the link is dead"):
            use()
    driver.hold()
    assert driver.held == 1
    assert len(driver.got) == 2


def test_a_link_that_hangs_keeps_who_uses_it_waiting_first():
    driver = connected(dead="hang", hang_s=0.05)
    before = time.monotonic()
    with pytest.raises(DriverFault, match="the link is dead"):
        driver.read()
    assert time.monotonic() - before >= 0.05


@pytest.mark.parametrize(
    "faults",
    [
        {"drop": 1.0},
        {"freeze": 1.0},
        {"noise": {"speed": 1.0}},
        {"nan": 1.0},
        {"latency_s": 60.0},
        {"stuck": {"force": (0,)}},
    ],
)
def test_no_fault_begins_before_its_time(faults):
    driver = connected(after=10, **faults)
    np.testing.assert_array_equal(values(drive(driver, 9))[:, 0], np.arange(1, 10))
    assert driver.got == [[0.25, 1.5]] * 9
    seen = values(drive(driver, 10))
    healthy = np.arange(10, 20)[:, None] == seen
    assert not healthy.all() or driver.got[-1] != [0.25, 1.5]


def test_the_same_seed_breaks_the_same_way_and_another_one_otherwise():
    faults = {"drop": 0.2, "freeze": 0.2, "noise": {"position": 0.1}, "nan": 0.1}
    first, again, other = (values(drive(connected(seed=seed, **faults))) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


def test_connecting_anew_begins_the_same_faults_anew():
    driver = connected(noise={"position": 0.1}, after=3)
    first = values(drive(driver))
    driver.connect()
    np.testing.assert_array_equal(first, values(drive(driver)))


def test_one_fault_does_not_move_another():
    alone = np.isnan(values(drive(connected(nan=0.3)))).any(axis=1)
    beside = np.isnan(values(drive(connected(nan=0.3, noise={"speed": 0.1})))).any(axis=1)
    np.testing.assert_array_equal(alone, beside)


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"noise": {"sped": 1.0}}, "faults.noise: unknown observation field 'sped'; known: posit"),
        ({"stuck": {"speed": (0,)}}, "faults.stuck: unknown action field 'speed'; known: force"),
        ({"stuck": {"force": (2,)}}, r"faults.stuck.force is \[2\]: .* components 0 to 1"),
    ],
)
def test_a_fault_of_what_is_not_there_is_explained(faults, says):
    with pytest.raises(DriverFault, match=says):
        FaultyDriver(Counter(), FaultOptions(**faults))


def configured(**driver) -> RobotConfig:
    return RobotConfig(name="m1", family="cheetah-vel", driver=driver)


def test_the_simulated_robot_is_broken_by_its_settings():
    driver = create_driver(configured(name="sim", faults={"nan": 1.0}), "x.yaml")
    driver.connect()
    assert np.isnan(driver.read().values).sum() == 1
    assert isinstance(driver, RewardSource)
    driver.close()


def test_an_unknown_fault_is_explained():
    with pytest.raises(ConfigError, match=r"'robot\.driver\.faults\.latency': did you mean"):
        create_driver(configured(name="sim", faults={"latency": 1.0}), "x.yaml")
