"""Serves a simulated robot of one of Fieldtune's families, as if it were hardware.

    python servers/serve_sim.py cheetah-vel --address tcp://127.0.0.1:5790

Needs Fieldtune with its simulators; time passes only under a command.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from hardware_frames import Description, Field, Sensed
from hardware_server import parser, serve

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.sim import SimDriver, SimOptions
from fieldtune.sim import family, registry


class Simulated:
    """Implements `hardware_rules.GuidedPlant` and `TeleoperatedPlant` with the `sim` driver."""

    def __init__(self, driver: SimDriver) -> None:
        self._driver = driver
        self._driven = False

    def home(self, seed: int) -> None:
        self._driven = False
        self._driver.home(seed)

    def homed(self) -> bool:
        return True

    def sense(self) -> Sensed:
        """At rest nothing changes, so that what was is what is."""
        seen = self._driver.read()
        sense_ns = seen.sense_ns if self._driven else time.monotonic_ns()
        signals = () if seen.signals is None else seen.signals.tolist()
        return Sensed(seen.values.tolist(), sense_ns, seen.terminated, signals)

    def apply(self, action: Sequence[float]) -> list[float]:
        self._driven = True
        return self._driver.apply(np.array(action)).tolist()

    def hold(self) -> None:
        self._driven = False
        self._driver.hold()

    def release(self) -> None:
        self._driven = True  # it moves by itself from here on
        self._driver.release()

    def guided(self) -> list[float]:
        return self._driver.guided_action().tolist()

    def commanded(self) -> list[float]:
        return self._driver.teleoperated_action().tolist()


def describe(driver: SimDriver, signals: Sequence[family.Field]) -> Description:
    return Description(
        robot=driver.robot,
        period_s=driver.period_s,
        max_lease_s=10 * driver.period_s,
        observation=_fields(driver.observation_fields),
        action=_fields(driver.action_fields),
        signals=_fields(signals),
    )


def _fields(fields: Sequence[FieldSpec | family.Field]) -> tuple[Field, ...]:
    return tuple(Field(item.name, item.unit, item.low, item.high) for item in fields)


if __name__ == "__main__":
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("family", choices=registry.names())
    arguments.add_argument("--model", help="the family's robot, where it has several")
    arguments.add_argument("--seed", type=int, default=0, help="draws the hidden task")
    given = arguments.parse_args()
    robot = SimDriver(given.family, SimOptions(seed=given.seed), given.model)
    robot.connect()
    signals = registry.family(given.family).signal_fields
    serve(Simulated(robot), describe(robot, signals), given)
