"""Actions that a person commands through the driver: a leader arm, a glove, a joystick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.drivers.person import NotOffered, Teleoperated
from fieldtune.robot.episodes.episode import Mode

Array = NDArray[np.float64]


class Teleoperation:
    """Implements `fieldtune.robot.actions.sources.ActionSource`."""

    mode = Mode.TELEOPERATED
    by = "a person, through the driver"
    in_driver = True

    def __init__(self, driver: Driver) -> None:
        """Raises `NotOffered` where the driver knows of nobody who commands."""
        if not isinstance(driver, Teleoperated):
            raise NotOffered(
                f"the driver of {driver.robot!r} does not say what a person commands: give it the "
                "method teleoperated_action (docs/drivers.md), or record with --by hand or a script"
            )
        self._driver = driver

    def open(self) -> None: ...

    def begin(self, seed: int, stop: Callable[[], str]) -> None: ...

    def require(self) -> None:
        """Ask once, which commands nothing."""
        self._driver.teleoperated_action()

    def act(self, observation: Array) -> Array:  # noqa: ARG002
        return self._driver.teleoperated_action()

    def close(self) -> None: ...
