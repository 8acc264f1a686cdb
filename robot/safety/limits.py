"""Limits as pure functions of command, previous command, observation, limits and period.

Holds the rules; `robot.safety.build` makes the numbers. Keeps no state and touches no hardware.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from robot.safety.fault import LimitFault
from robot.safety.joints import JointLimits, allow_joints, check_joints, stay_there

Array = NDArray[np.float64]

ROUNDING = 1e-6  # of a range: a command this far outside is not a broken policy


@dataclass(frozen=True)
class Limits:
    """Everything that is allowed: `(action,)` and `(observation,)` arrays in physical units.

    `range_low/high` is what the policy was made for: a command outside is a fault. `low/high` is
    the allowed part of it, never more: a command outside is clamped. `rate` is the largest change a
    second. An observation outside `fault_low/high` is a fault. Where an observation is at or beyond
    `box_low/high`, action component `box_action` may only move it back (-1: no box there).
    `frozen_periods` is how long it may stay the same to the last bit; None means for ever.
    `loosened` says what a person allows beyond the robot's own limits.
    """

    action_names: tuple[str, ...]
    range_low: Array
    range_high: Array
    low: Array
    high: Array
    rate: Array
    observation_names: tuple[str, ...]
    fault_low: Array
    fault_high: Array
    box_low: Array
    box_high: Array
    box_action: NDArray[np.int64]
    observation_age_s: float
    frozen_periods: int | None
    joints: tuple[JointLimits, ...]
    loosened: tuple[str, ...]

    @cached_property
    def finite_faults(self) -> tuple[Array, Array]:
        """`fault_low/high`, the largest numbers there are in the place of infinity."""
        most = np.finfo(np.float64).max
        return np.maximum(self.fault_low, -most), np.minimum(self.fault_high, most)

    @cached_property
    def rated(self) -> bool:
        """Whether any rate is limited."""
        return bool(np.isfinite(self.rate).any())

    @cached_property
    def boxes(self) -> tuple[tuple[int, int], ...]:
        """Every component of an observation that has a box, and the action's that it holds."""
        held = self.box_action.tolist()
        return tuple((index, action) for index, action in enumerate(held) if action >= 0)


def check_observation(
    observation: Array,
    age_s: float,
    limits: Limits,
    *,
    earlier: Array | None = None,
    elapsed_s: float = 0.0,
    repeats: int = 0,
) -> None:
    """Raise `LimitFault` unless the observation may be acted on.

    Args:
        earlier: the observation before, sensed `elapsed_s` > 0 ago; None at an episode's start.
        repeats: how often in a row it has been the same to the last bit.
    """
    if observation.shape != limits.fault_low.shape:
        raise LimitFault(
            f"the observation has shape {observation.shape}, expected {limits.fault_low.shape}"
        )
    low, high = limits.finite_faults
    if not ((observation >= low) & (observation <= high)).all():  # false for what is no number too
        raise LimitFault(f"observation {_unsound(observation, limits)}")
    if age_s > limits.observation_age_s:
        raise LimitFault(
            f"the observation is {age_s:.3f} s old, at most {limits.observation_age_s:.3f} s are "
            "allowed: check the sensors' link, or the load of this machine"
        )
    if age_s < -limits.observation_age_s:
        raise LimitFault(
            f"the observation was sensed {-age_s:.3f} s from now: the driver must give times of "
            "this robot's monotonic clock"
        )
    if limits.frozen_periods is not None and repeats >= limits.frozen_periods:
        raise LimitFault(
            f"the observation has been the same to the last bit for {repeats} periods: check the "
            "sensors; where they may stand still, raise robot.limits.frozen_periods"
        )
    for joints in limits.joints:
        check_joints(observation, earlier, elapsed_s, joints)


