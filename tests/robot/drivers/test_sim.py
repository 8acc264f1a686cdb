"""The sim driver: the family's reference environment behind the interface that hardware has."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.drivers.sim import SimDriver, SimOptions
from fieldtune.sim import registry


@pytest.fixture
def make_driver():
    made = []

    def make(family: str = "cheetah-vel", model: str | None = None, **options) -> SimDriver:
        made.append(SimDriver(family, SimOptions(**options), model))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


def test_fields_are_the_familys_and_readable_while_disconnected(make_driver):
    driver, family = make_driver(), registry.family("cheetah-vel")
    for mine, theirs in (
        (driver.observation_fields, family.observation_fields),
        (driver.action_fields, family.action_fields),
    ):
        assert [(f.name, f.unit, f.low, f.high) for f in mine] == [
            (f.name, f.unit, f.low, f.high) for f in theirs
        ]
    assert (driver.robot, driver.period_s) == (family.robot, family.period_s)


@pytest.mark.parametrize("family", ["cheetah-vel", pytest.param("reach", marks=pytest.mark.slow)])
def test_it_steps_the_familys_own_single_robot(make_driver, family):
    driver, reference = make_driver(family), registry.family(family).single_robot()
    driver.connect()
    driver.home(5)
    expected = reference.reset(5, registry.family(family).sample_tasks(0, 1)[0])
    rng = np.random.default_rng(0)
    action_width = sum(field.width for field in driver.action_fields)
    for _ in range(10):
        np.testing.assert_array_equal(driver.read().values, expected)
        action = 0.05 * rng.uniform(-1, 1, action_width)
        assert driver.apply(action).tolist() == action.tolist()
        expected, _ = reference.step(action)
    reference.close()


def test_an_observation_keeps_the_time_it_was_sensed_at(make_driver):
    driver = make_driver()
    driver.connect()
    first, again = driver.read(), driver.read()
    assert first.sense_ns == again.sense_ns
    driver.apply(np.zeros(6))
    assert driver.read().sense_ns > first.sense_ns


def test_what_was_read_does_not_change_afterwards(make_driver):
    driver = make_driver()
    driver.connect()
    before = driver.read().values
    kept = before.copy()
    driver.apply(np.ones(6))
    np.testing.assert_array_equal(before, kept)


def test_it_cannot_be_used_while_disconnected(make_driver):
    driver = make_driver()
    for use in (driver.read, lambda: driver.apply(np.zeros(6)), lambda: driver.home(0)):
        with pytest.raises(DriverFault, match="not connected"):
            use()
    driver.hold()
    driver.close()
    driver.close()


def test_its_reward_is_the_familys_for_the_given_task(make_driver):
    driver = make_driver(task=(1.5,))
    driver.connect()
    before = driver.read().values
    action = np.full(6, 0.5)
    driver.apply(action)
    after = driver.read().values
    expected = registry.family("cheetah-vel").reward(before, action, after, np.array([1.5]))
    assert driver.reward(before, action, after) == expected


def test_without_a_task_the_seed_draws_one(make_driver):
    drivers = [make_driver(seed=seed) for seed in (0, 0, 1)]
    zero = np.zeros(20)
    rewards = [driver.reward(zero, np.zeros(6), zero) for driver in drivers]
    assert rewards[0] == rewards[1] != rewards[2]


def test_time_scale_is_handed_on(make_driver):
    assert make_driver().time_scale == 1.0
    assert make_driver(time_scale=math.inf).time_scale == math.inf


@pytest.mark.parametrize(
    ("family", "options", "says"),
    [
        ("cheetah", {}, "unknown task family 'cheetah'"),
        ("reach", {"model": "r2d2"}, "unknown robot 'r2d2'"),
        ("cheetah-vel", {"task": (1.0, 2.0)}, r"expects 1 numbers \(velocity\)"),
    ],
)
def test_what_it_cannot_be_is_explained(make_driver, family, options, says):
    with pytest.raises(DriverFault, match=says):
        make_driver(family, **options)


def test_model_chooses_among_the_familys_robots(make_driver):
    assert make_driver("reach", model="panda").robot == "panda"
