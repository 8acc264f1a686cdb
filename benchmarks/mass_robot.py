"""A robot that costs nothing to move: a chain of masses, as a driver that others install.

Holds the driver and its fields; must not import torch or a simulator, since it runs in the robot's
own process. It stands for hardware whose driver answers at once, so that what is timed is the loop.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import Array, Observation

MASSES, DRIVEN = 10, 6  # 20 numbers in, 6 out: the reference's sizes for cheetah-vel
FAMILY, ROBOT = "chain", "masses"
_FAR = (1e3,) * MASSES
OBSERVATIONS = (
    FieldSpec(name="position", unit="m", low=tuple(-x for x in _FAR), high=_FAR),
    FieldSpec(name="velocity", unit="m/s", low=(-math.inf,) * MASSES, high=(math.inf,) * MASSES),
)
ACTIONS = (FieldSpec(name="force", unit="N", low=(-1.0,) * DRIVEN, high=(1.0,) * DRIVEN),)


class MassOptions(BaseModel):
    """The keys of `robot.driver` for it. `events` is a file for every command and hold, with its
    monotonic time in nanoseconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    period_s: float = Field(default=0.002, gt=0)
    events: Path | None = None


class MassDriver:
    """Implements `fieldtune.robot.drivers.driver.Driver`: neighbours joined by springs, and
    dampers."""

    Options = MassOptions
    robot, observation_fields, action_fields, time_scale = ROBOT, OBSERVATIONS, ACTIONS, 1.0

    def __init__(self, family: str, options: MassOptions) -> None:
        self.family = family
        self.period_s = options.period_s
        self._position = np.zeros(MASSES)
        self._velocity = np.zeros(MASSES)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._events = None if options.events is None else os.open(options.events, flags, 0o644)

    def connect(self) -> None: ...

    def home(self, seed: int) -> None:
        self._position = np.random.default_rng(seed).normal(0.0, 0.1, MASSES)
        self._velocity = np.zeros(MASSES)

    def read(self) -> Observation:
        return Observation(np.concatenate((self._position, self._velocity)), time.monotonic_ns())

    def apply(self, action: Array) -> Array:
        self._note("apply")
        pulled = np.diff(self._position, prepend=0.0, append=0.0)
        force = 50.0 * (pulled[1:] - pulled[:-1]) - 0.5 * self._velocity
        force[:DRIVEN] += action
        self._velocity += force * self.period_s
        self._position += self._velocity * self.period_s
        return action

    def hold(self) -> None:
        self._note("hold")
        self._velocity = np.zeros(MASSES)

    def close(self) -> None:
        self.hold()

    def _note(self, what: str) -> None:
        if self._events is not None:
            os.write(self._events, f"{what} {time.monotonic_ns()}\n".encode())


def install(folder: Path) -> None:
    """What installing a package with this driver leaves in `folder`: put that on PYTHONPATH."""
    where = folder / "mass_robot-1.dist-info"
    where.mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: mass-robot\nVersion: 1\n"
    (where / "METADATA").write_text(metadata, encoding="utf-8")
    points = "[fieldtune.drivers]\nmasses = benchmarks.mass_robot:MassDriver\n"
    (where / "entry_points.txt").write_text(points, encoding="utf-8")
