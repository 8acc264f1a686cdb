"""A robot that lives by itself: its sensor reads the time, and it moves on uncommanded.

A driver that another package offers, for a process of its own. Whatever happens to the robot stands
in a file, with the monotonic time, as soon as it happens.
"""

from __future__ import annotations

import math
import os
import select
import time
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import Observation


class LiveOptions(BaseModel):
    """`answer_s` is how long each `read` takes, `home_s` homing, `hold_s` holding. From read number
    `blocks_at` on, `read` waits for what never comes. `over` says `terminated` at once. `prints`
    has the driver print in each `apply`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    events: Path
    period_s: float = 0.02
    answer_s: float = 0.0
    home_s: float = 0.0
    hold_s: float = 0.0
    blocks_at: int | None = None
    over: bool = False
    prints: bool = False


class LiveDriver:
    """Implements the driver protocol: a velocity is commanded and kept."""

    Options = LiveOptions
    robot = "mass"
    time_scale = 1.0
    observation_fields = (
        FieldSpec(name="position", unit="m", low=(-100.0,), high=(100.0,)),
        FieldSpec(name="velocity", unit="m/s", low=(-math.inf,), high=(math.inf,)),
    )
    action_fields = (FieldSpec(name="force", unit="N", low=(-2.0,), high=(2.0,)),)

    def __init__(self, family: str, options: LiveOptions) -> None:  # noqa: ARG002
        self._options = options
        self.period_s = options.period_s
        self._position = self._velocity = 0.0
        self._at = time.monotonic()
        self._reads = 0
        self._events = -1

    def connect(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._events = os.open(self._options.events, flags, 0o644)

    def home(self, seed: int) -> None:  # noqa: ARG002
        until = time.monotonic() + self._options.home_s
        while time.monotonic() < until:
            self._happens("homing")
            time.sleep(0.005)
        self._position = self._velocity = 0.0
        self._at = time.monotonic()

    def read(self) -> Observation:
        self._reads += 1
        if self._reads == self._options.blocks_at:
            select.select([os.pipe()[0]], [], [])
        time.sleep(self._options.answer_s)
        now = time.monotonic()
        self._position += self._velocity * (now - self._at)
        self._at = now
        values = np.array([self._position, self._velocity])
        return Observation(values, time.monotonic_ns(), self._options.over)

    def apply(self, action: np.ndarray) -> np.ndarray:
        self._happens("apply")
        if self._options.prints:
            print("x" * 1000)
        self._velocity = float(action[0])
        return action

    def hold(self) -> None:
        if self._events < 0:
            return
        self._happens("holds")
        until = time.monotonic() + self._options.hold_s
        while time.monotonic() < until:
            time.sleep(0.005)
        self._velocity = 0.0
        self._happens("held")

    def close(self) -> None:
        self.hold()
        if self._events >= 0:
            self._happens("closed")
            os.close(self._events)
            self._events = -1

    def _happens(self, what: str) -> None:
        os.write(self._events, f"{what} {time.monotonic_ns()}\n".encode())
