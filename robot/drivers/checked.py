"""The boundary to a driver: what crosses it is checked, and is an array of one's own on each side.

Wraps any driver, once, where it is looked up or a robot is made ready. A driver's mistakes end here
as sentences that name it and its method. It must not know the loop, nor what is done about a fault.
"""

from __future__ import annotations

import logging
import numbers
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fieldtune.robot.drivers.driver import Array, Driver, DriverFault, Observation
from fieldtune.robot.drivers.offered import offered
from fieldtune.robot.drivers.person import NotOffered
from fieldtune.robot.safety.estop import EmergencyStop, WaitAbandoned

log = logging.getLogger(__name__)

_FLOAT = np.dtype(np.float64)
_OWN_WORDS = (DriverFault, NotOffered, EmergencyStop, WaitAbandoned)  # say what is meant already
_KEPT = 8
_LIBRARY = str(Path(os.__file__).parent)


def checked(driver: Driver, name: str) -> CheckedDriver:
    """The driver behind its boundary; itself where it is behind one already.

    Args:
        name: `robot.driver.name`, for messages.

    Raises `DriverFault` where it is no driver.
    """
    if isinstance(driver, CheckedDriver):
        return driver
    return CheckedDriver(driver, described(driver, name))


def described(driver: object, name: str) -> str:
    """How messages name a driver: `driver 'arm' (my_arm.ArmDriver)`."""
    kind = type(driver)
    return f"driver {name!r} ({kind.__module__}.{kind.__qualname__})"


