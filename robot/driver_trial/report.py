"""What a trial of a driver showed: figures, what is wrong, and what a person should know.

Pure functions of what was measured. It must not know how it is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.driver_trial.places import places_of
from fieldtune.robot.driver_trial.trial import Cycles, DriverTrial
from fieldtune.robot.drivers.watched import WatchedDriver
from fieldtune.robot.timing.clock import SECOND_NS

Array = NDArray[np.float64]

LATE = 1.1  # of a period: the usual cycle takes longer than it may
TURN = {"rad": 2 * math.pi, "deg": 360.0}
_FULL = 0.01  # of a turn: bounds that span one


@dataclass(frozen=True)
class Spread:
    """Durations in milliseconds."""

    p50: float
    max: float


@dataclass(frozen=True)
class Seen:
    """One component of the observation; bounds as the driver declares them, None for none, and what
    was seen, None where some of that was no number.

    `constant` is to the last bit, over more than one reading. `jumps` says that it went from one
    end of a turn to the other between two readings, `full_turn` that its bounds are a turn apart.
    """

    name: str
    unit: str
    low: float | None
    high: float | None
    seen_low: float | None
    seen_high: float | None
    constant: bool
    jumps: bool
    full_turn: bool


@dataclass(frozen=True)
class TrialReport:
    """`rate_hz` is None before two cycles; `asked_hz` for a simulation that does not wait.

    `commanded` is the action that was to leave the robot where it is, None where none was sent;
    `differs` the largest difference between that and what was applied. `reuses` names the methods
    whose arrays are not their own. `wrong` must be mended, `notes` be known.
    """

    driver: str
    robot: str
    readings: int
    homed_s: float | None
    cycles: int
    asked_hz: float | None
    rate_hz: float | None
    jitter_ms: Spread | None
    age_ms: Spread | None
    read_ms: Spread | None
    apply_ms: Spread | None
    observation: tuple[Seen, ...]
    terminated: int
    commanded: tuple[float, ...] | None
    differs: float | None
    reuses: tuple[str, ...]
    changes_actions: bool
    wrong: tuple[str, ...]
    notes: tuple[str, ...]


def report(
    trial: DriverTrial, driver: WatchedDriver, wrong: Sequence[str], notes: Sequence[str]
) -> TrialReport:
    """Args: `wrong` and `notes` are what is known already; what was measured adds to them."""
    stayed, looked, label = trial.stayed, trial.looked, driver.label
    cycles = stayed if stayed.values else looked
    real = driver.time_scale == 1.0
    intervals = [after - before for before, after in pairwise(cycles.began_ns)]
    period_ns = driver.period_s / driver.time_scale * SECOND_NS
    seen = _seen([looked.values, stayed.values], driver.observation_fields)
    differs = None
    if stayed.applied:
        asked = np.array(stayed.commanded[: len(stayed.applied)])
        differs = float(np.abs(np.array(stayed.applied) - asked).max())
    return TrialReport(
        driver=label,
        robot=driver.robot,
        readings=len(looked.values),
        homed_s=trial.homed_s,
        cycles=len(stayed.values),
        asked_hz=SECOND_NS / period_ns if period_ns else None,
        rate_hz=SECOND_NS / float(np.mean(intervals)) if intervals else None,
        jitter_ms=_spread([abs(one - period_ns) for one in intervals]) if period_ns else None,
        age_ms=_spread(cycles.age_ns),
        read_ms=_spread(cycles.read_ns),
        apply_ms=_spread(cycles.apply_ns),
        observation=seen,
        terminated=stayed.terminated,
        commanded=tuple(stayed.commanded[0].tolist()) if stayed.commanded else None,
        differs=differs,
        reuses=tuple(sorted(driver.reused)),
        changes_actions=driver.changes_actions,
        wrong=(
            *wrong,
            *_wrong_times(cycles, driver.period_s * SECOND_NS, label),
            *(_too_slow(intervals, period_ns, cycles, label) if real else ()),
            *_terminated_at_once(stayed, label),
            *_no_numbers(seen, label),
        ),
        notes=(*notes, *_sank(trial, driver, wrong), *_notes(seen, driver, differs)),
    )


def _wrong_times(cycles: Cycles, period_ns: float, label: str) -> list[str]:
    found = []
    youngest = min(cycles.age_ns, default=0)
    if youngest < 0:
        found.append(
            f"{label}.read gave a sense_ns that is {-youngest / 1e6:.3f} ms from now: it must be "
            "of this robot's monotonic clock, time.monotonic_ns()"
        )
    # A mapped clock may step back a little.
    if any(before - after > period_ns / 2 for before, after in pairwise(cycles.sense_ns)):
        found.append(f"{label}.read gave an older sense_ns after a newer one")
    return found


def _too_slow(intervals: list[int], period_ns: float, cycles: Cycles, label: str) -> list[str]:
    usual_ns = float(np.median(intervals)) if intervals else 0.0
    if usual_ns <= LATE * period_ns:
        return []
    taken = ", ".join(
        f"{name} takes {np.median(times) / 1e6:.3g} ms"
        for name, times in (("read", cycles.read_ns), ("apply", cycles.apply_ns))
        if times
    )
    return [
        f"{label} cannot keep its period of {period_ns / 1e6:.4g} ms: a cycle takes "
        f"{usual_ns / 1e6:.4g} ms ({taken}): both must return well within a period"
    ]


def _terminated_at_once(stayed: Cycles, label: str) -> list[str]:
    if not (stayed.terminated and len(stayed.values) == 1):
        return []
    return [
        f"{label}.read says `terminated` at the start: no episode could go on from there: check "
        "what sets it, and where `home` leads"
    ]


def _no_numbers(seen: tuple[Seen, ...], label: str) -> list[str]:
    names = [one.name for one in seen if one.seen_low is None or one.seen_high is None]
    return (
        [f"{label}.read gave no number for {', '.join(names)}: check the sensor"] if names else []
    )


def _sank(trial: DriverTrial, driver: WatchedDriver, wrong: Sequence[str]) -> list[str]:
    places = places_of(driver.observation_fields, trial.limits.joints)
    said = places.sank(trial.stayed.values, places.noise(trial.looked.values))
    return [said] if said and not any(said in sentence for sentence in wrong) else []


def _notes(seen: tuple[Seen, ...], driver: WatchedDriver, differs: float | None) -> list[str]:
    notes = []
    if driver.reused:
        notes.append(
            f"{', '.join(sorted(driver.reused))} hands out the driver's own buffer: that is "
            "allowed, and copied"
        )
    if driver.changes_actions:
        notes.append("apply changes the array that it is given: that is allowed, it is a copy")
    if differs:
        notes.append(
            f"apply says that it applied something else than was asked, by up to {differs:g}: "
            "episodes will say `driver` as the reason"
        )
    constant = [one.name for one in seen if one.constant]
    if constant:
        notes.append(
            f"the same to the last bit all the time: {', '.join(constant)}: where the whole "
            "observation is so for robot.limits.frozen_periods, a run ends in a fault"
        )
    jumping = [one.name for one in seen if one.jumps]
    if jumping:
        notes.append(
            f"jumps by a whole turn: {', '.join(jumping)}: these joints go round, so say that they "
            "wrap (docs/safety.md)"
        )
    full = [one.name for one in seen if one.full_turn and not one.jumps]
    if full:
        notes.append(
            f"bounds are a whole turn apart: {', '.join(full)}: where a joint goes round, say that "
            "it wraps (docs/safety.md)"
        )
    outside = [one.name for one in seen if _outside(one)]
    if outside:
        notes.append(f"outside the bounds that the driver declares: {', '.join(outside)}")
    return notes


def _outside(one: Seen) -> bool:
    below = one.low is not None and one.seen_low is not None and one.seen_low < one.low
    above = one.high is not None and one.seen_high is not None and one.seen_high > one.high
    return below or above


def _seen(phases: list[list[Array]], fields: Sequence[FieldSpec]) -> tuple[Seen, ...]:
    rows = [np.array(values) for values in phases if values]
    if not rows:
        return ()
    everything = np.concatenate(rows)
    with np.errstate(invalid="ignore"):  # infinities, which are told
        steps = np.concatenate([np.diff(phase, axis=0) for phase in rows])  # without homing's
    found, at = [], 0
    for field in fields:
        for index in range(field.width):
            name = field.name if field.width == 1 else f"{field.name}[{index}]"
            found.append(_component(name, field, index, everything[:, at], steps[:, at]))
            at += 1
    return tuple(found)


def _component(name: str, field: FieldSpec, index: int, column: Array, steps: Array) -> Seen:
    low, high = field.low[index], field.high[index]
    turn = TURN.get(field.unit, math.inf)
    return Seen(
        name=name,
        unit=field.unit,
        low=_finite(low),
        high=_finite(high),
        seen_low=_finite(column.min()),
        seen_high=_finite(column.max()),
        constant=len(column) > 1 and bool((column == column[0]).all()),
        jumps=bool((np.abs(steps) > turn / 2).any()),
        full_turn=math.isfinite(turn) and abs(high - low - turn) < _FULL * turn,
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _spread(times_ns: Sequence[float]) -> Spread | None:
    if not times_ns:
        return None
    return Spread(float(np.median(times_ns)) / 1e6, max(times_ns) / 1e6)
