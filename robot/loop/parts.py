"""What one episode runs on, what is asked of it, and how it went.

Holds data alone. It must not know the order in which things happen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.episodes.episode import EndReason, EpisodeFooter, EpisodeHeader, Step
from fieldtune.robot.loop.states import States
from fieldtune.robot.policy.exploration import NextZ
from fieldtune.robot.safety.estop import EStop
from fieldtune.robot.safety.limits import Limits
from fieldtune.robot.timing.clock import Clock
from fieldtune.robot.timing.cycle_report import CycleReport
from fieldtune.robot.timing.realtime import Collections

Array = NDArray[np.float64]


class Actor(Protocol):
    """What is asked for actions: a bundle's policy, or what acts in its place."""

    def act(
        self, observation: Array, z: Array, rng: np.random.Generator | None, noise: float, /
    ) -> Array:
        """The action `(action,)` for an observation `(observation,)`; see
        `fieldtune.robot.policy.policy.Policy.act`."""
        ...


A = TypeVar("A", bound=Actor)


class StepRecorder(Protocol):
    """What the loop asks of a recorder: nothing here may block."""

    def begin(self, header: EpisodeHeader) -> None: ...

    def put(self, step: Step) -> None: ...

    def end(self, footer: EpisodeFooter) -> None: ...


@dataclass
class LoopParts(Generic[A]):
    """What an episode runs on.

    `estop`, `report` and `collections` belong to the robot, whatever the bundle. `asks_driver` says
    that `policy` calls the driver, so that nobody else may meanwhile.
    """

    driver: Driver
    policy: A
    limits: Limits
    recorder: StepRecorder
    clock: Clock
    states: States
    estop: EStop = field(default_factory=EStop)
    report: CycleReport = field(default_factory=CycleReport)
    collections: Collections = field(default_factory=Collections)
    asks_driver: bool = False


@dataclass(frozen=True)
class EpisodeSpec:
    """One episode to run.

    `noise` draws the policy's noise, `noise_scale` of it; None acts with its mean. `follow` is told
    each transition (observation, applied action, next observation) as soon as it is complete.
    `stop` says why to stop, asked every period; empty means go on. `clock_offset` is trainer minus
    robot.
    """

    header: EpisodeHeader
    horizon: int
    z: NextZ
    noise: np.random.Generator | None
    follow: Callable[[Array, Array, Array], None]
    stop: Callable[[], str]
    clock_offset: Callable[[], tuple[int, int] | None] = lambda: None
    noise_scale: float = 1.0


@dataclass
class Outcome:
    """How an episode went. `final` is what the last step led to; None when nobody knows.

    `fault` is why a person has to look, `stopped` who asked to stop; empty where that is not so.
    `at_rest` is false where the driver could not hold.
    `final_signals` are what was measured on the way. `skipped` counts periods that were left out
    because the one before ran over: they are never made up for.
    """

    reason: EndReason = EndReason.INTERRUPTED
    fault: str = ""
    stopped: str = ""
    at_rest: bool = True
    steps: int = 0
    overruns: int = 0
    skipped: int = 0
    final: Array | None = None
    final_signals: list[float] | msgspec.UnsetType = msgspec.UNSET
