"""The loop while a person moves the robot by hand: reads and records, and commands nothing.

The control loop's order without its commands. A step is complete, and recorded, once it is known
what the motion from its observation amounts to: one control period later. It must not know the
network, the disk, or which hardware there is; of the driver it calls `read` and `guided_action`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.drivers.driver import Observation
from fieldtune.robot.drivers.person import HandGuided
from fieldtune.robot.episodes.episode import BEYOND, EndReason, Step
from fieldtune.robot.loop.control_loop import Parts
from fieldtune.robot.loop.parts import EpisodeSpec, Outcome
from fieldtune.robot.loop.sensing import Past, ending, packed, patience_ns, require_sound
from fieldtune.robot.safety.estop import EmergencyStop, stood_still
from fieldtune.robot.safety.limits import Limits
from fieldtune.robot.timing.cycle_report import Marks
from fieldtune.robot.timing.lateness import Lateness

Array = NDArray[np.float64]

_SLACK = 0.01  # of an action's range, as data of others may be beyond it


def follow_hand(parts: Parts, spec: EpisodeSpec, outcome: Outcome) -> EndReason:
    """A `Drive` of `fieldtune.robot.loop.control_loop.run_episode`, for a robot that is released.

    What was requested counts as what was done; a step that is out of the action's range says so.
    """
    driver = parts.driver
    assert isinstance(driver, HandGuided), "only such a robot is released"
    clock, marks, past = parts.clock, Marks(), Past()
    age_ns = 0
    parts.report.begin()
    patience = patience_ns(parts)
    lateness = Lateness(parts.limits.late_fraction, driver.period_s)
    for deadline in clock.deadlines():
        marks.began = clock.now_ns()
        if patience is not None:
            parts.estop.beat(marks.began, patience)
        parts.estop.check()
        if deadline.skipped:
            outcome.skipped += deadline.skipped
            if patience is not None:
                lateness.add(deadline.skipped, outcome.steps + outcome.skipped)
        observation = driver.read()
        marks.read = clock.now_ns()
        require_sound(observation, marks, past, parts)
        marks.checked = marks.ready = marks.inferred = marks.limited = clock.now_ns()
        overrun = deadline.overrun(marks.limited)
        if past.seen is not None:
            done = driver.guided_action()
            marks.limited = clock.now_ns()
            overrun = deadline.overrun(marks.limited)
            parts.recorder.put(_step(outcome, past.seen, age_ns, done, parts.limits, overrun))
            outcome.steps += 1
            outcome.overruns += overrun
            spec.follow(past.seen.values, done, observation.values)
        outcome.final, outcome.final_signals = observation.values, packed(observation.signals)
        age_ns = marks.read - observation.sense_ns
        past.seen = observation
        marks.recorded = clock.now_ns()
        parts.report.add(replace(marks, applied=marks.limited), deadline, overrun)
        end = ending(spec, outcome, observation)
        if end is not None:
            if patience is not None:
                lateness.end(outcome.steps + outcome.skipped)
            return end
        if patience is not None and marks.recorded - marks.began > patience:
            raise EmergencyStop(stood_still(marks.recorded - marks.began))
    raise AssertionError("deadlines never end")


def _step(
    outcome: Outcome, seen: Observation, age_ns: int, done: Array, limits: Limits, overrun: bool
) -> Step:
    """The step that began with `seen`, once what was done in it is known."""
    return Step(
        index=outcome.steps,
        sense_ns=seen.sense_ns,
        observation=seen.values.tolist(),
        observation_age_ns=age_ns,
        requested=done.tolist(),
        applied=done.tolist(),
        reason="; ".join(f"{BEYOND} {name}" for name in beyond(done, limits)),
        z=[],
        infer_ns=0,
        apply_ns=0,
        overrun=overrun,
        signals=packed(seen.signals),
    )


def beyond(done: Array, limits: Limits) -> list[str]:
    """The components of what a hand did, `(action,)`, that are out of the action's range."""
    slack = _SLACK * (limits.range_high - limits.range_low)
    outside = (done < limits.range_low - slack) | (done > limits.range_high + slack)
    return [limits.action_names[index] for index in np.flatnonzero(outside)]
