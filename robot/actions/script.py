"""Actions of a script: a class of ours or of another package, by its name.

A script is a plug-in of the group `fieldtune.scripts` (`fieldtune.robot.actions.sources.Script`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldtune import plugins
from fieldtune.errors import UserError
from fieldtune.plugins import NoSuchPlugin
from fieldtune.robot.actions.sources import ActionsError
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.episodes.episode import Mode

Array = NDArray[np.float64]


class ScriptedActions:
    """Implements `fieldtune.robot.actions.sources.ActionSource` with the script called `name`."""

    mode = Mode.SCRIPTED
    in_driver = False

    def __init__(self, name: str, driver: Driver) -> None:
        """Raises `ActionsError` where there is none, or it cannot be made for this robot."""
        try:
            plugin = plugins.find("fieldtune.scripts", name)
        except NoSuchPlugin as error:
            raise ActionsError(
                f"--by is {name!r}: {error}; expected hand, teleoperation, or a script's name; "
                "--program runs a program"
            ) from None
        self.by = f"script {name} of {plugin.package}"
        script = plugin.load()
        try:
            self._script: Any = script(
                observation_fields=driver.observation_fields,
                action_fields=driver.action_fields,
                period_s=driver.period_s,
            )
        except UserError:
            raise
        except Exception as error:  # whatever another package does
            raise ActionsError(
                f"{self.by} cannot be made for this robot: {type(error).__name__}: {error}"
            ) from error

    def open(self) -> None: ...

    def begin(self, seed: int, stop: Callable[[], str]) -> None:  # noqa: ARG002
        try:
            self._script.begin(seed)
        except Exception as error:
            raise ActionsError(f"{self.by}: begin: {type(error).__name__}: {error}") from error

    def require(self) -> None: ...

    def act(self, observation: Array) -> Any:
        try:
            return self._script.act(observation)
        except Exception as error:
            raise ActionsError(f"{self.by}: act: {type(error).__name__}: {error}") from error

    def close(self) -> None: ...