class CheckedDriver:
    """Implements `fieldtune.robot.drivers.driver.Driver` around a driver that may be wrong.

    Fields, period and model are read once, when it is made. What `read` and `apply` give is copied,
    and frozen; what `apply` and `reward` are given is a copy too, the driver's to change. What is
    raised or given that should not be is a `DriverFault`; only what an emergency stop or the end of
    a run raises passes as it is. Before `connect` nothing reaches the driver: `hold` and `close`
    do nothing then.
    """

    def __init__(self, driver: Driver, label: str) -> None:
        """Raises `DriverFault` for what a driver must have and this one has not."""
        found = offered(driver, label)
        self.driver = driver
        self.label = label
        self.robot, self.period_s, self.time_scale = found.robot, found.period_s, found.time_scale
        self.observation_fields = found.observation_fields
        self.action_fields = found.action_fields
        self._observation_shape = (sum(field.width for field in found.observation_fields),)
        self._action_shape = (sum(field.width for field in found.action_fields),)
        self._connected = False
        self._raised: list[tuple[str, BaseException]] = []
        if hasattr(driver, "reward"):  # an attribute, so that `RewardSource` is found by it
            self.reward = self._reward
        if hasattr(driver, "guided_action"):  # as above
            self.release, self.guided_action = self._release, self._guided_action
        if hasattr(driver, "teleoperated_action"):
            self.teleoperated_action = self._teleoperated_action

    def __getattr__(self, name: str) -> Any:
        """What this driver offers beyond the protocol."""
        if name == "driver":  # asked for by copy and pickle before there is one
            raise AttributeError(name)
        return getattr(self.driver, name)

    def connect(self) -> None:
        self._connected = True  # from here on something may be open
        try:
            self._call("connect", self.driver.connect)
        except BaseException:
            self._connected = False
            self._close_half_open()
            raise

    def home(self, seed: int) -> None:
        self._call("home", self.driver.home, seed)

    def read(self) -> Observation:
        seen = self._call("read", self.driver.read)
        if not isinstance(seen, Observation):
            raise self._gave("read", seen, "an Observation (fieldtune.robot.drivers.driver)")
        signals = seen.signals
        return Observation(
            self._own("read", "values", seen.values, self._observation_shape),
            self._time(seen.sense_ns),
            self._truth(seen.terminated),
            None if signals is None else self._own("read", "signals", signals, None),
        )

    def apply(self, action: Array) -> Array:
        """What was applied; `action` itself where that is the same."""
        applied = self._call("apply", self.driver.apply, action.copy())
        if type(applied) is np.ndarray and _same(applied, action):
            return action
        return self._own("apply", "what was applied", applied, self._action_shape)

    def hold(self) -> None:
        if not self._connected:
            return
        self._call("hold", self.driver.hold)

    def close(self) -> None:
        if not self._connected:
            return
        try:
            self._call("close", self.driver.close)
        except DriverFault:
            with suppress(DriverFault):  # what closing raised is told
                self.hold()
            raise
        finally:
            self._connected = False
            self._log_raised()

    def _reward(self, observation: Array, action: Array, next_observation: Array) -> float:
        copies = (observation.copy(), action.copy(), next_observation.copy())
        reward = self._call("reward", self.driver.reward, *copies)  # type: ignore[attr-defined]
        if not isinstance(reward, numbers.Real):
            raise self._gave("reward", reward, "a number")
        return float(reward)

    def _release(self) -> None:
        self._call("release", self.driver.release)  # type: ignore[attr-defined]

    def _guided_action(self) -> Array:
        return self._action("guided_action")

    def _teleoperated_action(self) -> Array:
        return self._action("teleoperated_action")

    def _action(self, method: str) -> Array:
        """What a person does; numbers that are none end here, before any limit looks at them."""
        action = self._own(
            method,
            "an action",
            self._call(method, getattr(self.driver, method)),
            self._action_shape,
        )
        if not np.isfinite(action).all():
            raise DriverFault(f"{self.label}.{method} gave {action}, expected finite numbers")
        return action

    def _call(self, method: str, call: Callable[..., Any], *arguments: Any) -> Any:
        if not self._connected:
            raise DriverFault(f"{self.label}.{method} is not connected: call connect() first")
        try:
            return call(*arguments)
        except _OWN_WORDS:
            raise
        except (Exception, SystemExit, GeneratorExit) as error:  # a vendor's sys.exit() is no end
            raise DriverFault(self._kept(method, error)) from error

    def _own(self, method: str, what: str, given: Any, shape: tuple[int, ...] | None) -> Array:
        """A frozen copy of what a driver gave; of any length where `shape` is None."""
        if type(given) is np.ndarray and given.dtype is _FLOAT and given.shape == shape:
            own = given.copy()
        else:
            own = self._converted(method, what, given, shape)
        own.setflags(write=False)
        return own

    def _converted(
        self, method: str, what: str, given: Any, shape: tuple[int, ...] | None
    ) -> Array:
        wanted = "numbers" if shape is None else f"{shape[0]} numbers"
        if not isinstance(given, np.ndarray) or isinstance(given, np.ma.MaskedArray):
            raise self._gave(
                method, given, f"a numpy array of {wanted}: numpy.array(..., dtype=float)", what
            )
        if given.dtype.kind not in "fiu":
            raise DriverFault(
                f"{self.label}.{method} gave {what} of type {given.dtype}, expected {wanted}"
            )
        if given.shape != shape and (shape is not None or given.ndim != 1):
            fields = "observation_fields" if method == "read" else "action_fields"
            raise DriverFault(
                f"{self.label}.{method} gave {what} of shape {given.shape}, expected "
                f"{shape or '(n,)'}: one number for each component of its {fields}"
            )
        return np.array(given, dtype=np.float64)

    def _time(self, sense_ns: Any) -> int:
        if type(sense_ns) is int:
            return sense_ns
        if isinstance(sense_ns, np.integer):
            return int(sense_ns)
        raise self._gave("read", sense_ns, "whole nanoseconds: time.monotonic_ns()", "sense_ns")

    def _truth(self, terminated: Any) -> bool:
        if terminated is False or terminated is True:
            return terminated
        if isinstance(terminated, np.bool_):
            return bool(terminated)
        raise self._gave("read", terminated, "True or False", "terminated")

    def _gave(self, method: str, given: Any, expected: str, what: str = "") -> DriverFault:
        kind = "nothing (None)" if given is None else f"a {type(given).__name__}"
        given_as = f"{what} as {kind}" if what else kind
        return DriverFault(f"{self.label}.{method} gave {given_as}, expected {expected}")

    def _kept(self, method: str, error: BaseException) -> str:
        """What went wrong in a sentence. Its traceback is logged at `close`: not before a hold."""
        text = f"{self.label}.{method} raised {type(error).__name__}: {error} ({_place(error)})"
        if len(self._raised) < _KEPT:
            self._raised.append((text, error))
        return text

    def _log_raised(self) -> None:
        for text, error in self._raised:
            log.error("%s", text, exc_info=error)
        self._raised.clear()

    def _close_half_open(self) -> None:
        """After a `connect` that failed, which should leave nothing open."""
        try:
            self.driver.close()
        except Exception as error:
            log.debug("%s.close after a connect that failed: %s", self.label, error)
        self._log_raised()


def _same(one: Array, other: Array) -> bool:
    """Whether two arrays are the same to the bit: in a fraction of the time that `==` takes."""
    return (
        one.dtype is other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


def _place(error: BaseException) -> str:
    """The last line of it that is not Python's own library, which a driver's author did not write.
    Reads no source file: the robot does not hold yet."""
    frame = last = error.__traceback__
    while frame is not None:
        name = frame.tb_frame.f_code.co_filename
        if not name.startswith(_LIBRARY) or "-packages" in name:
            last = frame
        frame = frame.tb_next
    if last is None:
        return "nobody knows where"
    return f"{Path(last.tb_frame.f_code.co_filename).name}, line {last.tb_lineno}"
