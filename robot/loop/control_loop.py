"""The control loop: one episode, from the first observation to rest.

Holds the order in which things happen in a control period. It must not know the network, the disk,
or which hardware there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.episodes.episode import EndReason, EpisodeFooter, Step
from fieldtune.robot.loop.parts import EpisodeSpec, LoopParts, Outcome
from fieldtune.robot.loop.sensing import Past, ending, packed, patience_ns, require_sound
from fieldtune.robot.loop.states import State
from fieldtune.robot.safety.estop import EmergencyStop, stood_still
from fieldtune.robot.safety.fault import LimitFault, explain
from fieldtune.robot.safety.limits import Limits, allow, check_applied
from fieldtune.robot.safety.rest import hold
from fieldtune.robot.timing.clock import SECOND_NS
from fieldtune.robot.timing.cycle_report import Marks
from fieldtune.robot.timing.lateness import Late, Lateness

Array = NDArray[np.float64]
Parts = LoopParts[Any]
Drive = Callable[[Parts, EpisodeSpec, Outcome], EndReason]


def run_episode(parts: Parts, spec: EpisodeSpec, drive: Drive | None = None) -> Outcome:
    """Run one episode on an armed robot, record it, and leave the robot at rest.

    `drive` goes from the first observation to the last, and says why it ended: where not given, by
    asking for actions and applying what the limits allow of them.

    Whatever goes wrong ends in `driver.hold()`, an episode with reason `fault` or `late`, and state
    fault. Nothing that can block stands before `hold`.
    """
    parts.states.to(State.RUNNING, f"episode {spec.header.number}, {spec.header.mode.said}")
    parts.recorder.begin(spec.header)
    outcome = Outcome()
    with parts.collections.paused():
        _until_rest(parts, spec, outcome, drive or _drive)
    parts.recorder.end(_footer(outcome, spec.clock_offset()))
    if outcome.fault:
        parts.states.fault(outcome.fault)
    else:
        ended = f"{outcome.reason} after {outcome.steps} steps"
        parts.states.to(State.HOLD, f"{ended}: {outcome.stopped}" if outcome.stopped else ended)
    return outcome


def _until_rest(parts: Parts, spec: EpisodeSpec, outcome: Outcome, drive: Drive) -> None:
    try:
        try:
            outcome.reason = drive(parts, spec, outcome)
        finally:
            parts.estop.rest()  # from here on no signal's handler raises
    except Late as error:
        outcome.reason, outcome.fault = EndReason.LATE, str(error)
    except (Exception, EmergencyStop) as error:  # the robot holds, and a person has to look
        outcome.reason, outcome.fault = EndReason.FAULT, explain(error)
    finally:
        trouble = hold(parts.driver)
        if trouble:
            outcome.reason, outcome.at_rest = EndReason.FAULT, False
            outcome.fault = "; ".join(filter(None, (outcome.fault, trouble)))


def _drive(parts: Parts, spec: EpisodeSpec, outcome: Outcome) -> EndReason:
    clock, marks, past = parts.clock, Marks(), Past()
    applied = np.empty(0)
    parts.report.begin()
    patience = patience_ns(parts)
    lateness = Lateness(parts.limits.late_fraction, parts.driver.period_s)
    for deadline in clock.deadlines():
        marks.began = clock.now_ns()
        if patience is not None:
            parts.estop.beat(marks.began, patience)
            parts.estop.check()
        if deadline.skipped:
            outcome.skipped += deadline.skipped
            if patience is not None:
                lateness.add(deadline.skipped, outcome.steps + outcome.skipped)
        observation = parts.driver.read()
        marks.read = clock.now_ns()
        age_ns = marks.read - observation.sense_ns
        require_sound(observation, marks, past, parts)
        outcome.final, outcome.final_signals = observation.values, packed(observation.signals)
        marks.checked = clock.now_ns()
        if past.seen is not None:
            spec.follow(past.seen.values, applied, observation.values)
        end = ending(spec, outcome, observation)
        if end is not None:
            if patience is not None:
                lateness.end(outcome.steps + outcome.skipped)
            return end

        z = spec.z.next()
        marks.ready = clock.now_ns()
        requested = _requested(parts, spec, observation.values, z)
        marks.inferred = clock.now_ns()
        allowed, reason = allow(
            requested,
            past.action,
            observation.values,
            parts.limits,
            parts.driver.period_s,
            past.action_before,
        )
        parts.estop.check()
        marks.limited = clock.now_ns()
        if patience is not None:
            _require_fresh(marks.limited - observation.sense_ns, patience)
        applied = _apply(parts.driver, allowed, parts.limits)
        marks.applied = clock.now_ns()
        if applied is not allowed and (applied != allowed).any():
            reason = f"{reason}; driver".removeprefix("; ")
        overrun = deadline.overrun(marks.applied)
        parts.recorder.put(
            Step(
                index=outcome.steps,
                sense_ns=observation.sense_ns,
                observation=observation.values.tolist(),
                observation_age_ns=age_ns,
                requested=requested.tolist(),
                applied=applied.tolist(),
                reason=reason,
                z=z.tolist(),
                infer_ns=marks.inferred - marks.ready,
                apply_ns=marks.applied - marks.limited,
                overrun=overrun,
                signals=outcome.final_signals,
            )
        )
        past.remember(observation, allowed, parts.limits)
        outcome.final, outcome.final_signals = None, msgspec.UNSET
        outcome.steps += 1
        outcome.overruns += overrun
        marks.recorded = clock.now_ns()
        parts.report.add(marks, deadline, overrun)
        if patience is not None and marks.recorded - marks.began > patience:
            raise EmergencyStop(stood_still(marks.recorded - marks.began))
    raise AssertionError("deadlines never end")


def _requested(parts: Parts, spec: EpisodeSpec, observation: Array, z: Array) -> Array:
    if parts.asks_driver:
        return parts.policy.act(observation, z, spec.noise, spec.noise_scale)
    with parts.estop.lent:  # a watchdog may hold meanwhile
        return parts.policy.act(observation, z, spec.noise, spec.noise_scale)


def _require_fresh(age_ns: int, patience: int) -> None:
    """What counts is how old an observation is when the robot acts on it."""
    if age_ns > patience:
        raise LimitFault(
            f"the observation is {age_ns / SECOND_NS:.3f} s old now that its command is ready, at "
            f"most {patience / SECOND_NS:.3f} s are allowed: the loop stood still, or inference "
            "takes too long"
        )


def _apply(driver: Driver, action: Array, limits: Limits) -> Array:
    applied = np.asarray(driver.apply(action), dtype=np.float64)
    check_applied(applied, action, limits)
    return applied


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
