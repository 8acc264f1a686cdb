"""The driver protocol: the one short interface between the loop and any hardware."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.export.manifest import FieldSpec

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Observation:
    """What was sensed, and when: `sense_ns` is on this robot's monotonic clock.

    `terminated` says the hardware reached a state from which the episode cannot go on. `signals`
    are what was measured on the way here, for rewards alone; None where the family has none, and at
    an episode's start.
    """

    values: Array
    sense_ns: int
    terminated: bool = False
    signals: Array | None = None


class DriverFault(UserError):
    """The hardware cannot go on. The message says what happened and how to cure it."""


class Driver(Protocol):
    """What a robot must offer. Fields are readable while disconnected, and stay as they are.

    Only `home` and `apply` move it. Arrays are copied on their way in and out
    (`fieldtune.robot.drivers.checked`): a driver may hand out its own buffer, keep what it was
    given, and change either. What it raises is a fault; a `DriverFault` says in its own words what
    to do. Before `connect`, and after `close`, only properties are read.
    """

    @property
    def robot(self) -> str:
        """The model's name, e.g. `sawyer`."""
        ...

    @property
    def observation_fields(self) -> tuple[FieldSpec, ...]: ...

    @property
    def action_fields(self) -> tuple[FieldSpec, ...]: ...

    @property
    def period_s(self) -> float: ...

    @property
    def time_scale(self) -> float:
        """How much faster than the wall clock this robot's time runs; 1.0 for all real hardware."""
        ...

    def connect(self) -> None:
        """Open the hardware. Raises `DriverFault`; leaves nothing half-open."""
        ...

    def home(self, seed: int) -> None:
        """Bring the robot to the start of an episode; `seed` picks among allowed starts.

        It may be left by any exception: an emergency stop, or a signal that ends the run, raises
        one from a signal handler, which is no `Exception` and must be let through. So may `read`
        and `apply`, where they take longer than an observation may be old.
        """
        ...

    def read(self) -> Observation:
        """The latest observation, with the time it was *sensed*, not the time it was asked for.

        `values` is a numpy array of one number for each component of `observation_fields`.
        Without waiting: the last one again where there is none newer. The loop looks at its age. A
        driver that may block belongs behind a server that stops the robot by itself.
        """
        ...

    def apply(self, action: Array) -> Array:
        """Command one action; return what the hardware really got, an array of the same length."""
        ...

    def hold(self) -> None:
        """Enter the safe state: stop where it is. Must not raise: that is a fault of its own.

        From the loop's thread; from another one only while the loop is in inference, and in no call
        of this driver.
        """
        ...

    def close(self) -> None:
        """Hold, then release the hardware. Safe to call twice."""
        ...
