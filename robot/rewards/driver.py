"""Rewards that the robot's own driver measures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.config import RewardsConfig
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.rewards.streams import NoRewards, RewardStream

Array = NDArray[np.float64]


def driver_rewards(settings: RewardsConfig, driver: Driver) -> RewardStream:  # noqa: ARG001
    """The plug-in `driver`. Raises `NoRewards` where this driver measures none."""
    if isinstance(driver, RewardSource):
        return DriverRewards(driver)
    raise NoRewards(
        f"driver of {driver.robot!r} measures no rewards, and adapting needs them: let a person "
        "give them (robot.rewards.source=keys), or a program (robot.rewards.source=command); or "
        "explore without rewards with `fieldtune-robot run`"
    )


@runtime_checkable
class RewardSource(Protocol):
    """A driver that measures what a transition was worth. Asked before the next `apply`.

    What is not finite is no reward, as where a sensor saw nothing.
    """

    def reward(self, observation: Array, action: Array, next_observation: Array) -> float: ...


class DriverRewards:
    """What the driver itself measures, at once. A reward that is no number is none."""

    source = "driver"
    error = ""

    def __init__(self, driver: RewardSource) -> None:
        self._driver = driver
        self._transitions = 0
        self._rewards: dict[int, float] = {}

    def open(self) -> None: ...

    def begin(self, number: int) -> None:  # noqa: ARG002
        self._transitions, self._rewards = 0, {}

    def follow(self, observation: Array, action: Array, next_observation: Array) -> None:
        reward = float(self._driver.reward(observation, action, next_observation))
        if math.isfinite(reward):
            self._rewards[self._transitions] = reward
        self._transitions += 1

    def so_far(self) -> dict[int, float]:
        return self._rewards.copy()  # one step of the interpreter, whoever adds meanwhile

    def collect(self, stop: Callable[[], bool]) -> dict[int, float]:  # noqa: ARG002
        return self._rewards

    def close(self) -> None: ...
