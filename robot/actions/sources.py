"""What acts in the place of a policy, and how the loop asks it.

Holds the contract. It must not know any one source, nor the limits that its actions go through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.robot.episodes.episode import Mode

Array = NDArray[np.float64]


class ActionsError(UserError):
    """Who should act does not, or gives what is no action. The message says what to do."""


class Script(Protocol):
    """What a package offers in the entry-point group `fieldtune.scripts`: a class, or whatever is
    called with `observation_fields`, `action_fields` (`FieldSpec`, in order) and `period_s`."""

    def begin(self, seed: int) -> None:
        """An episode is about to begin, from the start that `seed` picks."""
        ...

    def act(self, observation: Array) -> Array:
        """The action `(action,)` for an observation `(observation,)`, physical units, within a
        small part of a control period. What it raises is a fault."""
        ...


class ActionSource(Protocol):
    """Who acts. `mode` is what episodes are called by that, `by` who in words.

    `in_driver` says that it asks the driver, whom no other thread may use meanwhile.
    """

    mode: Mode
    by: str
    in_driver: bool

    def open(self) -> None:
        """Get ready, before the robot is connected. Raises `ActionsError`, leaving nothing open."""
        ...

    def begin(self, seed: int, stop: Callable[[], str]) -> None:
        """An episode is about to begin; the robot rests. May wait, until `stop()` says why not to.

        Raises `ActionsError`.
        """
        ...

    def require(self) -> None:
        """Once the robot is connected: raise `NotOffered` where it has not what this needs."""
        ...

    def act(self, observation: Array) -> Any:
        """The action for this observation, as the source gives it."""
        ...

    def close(self) -> None:
        """Safe to call twice."""
        ...


class Steered:
    """Implements `fieldtune.robot.loop.parts.Actor` with a source.

    What it gives is held to be `width` numbers. Whether these are numbers, and within bounds, the
    limits look at, as of any policy's action.
    """

    def __init__(self, source: ActionSource, width: int) -> None:
        self._source, self._width = source, width

    def act(self, observation: Array, *_: object) -> Array:
        """Raises `ActionsError` where it gives something else."""
        given = self._source.act(observation.copy())
        try:
            action = np.array(given, dtype=np.float64)
        except (TypeError, ValueError):
            action = np.empty(0)
        if action.shape != (self._width,):
            raise ActionsError(
                f"{self._source.by} gave {str(given)[:80]!r} as an action, expected {self._width} "
                "numbers, in the order of the driver's action fields"
            )
        return action


class NoZ:
    """Where no policy acts, no z is followed: none has a component."""

    def next(self) -> Array:
        return np.empty(0)
