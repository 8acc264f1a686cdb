"""A driver tried out without a bundle: looked at, homed, and held still for a while.

Holds what is done and what was measured. It must not know how that is judged or shown, nor where
the driver comes from.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.driver_trial.places import Moved, places_of
from fieldtune.robot.drivers.driver import Driver, Observation
from fieldtune.robot.safety.estop import EStop, WaitAbandoned
from fieldtune.robot.safety.limits import Limits, allow, check_applied, check_observation
from fieldtune.robot.safety.rest import hold
from fieldtune.robot.timing.clock import SECOND_NS, Clock, elapsed_s

Array = NDArray[np.float64]


class Stopped(Exception):
    """Somebody asked to end it. The message says who."""


@dataclass
class Cycles:
    """What was read, cycle by cycle, and commanded, where anything was. Times are monotonic ns.

    `applied` lacks the last, where what the driver says of it cannot be.
    """

    began_ns: list[int] = field(default_factory=list)
    read_ns: list[int] = field(default_factory=list)
    apply_ns: list[int] = field(default_factory=list)
    sense_ns: list[int] = field(default_factory=list)
    age_ns: list[int] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)
    commanded: list[Array] = field(default_factory=list)
    applied: list[Array] = field(default_factory=list)
    terminated: int = 0

    def add(self, began_ns: int, observation: Observation, now_ns: int) -> None:
        self.began_ns.append(began_ns)
        self.read_ns.append(now_ns - began_ns)
        self.sense_ns.append(observation.sense_ns)
        self.age_ns.append(now_ns - observation.sense_ns)
        self.values.append(observation.values)
        self.terminated += observation.terminated


class DriverTrial:
    """One connected driver. What goes wrong is raised, with the robot at rest; what was measured up
    to then stays in `looked`, `homed_s` and `stayed`. Once asked to stop, every part raises
    `Stopped`."""

    def __init__(self, driver: Driver, limits: Limits, estop: EStop) -> None:
        self.looked, self.stayed = Cycles(), Cycles()
        self.homed_s: float | None = None
        self.limits = limits
        self._driver, self._estop = driver, estop
        self._stop_reason = ""

    def request_stop(self, reason: str) -> None:
        """End soon, at rest. Safe in a signal handler."""
        self._stop_reason = reason

    def rest(self) -> None:
        """Hold; a driver that cannot is an emergency."""
        if trouble := hold(self._driver):
            self._estop.trip(trouble)

    def look(self, cycles: int) -> None:
        """Read, and judge nothing: the robot may stand anywhere. Nothing moves."""
        for _, _ in zip(range(cycles), self._clock().deadlines(), strict=False):
            self._require_wanted()
            self._read(self.looked)

    def home(self, seed: int) -> None:
        """Bring the robot to a start."""
        self._require_wanted()
        began = time.monotonic()
        try:
            with self._estop.interrupting():
                self._driver.home(seed)
        except WaitAbandoned as left:
            self.rest()
            raise Stopped(str(left)) from None
        except BaseException:
            self.rest()
            raise
        self.homed_s = time.monotonic() - began

    def where(self) -> Array:
        """The observation now, `(observation,)`, checked as the loop does."""
        observation = self._driver.read()
        check_observation(observation.values, 0.0, self.limits)
        return observation.values

    def stay(self, cycles: int, command: Array | None, *, may_move: bool = False) -> bool:
        """Leave the robot where it is, in the loop's own order and under its limits.

        Args:
            command: the action that does so, in every cycle; None commands nothing and only reads.
            may_move: whether to go on where it does not stay, as a simulation that nobody has told
                how may.

        Returns whether it ended early, because an observation was terminated. Raises `Moved`, and
        as the loop's parts do.
        """
        try:
            return self._stay(cycles, command, may_move)
        finally:
            self.rest()
            self._estop.rest()

    def _stay(self, cycles: int, command: Array | None, may_move: bool) -> bool:
        places = places_of(self._driver.observation_fields, self.limits.joints)
        noise = places.noise(self.looked.values)
        for _, _ in zip(range(cycles), self._clock().deadlines(), strict=False):
            observation = self._read(self.stayed)
            self._check(observation)
            if observation.terminated:
                return True
            if not may_move and (left := places.left(self.stayed.values, noise)):
                raise Moved(left)
            self._require_wanted()
            self._estop.check()
            if command is not None:
                self._apply(command, observation.values)
        return False

    def _require_wanted(self) -> None:
        if self._stop_reason:
            raise Stopped(f"ended by {self._stop_reason}")

    def _apply(self, command: Array, observation: Array) -> None:
        stayed = self.stayed
        before, previous = ([command, command, *stayed.commanded])[-2:]
        allowed, _ = allow(
            command,
            previous if stayed.commanded else None,
            observation,
            self.limits,
            self._driver.period_s,
            before,
        )
        self._estop.check()
        stayed.commanded.append(allowed)
        asked_ns = time.monotonic_ns()
        applied = self._driver.apply(allowed)
        stayed.apply_ns.append(time.monotonic_ns() - asked_ns)
        check_applied(applied, allowed, self.limits)
        stayed.applied.append(applied)

    def _clock(self) -> Clock:
        return Clock(self._driver.period_s, self._driver.time_scale)

    def _read(self, into: Cycles) -> Observation:
        began_ns = time.monotonic_ns()
        if into is self.stayed and self._driver.time_scale == 1.0:
            self._estop.beat(began_ns, self.limits.patience_ns)
        observation = self._driver.read()
        into.add(began_ns, observation, time.monotonic_ns())
        return observation

    def _check(self, observation: Observation) -> None:
        """As the loop does; a simulation at another pace waits for us, and nothing there ages."""
        stayed, earlier, apart_s, age_s = self.stayed, None, 0.0, 0.0
        period_s, time_scale = self._driver.period_s, self._driver.time_scale
        if len(stayed.values) > 1:
            earlier = stayed.values[-2]
            before_ns, now_ns = stayed.sense_ns[-2:]
            apart_s = elapsed_s(before_ns, now_ns, period_s, time_scale)
        if time_scale == 1.0:
            age_s = stayed.age_ns[-1] / SECOND_NS
        check_observation(
            observation.values, age_s, self.limits, earlier=earlier, elapsed_s=apart_s
        )
