"""The control loop: one episode, from the first observation to rest.

Holds the order in which things happen in a control period. It must not know the network, the disk,
or which hardware there is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from robot.clock import SECOND_NS, Clock, Deadline
from robot.drivers.driver import Driver, DriverFault, Observation
from robot.episode import EndReason, EpisodeFooter, EpisodeHeader, Step
from robot.exploration import ZSource
from robot.policy import Policy
from robot.safety.limits import Limits, allow, check_observation
from robot.states import State, States

log = logging.getLogger(__name__)

Array = NDArray[np.float64]


class StepRecorder(Protocol):
    """What the loop asks of a recorder: nothing here may block."""

    def begin(self, header: EpisodeHeader) -> None: ...

    def put(self, step: Step) -> None: ...

    def end(self, footer: EpisodeFooter) -> None: ...


@dataclass
class Rig:
    """What an episode runs on."""

    driver: Driver
    policy: Policy
    limits: Limits
    recorder: StepRecorder
    clock: Clock
    states: States


@dataclass(frozen=True)
class Run:
    """One episode to run.

    `noise` draws the policy's noise; None acts with its mean. `follow` is told each transition
    (observation, applied action, next observation) as soon as it is complete. `stop` says why to
    stop, asked every period; empty means go on. `clock_offset` is trainer minus robot.
    """

    header: EpisodeHeader
    horizon: int
    z: ZSource
    noise: np.random.Generator | None
    follow: Callable[[Array, Array, Array], None]
    stop: Callable[[], str]
    clock_offset: Callable[[], tuple[int, int] | None] = lambda: None


@dataclass
class Outcome:
    """How an episode went. `final` is what the last step led to; None when nobody knows.

    `final_signals` are what was measured on the way.
    """

    reason: EndReason = EndReason.INTERRUPTED
    fault: str = ""
    steps: int = 0
    overruns: int = 0
    final: Array | None = None
    final_signals: list[float] | msgspec.UnsetType = msgspec.UNSET


def run_episode(rig: Rig, run: Run) -> Outcome:
    """Run one episode on an armed robot, record it, and leave the robot at rest.

    Whatever goes wrong ends in `driver.hold()`, an episode with reason `fault`, and state fault.
    """
    rig.states.to(State.RUNNING, f"episode {run.header.number}, z from the {run.header.mode}")
    rig.recorder.begin(run.header)
    outcome = Outcome()
    try:
        outcome.reason = _drive(rig, run, outcome)
    except Exception as error:  # whatever it is, the robot holds and a person has to look
        outcome.reason, outcome.fault = EndReason.FAULT, explain(error)
    finally:
        rig.driver.hold()
    rig.recorder.end(_footer(outcome, run.clock_offset()))
    if outcome.reason is EndReason.FAULT:
        rig.states.fault(outcome.fault)
    else:
        rig.states.to(State.HOLD, f"{outcome.reason} after {outcome.steps} steps")
    return outcome


def _drive(rig: Rig, run: Run, outcome: Outcome) -> EndReason:
    before: Array | None = None
    previous: Array | None = None
    applied = np.empty(0)
    for deadline in rig.clock.deadlines():
        outcome.final, outcome.final_signals = None, msgspec.UNSET
        observation = rig.driver.read()
        age_ns = rig.clock.now_ns() - observation.sense_ns
        check_observation(observation.values, _robot_seconds(age_ns, rig.clock), rig.limits)
        outcome.final, outcome.final_signals = observation.values, _packed(observation.signals)
        if before is not None:
            run.follow(before, applied, observation.values)
        end = _ending(run, outcome.steps, observation)
        if end is not None:
            return end

        z = run.z.next()
        ready_ns = rig.clock.now_ns()
        requested = rig.policy.act(observation.values, z, run.noise)
        inferred_ns = rig.clock.now_ns()
        allowed, reason = allow(
            requested, previous, observation.values, rig.limits, rig.driver.period_s
        )
        applied = _apply(rig.driver, allowed)
        applied_ns = rig.clock.now_ns()
        if not np.array_equal(applied, allowed):
            reason = f"{reason}; driver".removeprefix("; ")
        rig.recorder.put(
            Step(
                index=outcome.steps,
                sense_ns=observation.sense_ns,
                observation=observation.values.tolist(),
                observation_age_ns=age_ns,
                requested=requested.tolist(),
                applied=applied.tolist(),
                reason=reason,
                z=z.tolist(),
                infer_ns=inferred_ns - ready_ns,
                apply_ns=applied_ns - inferred_ns,
                overrun=_count_overrun(rig.clock, deadline, outcome),
                signals=outcome.final_signals,
            )
        )
        before, previous = observation.values, allowed
        outcome.steps += 1
    raise AssertionError("deadlines never end")


def _ending(run: Run, steps: int, observation: Observation) -> EndReason | None:
    if observation.terminated:
        return EndReason.TERMINATED
    if steps == run.horizon:
        return EndReason.HORIZON
    why = run.stop()
    if why:
        log.info("episode %d stops: %s", run.header.number, why)
        return EndReason.STOPPED
    return None


def _apply(driver: Driver, action: Array) -> Array:
    applied = np.asarray(driver.apply(action), dtype=np.float64)
    if applied.shape != action.shape or not np.isfinite(applied).all():
        raise DriverFault(
            f"the driver says that it applied {applied}, expected {len(action)} numbers: "
            "check the actuators and their link"
        )
    return applied


def _count_overrun(clock: Clock, deadline: Deadline, outcome: Outcome) -> bool:
    overrun = deadline.overrun(clock.now_ns())
    outcome.overruns += overrun
    return overrun


def _robot_seconds(age_ns: int, clock: Clock) -> float:
    """The age that counts. In slow motion the robot itself is slow; a fast one ages as it does."""
    return age_ns / SECOND_NS * min(1.0, clock.time_scale)


def _packed(signals: Array | None) -> list[float] | msgspec.UnsetType:
    return msgspec.UNSET if signals is None else signals.tolist()


def _footer(outcome: Outcome, offset: tuple[int, int] | None) -> EpisodeFooter:
    clock_offset, uncertainty = offset if offset is not None else (None, None)
    return EpisodeFooter(
        end_reason=outcome.reason,
        steps=outcome.steps,
        final_observation=[] if outcome.final is None else outcome.final.tolist(),
        clock_offset_ns=clock_offset,
        clock_uncertainty_ns=uncertainty,
        fault=outcome.fault,
        final_signals=outcome.final_signals,
    )


def explain(error: Exception) -> str:
    if type(error).__module__.startswith("robot."):
        return str(error)
    return f"{type(error).__name__}: {error}"
