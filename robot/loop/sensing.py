"""What a loop makes of an observation before anybody acts on it: its age, and what came before.

Pure but for what it remembers. It must not know who acts, nor what is applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.drivers.driver import Observation
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.loop.parts import EpisodeSpec, LoopParts, Outcome
from fieldtune.robot.safety.limits import Limits, check_observation, staying
from fieldtune.robot.timing.clock import SECOND_NS, Clock, elapsed_s
from fieldtune.robot.timing.cycle_report import Marks

Array = NDArray[np.float64]


@dataclass
class Past:
    """What the limits compare with: the observation before, and the two actions before.

    `repeats` counts how often in a row the same observation came, to the last bit.
    """

    seen: Observation | None = None
    repeats: int = 0
    action: Array | None = None
    action_before: Array | None = None

    def remember(self, observation: Observation, action: Array, limits: Limits) -> None:
        self.action_before = self.action
        if self.action_before is None:
            self.action_before = staying(observation.values, limits)
        self.seen, self.action = observation, action


def require_sound(
    observation: Observation, marks: Marks, past: Past, parts: LoopParts[Any]
) -> None:
    """Raise `LimitFault` unless the observation may be acted on. `past` counts its repeats."""
    earlier, apart_s = None, 0.0
    if past.seen is not None:
        earlier = past.seen.values
        past.repeats = past.repeats + 1 if np.array_equal(earlier, observation.values) else 0
        apart_s = elapsed_s(
            past.seen.sense_ns,
            observation.sense_ns,
            parts.driver.period_s,
            parts.clock.time_scale,
        )
    check_observation(
        observation.values,
        _age_s(observation, marks, parts.clock),
        parts.limits,
        earlier=earlier,
        elapsed_s=apart_s,
        repeats=past.repeats,
    )


def patience_ns(parts: LoopParts[Any]) -> int | None:
    """How long a cycle may take before the robot is stopped; None for a simulation at another pace
    than real time, which waits for the loop."""
    return parts.limits.patience_ns if parts.clock.time_scale == 1.0 else None


def ending(spec: EpisodeSpec, outcome: Outcome, observation: Observation) -> EndReason | None:
    """Why the episode is over with this observation; None where it goes on."""
    if observation.terminated:
        return EndReason.TERMINATED
    if outcome.steps == spec.horizon:
        return EndReason.HORIZON
    outcome.stopped = spec.stop()
    return EndReason.STOPPED if outcome.stopped else None


def packed(signals: Array | None) -> list[float] | msgspec.UnsetType:
    """Signals as a step holds them."""
    return msgspec.UNSET if signals is None else signals.tolist()


def _age_s(observation: Observation, marks: Marks, clock: Clock) -> float:
    """The age that counts. In slow motion the robot itself is slow.

    A simulation that is faster than real time waits for the loop, so that its time stands still
    from the last command on: what a busy machine does to the process meanwhile ages nothing.
    """
    until = marks.read
    if clock.time_scale > 1.0:
        until = marks.applied or observation.sense_ns  # before the first command nothing moves
    return (until - observation.sense_ns) / SECOND_NS * min(1.0, clock.time_scale)
