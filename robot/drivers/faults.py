"""Faults to inject into a simulated robot: what hardware does when it breaks, drawn from a seed.

Wraps any driver. A driver gets it by having `faults: FaultOptions | None` among its options; of the
built-in ones only `sim` has, since nobody should inject faults into a real arm. It must not know
which simulator there is, nor how the loop takes a fault. A disk is no driver's business: a slow or
full one is injected beneath the journal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import Array, Driver, DriverFault, Observation
from fieldtune.robot.drivers.person import offered_besides
from fieldtune.robot.timing.clock import SECOND_NS

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_KEPT = 100_000  # observations under way, at most


class FaultOptions(BaseModel):
    """The keys of `robot.driver.faults`. Probabilities are for each `read`, drawn from `seed`.

    Everything below waits for `after` commands since `connect`. `latency_s`: an observation arrives
    this much later than it was sensed, by the wall clock. `drop`: the last one that arrived is seen
    again, with its old time. `freeze`: its values are seen again under a new time, as from a sensor
    that hangs. `noise`: standard deviation by observation field, in its unit. `nan`: one component
    is no number. `stuck`: components by action field that do nothing. `dead`: the link is gone, and
    who uses it hears so at once (`raise`) or after `hang_s` (`hang`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seed: NonNegativeInt = 0
    after: NonNegativeInt = 0
    latency_s: Positive | None = None
    drop: Probability = 0.0
    freeze: Probability = 0.0
    noise: dict[str, Positive] = {}
    nan: Probability = 0.0
    stuck: dict[str, tuple[NonNegativeInt, ...]] = {}
    dead: Literal["raise", "hang"] | None = None
    hang_s: Positive = 10.0


class FaultyDriver:
    """Implements `fieldtune.robot.drivers.driver.Driver` around another one; breaks it as asked.

    The same seed and the same calls give the same faults, whatever other faults are asked for.
    Raises `DriverFault` for a field or a component that the driver does not have.
    """

    def __init__(self, driver: Driver, faults: FaultOptions) -> None:
        self._driver = driver
        self._faults = faults
        self._noise = _spread(faults.noise, driver.observation_fields)
        self._stuck = _stuck(faults.stuck, driver.action_fields)
        self._rest = _rest(driver.action_fields)
        self._under_way: deque[Observation] = deque(maxlen=_KEPT)
        self._arrived: Observation | None = None
        self._restart()
        for name in offered_besides(driver):  # attributes, since isinstance() against a protocol
            setattr(self, name, getattr(driver, name))  # does not ask __getattr__ from 3.12 on

    def __getattr__(self, name: str) -> Any:
        """What this driver offers beyond the protocol, e.g. `reward`."""
        if name == "_driver":  # asked for by copy and pickle before there is one
            raise AttributeError(name)
        return getattr(self._driver, name)

    @property
    def robot(self) -> str:
        return self._driver.robot

    @property
    def observation_fields(self) -> tuple[FieldSpec, ...]:
        return self._driver.observation_fields

    @property
    def action_fields(self) -> tuple[FieldSpec, ...]:
        return self._driver.action_fields

    @property
    def period_s(self) -> float:
        return self._driver.period_s

    @property
    def time_scale(self) -> float:
        return self._driver.time_scale

    def connect(self) -> None:
        self._driver.connect()
        self._restart()

    def home(self, seed: int) -> None:
        self._require_link()
        self._driver.home(seed)
        self._forget()

    def read(self) -> Observation:
        self._require_link()
        observation = self._delayed(self._driver.read())
        if self._begun:
            observation = self._spoilt(observation)
        self._arrived = observation
        return observation

    def apply(self, action: Array) -> Array:
        self._require_link()
        if self._begun:
            action = np.where(self._stuck, self._rest, action)
        self._commands += 1
        return self._driver.apply(action)

    def hold(self) -> None:
        self._driver.hold()

    def close(self) -> None:
        self._driver.close()

    @property
    def _begun(self) -> bool:
        return self._commands >= self._faults.after

    def _restart(self) -> None:
        self._commands = 0
        self._forget()
        streams = np.random.SeedSequence(self._faults.seed).spawn(4)
        self._drops, self._freezes, self._noises, self._nans = map(np.random.default_rng, streams)

    def _forget(self) -> None:
        self._under_way.clear()
        self._arrived = None

    def _require_link(self) -> None:
        if not (self._faults.dead and self._begun):
            return
        if self._faults.dead == "hang":
            time.sleep(self._faults.hang_s)
        raise DriverFault("the link is dead, as robot.driver.faults.dead asks")

    def _delayed(self, newest: Observation) -> Observation:
        """The newest observation that has had time to arrive; the oldest where none has."""
        if self._faults.latency_s is None:
            return newest
        if not self._under_way or newest.sense_ns > self._under_way[-1].sense_ns:
            self._under_way.append(newest)
        arrived_ns = time.monotonic_ns() - round(self._faults.latency_s * SECOND_NS)
        while len(self._under_way) > 1 and self._under_way[1].sense_ns <= arrived_ns:
            self._under_way.popleft()
        return self._under_way[0] if self._begun else newest

    def _spoilt(self, observation: Observation) -> Observation:
        """Every generator draws at every read, so that no fault changes another's draws."""
        size = len(observation.values)
        dropped = self._drops.random() < self._faults.drop
        frozen = self._freezes.random() < self._faults.freeze
        values = observation.values + self._noise * self._noises.standard_normal(size)
        broken, component = self._nans.random() < self._faults.nan, self._nans.integers(size)
        if broken:
            values[component] = np.nan
        if self._arrived is not None and dropped:
            return self._arrived
        if self._arrived is not None and frozen:
            values = self._arrived.values
        return replace(observation, values=values)


def _spread(noise: dict[str, float], fields: tuple[FieldSpec, ...]) -> Array:
    """Standard deviation by component `(observation,)`."""
    _require_known("noise", "observation", noise, fields)
    return np.concatenate([np.full(field.width, noise.get(field.name, 0.0)) for field in fields])


def _stuck(stuck: dict[str, tuple[int, ...]], fields: tuple[FieldSpec, ...]) -> Array:
    """Whether each component does nothing, `(action,)`."""
    _require_known("stuck", "action", stuck, fields)
    parts = []
    for field in fields:
        components = stuck.get(field.name, ())
        if any(component >= field.width for component in components):
            raise DriverFault(
                f"robot.driver.faults.stuck.{field.name} is {list(components)}: the field has "
                f"components 0 to {field.width - 1}"
            )
        parts.append(np.isin(np.arange(field.width), components))
    return np.concatenate(parts)


def _rest(fields: tuple[FieldSpec, ...]) -> Array:
    """The action nearest to none, within its bounds, `(action,)`."""
    low = np.array([value for field in fields for value in field.low])
    high = np.array([value for field in fields for value in field.high])
    return np.clip(np.zeros(len(low)), low, high)


def _require_known(
    key: str, kind: str, named: Iterable[str], fields: tuple[FieldSpec, ...]
) -> None:
    known = [field.name for field in fields]
    for name in named:
        if name not in known:
            raise DriverFault(
                f"robot.driver.faults.{key}: unknown {kind} field {name!r}; known: "
                f"{', '.join(known)}"
            )
