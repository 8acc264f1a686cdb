"""What rewards need and no observation shows is logged with the step that it led to."""

from __future__ import annotations

import msgspec
import numpy as np

from fieldtune.robot.drivers.sim import SimDriver, SimOptions
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import EndReason, EpisodeFooter, Step
from fieldtune.sim import registry

STEP = Step(
    index=0,
    sense_ns=1,
    observation=[0.0],
    observation_age_ns=0,
    requested=[0.0],
    applied=[0.0],
    reason="",
    z=[],
    infer_ns=0,
    apply_ns=0,
    overrun=False,
)


def test_the_simulated_robot_rewards_what_it_measured():
    family = registry.family("hopper-params")
    driver, robot = SimDriver("hopper-params", SimOptions(seed=3)), family.single_robot()
    task = family.sample_tasks(3, 1)[0]
    driver.connect()
    driver.home(5)
    assert driver.read().signals is None
    before = robot.reset(5, task)
    for action in np.random.default_rng(0).uniform(-1, 1, (5, 3)):
        driver.apply(action)
        after, _ = robot.step(action)
        np.testing.assert_array_equal(driver.read().signals, robot.signals())
        expected = family.reward(before, action, after, task, robot.signals())
        assert driver.reward(before, action, after) == expected
        before = after
    driver.close()
    robot.close()


def test_a_family_without_signals_logs_none():
    driver = SimDriver("cheetah-vel", SimOptions())
    driver.connect()
    driver.apply(np.zeros(6))
    assert driver.read().signals is None
    driver.close()


def test_a_step_without_signals_has_the_bytes_it_always_had():
    assert b"signals" not in codec.pack(STEP)
    footer = EpisodeFooter(end_reason=EndReason.HORIZON, steps=1, final_observation=[0.0])
    assert b"signals" not in codec.pack(footer)


def test_signals_come_back_as_they_were_packed():
    measured = msgspec.structs.replace(STEP, signals=[1.5, -2.0])
    assert codec.unpack_step(codec.pack(measured)) == measured
    assert codec.unpack_step(codec.pack(STEP)).signals is msgspec.UNSET