def allow(
    command: Array,
    previous: Array | None,
    observation: Array,
    limits: Limits,
    period_s: float,
    before: Array | None = None,
) -> tuple[Array, str]:
    """The allowed action nearest to `command`, and why it differs (empty when it does not).

    Rules come in the order rate, joints, box, range: where they contradict, the later wins.

    Args:
        command: what the policy asks for.
        previous: the action allowed one period ago; None at an episode's start.
        before: the action allowed two periods ago; in an episode's second period, what `staying`
            says about the first observation.
        observation: checked by `check_observation`.

    Raises:
        LimitFault: not numbers, or outside the range that the policy was made for.
    """
    if command.shape != limits.low.shape:
        raise LimitFault(f"the policy's action has shape {command.shape}, not {limits.low.shape}")
    reasons = []
    action = _clip(command, limits.low, limits.high)
    if not (action == command).all():  # nor is it where the command is no number
        _require_sound(command, limits)
        reasons += _changes("range", limits.action_names, command, action)
    if previous is not None and limits.rated:
        step = limits.rate * period_s
        slower = _clip(action, previous - step, previous + step)
        reasons += _changes("rate", limits.action_names, action, slower)
        action = slower
    for joints in limits.joints:
        action, changed = allow_joints(action, previous, before, observation, joints, period_s)
        reasons += changed
    if limits.boxes:
        inward = _keep_inside(action, observation, limits)
        reasons += _changes("box", limits.action_names, action, inward)
        action = inward
    final = _clip(action, limits.low, limits.high)  # what another rule asks for is no excuse
    reasons += _changes("range", limits.action_names, action, final)
    return final, "; ".join(reasons)


def staying(observation: Array, limits: Limits) -> Array:
    """The command that leaves each joint where it is: what a first command starts from."""
    action = np.zeros(len(limits.low))
    for joints in limits.joints:
        stay_there(action, observation, joints)
    return action


def _require_sound(command: Array, limits: Limits) -> None:
    broken = ~np.isfinite(command)
    if broken.any():
        raise LimitFault(f"the policy's action {_first(limits.action_names, broken, command)}")
    slack = ROUNDING * (limits.range_high - limits.range_low)
    outside = (command < limits.range_low - slack) | (command > limits.range_high + slack)
    if outside.any():
        index = int(np.argmax(outside))
        raise LimitFault(
            f"the policy's action {_first(limits.action_names, outside, command)}, outside "
            f"[{limits.range_low[index]:g}, {limits.range_high[index]:g}]"
        )


def _keep_inside(action: Array, observation: Array, limits: Limits) -> Array:
    low, high = np.full(len(action), -np.inf), np.full(len(action), np.inf)
    for index, component in limits.boxes:
        if observation[index] >= limits.box_high[index]:
            high[component] = 0.0
        if observation[index] <= limits.box_low[index]:
            low[component] = 0.0
    return _clip(action, low, high)


def _changes(rule: str, names: tuple[str, ...], before: Array, after: Array) -> list[str]:
    changed = before != after
    if not changed.any():
        return []
    return [f"{rule} {names[index]}" for index in np.flatnonzero(changed)]


def _clip(values: Array, low: Array, high: Array) -> Array:
    """`np.clip`, in a third of its time for a handful of numbers. Keeps NaN."""
    return np.minimum(np.maximum(values, low), high)


def _unsound(observation: Array, limits: Limits) -> str:
    """What is wrong with an observation in which something is."""
    broken = ~np.isfinite(observation)
    if broken.any():
        return _first(limits.observation_names, broken, observation)
    low, high = limits.fault_low, limits.fault_high
    outside = (observation < low) | (observation > high)
    index = int(np.argmax(outside))
    said = _first(limits.observation_names, outside, observation)
    return f"{said}, outside [{low[index]:g}, {high[index]:g}]"


def _first(names: tuple[str, ...], wrong: NDArray[np.bool_], values: Array) -> str:
    index = int(np.argmax(wrong))
    return f"{names[index]} is {values[index]:g}"
