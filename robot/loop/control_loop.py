"""The control loop: one episode, from the first observation to rest.

Holds the order in which things happen in a control period. It must not know the network, the disk,
or which hardware there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.drivers.driver import Driver, Observation
from fieldtune.robot.episodes.episode import EndReason, EpisodeFooter, Step
from fieldtune.robot.loop.parts import EpisodeSpec, LoopParts, Outcome
from fieldtune.robot.loop.states import State
from fieldtune.robot.safety.estop import EmergencyStop, stood_still
from fieldtune.robot.safety.fault import LimitFault, explain
from fieldtune.robot.safety.limits import Limits, allow, check_applied, check_observation, staying
from fieldtune.robot.safety.rest import hold
from fieldtune.robot.timing.clock import SECOND_NS, Clock, elapsed_s
from fieldtune.robot.timing.cycle_report import Marks
from fieldtune.robot.timing.lateness import Late, Lateness

Array = NDArray[np.float64]


def run_episode(parts: LoopParts, spec: EpisodeSpec) -> Outcome:
    """Run one episode on an armed robot, record it, and leave the robot at rest.

    Whatever goes wrong ends in `driver.hold()`, an episode with reason `fault` or `late`, and state
    fault. Nothing that can block stands before `hold`.
    """
    parts.states.to(State.RUNNING, f"episode {spec.header.number}, z from the {spec.header.mode}")
    parts.recorder.begin(spec.header)
    outcome = Outcome()
    with parts.collections.paused():
        _until_rest(parts, spec, outcome)
    parts.recorder.end(_footer(outcome, spec.clock_offset()))
    if outcome.fault:
        parts.states.fault(outcome.fault)
    else:
        ended = f"{outcome.reason} after {outcome.steps} steps"
        parts.states.to(State.HOLD, f"{ended}: {outcome.stopped}" if outcome.stopped else ended)
    return outcome


def _until_rest(parts: LoopParts, spec: EpisodeSpec, outcome: Outcome) -> None:
    try:
        try:
            outcome.reason = _drive(parts, spec, outcome)
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


def _drive(parts: LoopParts, spec: EpisodeSpec, outcome: Outcome) -> EndReason:
    clock, marks, past = parts.clock, Marks(), _Past()
    applied = np.empty(0)
    parts.report.begin()
    patience_ns = _patience_ns(parts)
    lateness = Lateness(parts.limits.late_fraction, parts.driver.period_s)
    for deadline in clock.deadlines():
        marks.began = clock.now_ns()
        if patience_ns is not None:
            parts.estop.beat(marks.began, patience_ns)
            parts.estop.check()
        if deadline.skipped:
            outcome.skipped += deadline.skipped
            if patience_ns is not None:
                lateness.add(deadline.skipped, outcome.steps + outcome.skipped)
        observation = parts.driver.read()
        marks.read = clock.now_ns()
        age_ns = marks.read - observation.sense_ns
        _check(observation, _age_s(observation, marks, parts.clock), past, parts)
        outcome.final, outcome.final_signals = observation.values, _packed(observation.signals)
        marks.checked = clock.now_ns()
        if past.seen is not None:
            spec.follow(past.seen.values, applied, observation.values)
        end = _ending(spec, outcome, observation)
        if end is not None:
            if patience_ns is not None:
                lateness.end(outcome.steps + outcome.skipped)
            return end

        z = spec.z.next()
        marks.ready = clock.now_ns()
        with parts.estop.lent:  # a watchdog may hold meanwhile
            requested = parts.policy.act(observation.values, z, spec.noise, spec.noise_scale)
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
        if patience_ns is not None:
            _require_fresh(marks.limited - observation.sense_ns, patience_ns)
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
        if patience_ns is not None and marks.recorded - marks.began > patience_ns:
            raise EmergencyStop(stood_still(marks.recorded - marks.began))
    raise AssertionError("deadlines never end")


@dataclass
class _Past:
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


def _check(observation: Observation, age_s: float, past: _Past, parts: LoopParts) -> None:
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
        age_s,
        parts.limits,
        earlier=earlier,
        elapsed_s=apart_s,
        repeats=past.repeats,
    )


def _patience_ns(parts: LoopParts) -> int | None:
    """How long a cycle may take before the robot is stopped; None for a simulation at another pace
    than real time, which waits for the loop."""
    return parts.limits.patience_ns if parts.clock.time_scale == 1.0 else None


def _require_fresh(age_ns: int, patience_ns: int) -> None:
    """What counts is how old an observation is when the robot acts on it."""
    if age_ns > patience_ns:
        raise LimitFault(
            f"the observation is {age_ns / SECOND_NS:.3f} s old now that its command is ready, at "
            f"most {patience_ns / SECOND_NS:.3f} s are allowed: the loop stood still, or inference "
            "takes too long"
        )


def _ending(spec: EpisodeSpec, outcome: Outcome, observation: Observation) -> EndReason | None:
    if observation.terminated:
        return EndReason.TERMINATED
    if outcome.steps == spec.horizon:
        return EndReason.HORIZON
    outcome.stopped = spec.stop()
    return EndReason.STOPPED if outcome.stopped else None


def _apply(driver: Driver, action: Array, limits: Limits) -> Array:
    applied = np.asarray(driver.apply(action), dtype=np.float64)
    check_applied(applied, action, limits)
    return applied


def _age_s(observation: Observation, marks: Marks, clock: Clock) -> float:
    """The age that counts. In slow motion the robot itself is slow.

    A simulation that is faster than real time waits for the loop, so that its time stands still
    from the last command on: what a busy machine does to the process meanwhile ages nothing.
    """
    until = marks.read
    if clock.time_scale > 1.0:
        until = marks.applied or observation.sense_ns  # before the first command nothing moves
    return (until - observation.sense_ns) / SECOND_NS * min(1.0, clock.time_scale)


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
