"""What a driver may offer beyond the protocol, so that a person can show what is to be done.

Optional: a driver has these methods, or not. It must not know what is done with what they give.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError

Array = NDArray[np.float64]

OPTIONAL = {
    "reward": ("observation", "action", "next_observation"),
    "release": (),
    "guided_action": (),
    "teleoperated_action": (),
}
"""Every method that a driver may have besides, with what it takes."""


def offered_besides(driver: object) -> list[str]:
    """Those of `OPTIONAL` that a driver has; a `release` for something else is none of them."""
    found = [name for name in OPTIONAL if hasattr(driver, name)]
    return [name for name in found if name != "release" or "guided_action" in found]


class NotOffered(UserError):
    """This hardware has no such thing. The message says what it lacks, and what to do instead."""


@runtime_checkable
class HandGuided(Protocol):
    """A driver whose robot a person can move by hand."""

    def release(self) -> None:
        """Let a person move the robot from where it is, until `hold`: brakes open, its own weight
        carried, nothing commanded. Moves nothing itself. Raises `NotOffered` where it cannot."""
        ...

    def guided_action(self) -> Array:
        """The action that the motion from the `read` before the latest one to the latest amounts
        to, `(action,)`, in the units and order of `action_fields`; a place where the action says
        where to be, a displacement where it says how far to go."""
        ...


@runtime_checkable
class Teleoperated(Protocol):
    """A driver that knows what a person commands: by a leader arm, a glove, a joystick."""

    def teleoperated_action(self) -> Array:
        """The action that the person commands now, `(action,)`, within its bounds. Commands
        nothing itself, and never waits. Raises `NotOffered` where there is nobody to."""
        ...
