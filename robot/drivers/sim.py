"""The `sim` driver: a family's reference environment in the place of hardware.

The only module of this package that reaches for `sim`, and it does so when asked: a robot without
a simulator never imports one. It must not know the loop, the policy or the network.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import Array, DriverFault, Observation
from fieldtune.robot.drivers.faults import FaultOptions
from fieldtune.robot.drivers.waves import Waves


class SimOptions(BaseModel):
    """The keys of `robot.driver` for the simulated robot.

    `task` is the hidden task's parameters; null draws one from `seed`. `time_scale` 2 runs twice as
    fast as real time, `.inf` as fast as it can. `faults` are injected by
    `fieldtune.robot.drivers.faults`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    task: tuple[float, ...] | None = None
    time_scale: float = Field(default=1.0, gt=0, allow_inf_nan=True)
    seed: NonNegativeInt = 0
    faults: FaultOptions | None = None


class SimDriver:
    """Implements `fieldtune.robot.drivers.driver.Driver`. The simulated robot rests between two
    `apply`.

    Its person, who guides and commands it, waves slowly (`fieldtune.robot.drivers.waves`): for
    trying out what records a real one. Guided, the robot moves on at each `read`.
    """

    Options = SimOptions

    def __init__(
        self,
        family: str,
        options: SimOptions,
        model: str | None = None,
        family_options: Mapping[str, Any] | None = None,
    ) -> None:
        """The simulated robot, not yet built.

        Args:
            family: the name of a task family.
            options: the keys of `robot.driver`.
            model: which of the family's robots, where it has several; None for its first.
            family_options: the family's own, if any.

        Raises:
            DriverFault: no such family, robot or option, or simulators are not installed.
        """
        self._options = options
        self._family = _find_family(family, model, family_options or {})
        self._task = self._choose_task()
        self._robot: Any = None
        self._latest: Observation | None = None
        self._person: Waves | None = None
        self._start_seed = 0
        self._guided: Array | None = None  # the motion to the latest observation, by hand
        self._released = False

    @property
    def robot(self) -> str:
        return str(self._family.robot)

    @property
    def observation_fields(self) -> tuple[FieldSpec, ...]:
        return _specifications(self._family.observation_fields)

    @property
    def action_fields(self) -> tuple[FieldSpec, ...]:
        return _specifications(self._family.action_fields)

    @property
    def period_s(self) -> float:
        return float(self._family.period_s)

    @property
    def time_scale(self) -> float:
        return self._options.time_scale

    def connect(self) -> None:
        """Build the environment, take one step (the first one compiles), and start anew."""
        if self._robot is None:
            self._robot = self._family.single_robot()
            self.home(self._options.seed)
            self.apply(self._rest())
            self.home(self._options.seed)

    def home(self, seed: int) -> None:
        values = self._connected().reset(seed, self._task)
        self._released = False
        self._person, self._start_seed = None, seed
        self._latest = Observation(np.array(values), time.monotonic_ns())

    def read(self) -> Observation:
        """What the last `home` or `apply` led to, with the time at which that was known."""
        self._connected()
        if self._released:
            self._guided = self._waves().act()
            self._step(self._guided)
        assert self._latest is not None
        return self._latest

    def apply(self, action: Array) -> Array:
        """Simulate one control period under `action`."""
        self._released = False
        self._step(action)
        return action

    def _step(self, action: Array) -> None:
        values, terminated = self._connected().step(action)
        signals = np.array(self._robot.signals()) if self._family.signal_fields else None
        self._latest = Observation(np.array(values), time.monotonic_ns(), terminated, signals)

    def hold(self) -> None:
        """No simulated time passes between two `apply`; a person who guides lets go."""
        self._released = False

    def close(self) -> None:
        self.hold()
        if self._robot is not None:
            self._robot.close()
            self._robot = None

    def release(self) -> None:
        """A simulated person moves it from here on, until `hold`."""
        self._connected()
        self._released = True

    def guided_action(self) -> Array:
        """What the person did between the latest two `read`."""
        if self._guided is None:
            raise DriverFault("nobody has guided the simulated robot: call release() and read()")
        return self._guided

    def teleoperated_action(self) -> Array:
        """What the person commands now."""
        return self._waves().act()

    def reward(self, observation: Array, action: Array, next_observation: Array) -> float:
        """The true reward of its own task: what a person or a sensor would give when adapting.

        Asked before the next `apply`, since what was measured belongs to the latest transition.

        Args:
            observation, next_observation: `(observation,)`, before and after the action.
            action: `(action,)`, as applied.
        """
        signals = None if self._latest is None else self._latest.signals
        return float(
            self._family.reward(observation, action, next_observation, self._task, signals)
        )

    def _waves(self) -> Waves:
        if self._person is None:
            self._person = Waves(self.observation_fields, self.action_fields, self.period_s)
            self._person.begin(self._start_seed)
        return self._person

    def _rest(self) -> Array:
        """The action nearest to none, within its bounds."""
        fields = self._family.action_fields
        low = np.array([value for field in fields for value in field.low])
        high = np.array([value for field in fields for value in field.high])
        return np.clip(np.zeros(len(low)), low, high)

    def _connected(self) -> Any:
        if self._robot is None:
            raise DriverFault("the simulated robot is not connected: call connect() first")
        return self._robot

    def _choose_task(self) -> Array:
        given, fields = self._options.task, self._family.task_fields
        if given is None:
            return np.array(self._family.sample_tasks(self._options.seed, 1)[0])
        names = [field.name for field in fields]
        width = sum(field.width for field in fields)
        if len(given) != width:
            raise DriverFault(
                f"robot.driver.task is {list(given)}: family {self._family.name!r} expects "
                f"{width} numbers ({', '.join(names)})"
            )
        return np.array(given)


def _find_family(name: str, model: str | None, options: Mapping[str, Any]) -> Any:
    try:
        from fieldtune.sim import registry

        return registry.family(name, **({} if model is None else {"robot": model}), **options)
    except ImportError as error:
        raise DriverFault(
            f"the sim driver needs simulators that are not installed ({error}): "
            "pip install 'fieldtune[train]'"
        ) from error
    except ValueError as error:
        keys = "robot.family, robot.model" + (", robot.family_options" if options else "")
        raise DriverFault(f"{keys}: {error}") from error


def _specifications(fields: Any) -> tuple[FieldSpec, ...]:
    return tuple(
        FieldSpec(name=field.name, unit=field.unit, low=field.low, high=field.high)
        for field in fields
    )
