"""Limits as pure functions of command, previous command, observation, limits and period.

Holds the rules; `fieldtune.robot.safety.build` makes the numbers. Keeps no state and touches no
hardware.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.safety.fault import Implausible, LimitFault
from fieldtune.robot.safety.joints import (
    FAULT_MARGIN,
    JointLimits,
    allow_joints,
    check_joints,
    stay_there,
    the_way_round,
    told_again,
)
from fieldtune.robot.safety.plausible import FARTHEST
from fieldtune.robot.safety.reach import TargetBox, lead_back, require_in_range
from fieldtune.robot.timing.clock import SECOND_NS

Array = NDArray[np.float64]

ROUNDING = 1e-6  # of a range: a command this far outside is not a broken policy


@dataclass(frozen=True)
class Limits:
    """Everything that is allowed: `(action,)` and `(observation,)` arrays in physical units.

    `range_low/high` is what the policy was made for: a command outside is a fault. `low/high` is
    the allowed part of it, never more: a command outside is clamped. `rate` is the largest change a
    second. An observation outside `fault_low/high` is a fault: these are finite, and the narrower
    of the robot's own, `own_low/high`, and of what training saw. Where an observation is at or
    beyond `box_low/high`, action component `box_action` may only move it back (-1: no box there);
    where that tells a joint's position by which the box is observed, the joint's `reach` does it.
    `frozen_periods` is how long it may stay the same to the last bit; None means for ever.
    `late_fraction` is the share of control periods that may be left out. `loosened` says what a
    person allows beyond the robot's own limits.
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
    own_low: Array
    own_high: Array
    box_low: Array
    box_high: Array
    box_action: NDArray[np.int64]
    observation_age_s: float
    frozen_periods: int | None
    joints: tuple[JointLimits, ...]
    loosened: tuple[str, ...]
    late_fraction: float

    @cached_property
    def rated(self) -> bool:
        """Whether any rate is limited."""
        return bool(np.isfinite(self.rate).any())

    @cached_property
    def patience_ns(self) -> int:
        """How long a cycle may take: as long as an observation may be old."""
        return round(self.observation_age_s * SECOND_NS)

    @cached_property
    def applicable(self) -> tuple[Array, Array]:
        """The range of what hardware may say that it was sent: the policy's, by a margin."""
        margin = FAULT_MARGIN * (self.range_high - self.range_low)
        return self.range_low - margin, self.range_high + margin

    @cached_property
    def turning(self) -> tuple[JointLimits, ...]:
        """Groups of joints of which some wrap and are told where to be."""
        return tuple(group for group in self.joints if group.targets is not None)

    @cached_property
    def moving(self) -> NDArray[np.bool_]:
        """Whether joints say that a component moves them, so that `staying` knows it: `(action,)`,
        read only."""
        moving = np.zeros(len(self.rate), dtype=bool)
        for joints in self.joints:
            if joints.moves and joints.command is not None:
                moving[joints.command.part] = True
        moving.flags.writeable = False
        return moving

    @cached_property
    def first_rate(self) -> Array:
        """`rate` of an episode's first command, which starts from where `staying` says: infinite
        for a component that no joints say the meaning of."""
        return np.where(self.moving, self.rate, np.inf)

    @cached_property
    def told(self) -> dict[int, tuple[JointLimits, int]]:
        """By component of an action that says where a joint is to be: its group, which joint."""
        return {
            joints.command.part.start + joint: (joints, joint)
            for joints in self.joints
            if joints.told_where and joints.command is not None
            for joint in range(len(joints.names))
        }

    @cached_property
    def boxes(self) -> tuple[tuple[int, int], ...]:
        """Every component of an observation that has a box, and the action's that it holds, of
        which 0 is rest."""
        held = enumerate(self.box_action.tolist())
        return tuple((i, action) for i, action in held if action >= 0 and action not in self.told)

    @cached_property
    def target_boxes(self) -> tuple[TargetBox, ...]:
        """The boxes that hold actions which say where to be, but for those that are a `reach`."""
        found = []
        for index, action in enumerate(self.box_action.tolist()):
            if action not in self.told:
                continue
            joints, joint = self.told[action]
            if not joints.shows(joint, index):
                low, high = float(self.box_low[index]), float(self.box_high[index])
                rate = float(self.rate[action])
                found.append(TargetBox(index, action, low, high, joints, joint, rate))
        return tuple(found)


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
        earlier: the observation before, None at an episode's start. It was sensed `elapsed_s` ago,
            a period at least: in less a command's step may have been seen, after a late cycle.
        repeats: how often in a row it has been the same to the last bit.
    """
    if observation.shape != limits.fault_low.shape:
        raise LimitFault(
            f"the observation has shape {observation.shape}, expected {limits.fault_low.shape}"
        )
    low, high = limits.fault_low, limits.fault_high
    if not ((observation >= low) & (observation <= high)).all():  # false for what is no number too
        raise _unsound(observation, limits)
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

    Rules come in the order rate, joints, box, range: where they contradict, the later wins. What
    wins may let a robot stop or come back, and never moves it faster than rate and velocity allow:
    `build_limits` refuses ranges that would, and so does the first command of an episode.

    Args:
        command: what the policy asks for.
        previous: the action allowed one period ago; None at an episode's start.
        before: the action allowed two periods ago; in an episode's second period, what `staying`
            says about the first observation.
        observation: checked by `check_observation`.

    Raises:
        LimitFault: not numbers, outside the range that the policy was made for, or an episode that
            begins where no command may leave a joint.
    """
    if command.shape != limits.low.shape:
        raise LimitFault(f"the policy's action has shape {command.shape}, not {limits.low.shape}")
    if previous is None:
        require_in_range(observation, limits.joints, limits.low, limits.high, limits.rate, period_s)
    reasons = []
    action = _clip(command, limits.low, limits.high)
    if not (action == command).all():  # nor is it where the command is no number
        _require_sound(command, limits)
        reasons += _changes("range", limits.action_names, command, action)
    asked = action
    for joints in limits.turning:
        action, changed = the_way_round(action, previous, observation, joints)
        reasons += changed
    wanted = action
    if limits.rated:
        first = previous is None
        start = staying(observation, limits) if previous is None else previous
        step = (limits.first_rate if first else limits.rate) * period_s
        slower = _clip(action, start - step, start + step)
        reasons += _changes("rate", limits.action_names, action, slower)
        action = slower
    for joints in limits.joints:
        action, changed = allow_joints(action, previous, before, observation, joints, period_s)
        reasons += changed
    if limits.boxes:
        inward = _keep_inside(action, observation, limits)
        reasons += _changes("box", limits.action_names, action, inward)
        action = inward
    if limits.target_boxes:
        inward = lead_back(action, previous, observation, limits.target_boxes, period_s)
        reasons += _changes("box", limits.action_names, action, inward)
        action = inward
    for joints in limits.turning:
        action = told_again(action, wanted, asked, joints)
    final = _clip(action, limits.low, limits.high)  # what another rule asks for is no excuse
    reasons += _changes("range", limits.action_names, action, final)
    return final, "; ".join(reasons)


def check_applied(applied: Array, allowed: Array, limits: Limits) -> None:
    """Raise `LimitFault` unless what the hardware says that it was sent can be true.

    It may be another action than was allowed, but one of the policy's range, by a margin.
    """
    if applied.shape == allowed.shape:
        if (applied == allowed).all():
            return
        low, high = limits.applicable
        if ((applied >= low) & (applied <= high)).all():
            return
    raise LimitFault(
        f"the driver says that it applied {applied}, expected {len(allowed)} numbers in the "
        f"action's range, {limits.range_low} to {limits.range_high}: check the actuators, their "
        "link and the driver's unit"
    )


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


def _unsound(observation: Array, limits: Limits) -> LimitFault:
    """What is wrong with an observation in which something is: its own limits come first."""
    names = limits.observation_names
    broken = ~np.isfinite(observation)
    if broken.any():
        return LimitFault(f"observation {_first(names, broken, observation)}")
    for low, high in ((limits.own_low, limits.own_high), (limits.fault_low, limits.fault_high)):
        outside = (observation < low) | (observation > high)
        if outside.any():
            break
    index = int(np.argmax(outside))
    said = f"observation {_first(names, outside, observation)}"
    said += f", outside [{low[index]:g}, {high[index]:g}]"
    if low is limits.own_low:
        absurd = abs(observation[index]) > FARTHEST
        return LimitFault(said + ": nothing measures so much, check the sensor" * absurd)
    return Implausible(
        f"{said}, ten times what training saw: check the sensor and its unit; where it is right, "
        f"give robot.limits.box.{names[index].partition('[')[0]} bounds of its own"
    )


def _first(names: tuple[str, ...], wrong: NDArray[np.bool_], values: Array) -> str:
    index = int(np.argmax(wrong))
    return f"{names[index]} is {values[index]:g}"
