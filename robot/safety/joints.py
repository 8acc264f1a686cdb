"""The rules for joints: position, velocity, acceleration and effort, as pure functions.

What is observed outside a limit is a fault; what is commanded is brought inside, in this order, so
that the later wins where they contradict: acceleration, velocity, position. Position wins by
letting a joint stop or come back, never by moving it: its window holds the place where a joint is
told to be, or a velocity of 0. Near the end of its range a joint may only go as fast as its
acceleration can still brake. The idea of limits as a
library of pure functions is ros2_control's (joint_limits).

`fieldtune.robot.safety.build_joints` makes the numbers. Keeps no state and touches no hardware.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.config import CommandKind
from fieldtune.robot.safety.fault import LimitFault
from fieldtune.robot.safety.wrapping import TURN, Targets, Wrapping

Array = NDArray[np.float64]

_FAR = 1e12  # rad or m: where a joint has no end
FAULT_MARGIN = 0.05  # observed: joints rest a little past their stops, and sensors overshoot


@dataclass(frozen=True)
class Reading:
    """Where a group's joints are in a vector; value × `factor` is in rad, m, seconds, N m, N."""

    part: slice
    factor: float = 1.0

    def of(self, vector: Array) -> Array:
        return vector[self.part] * self.factor


@dataclass(frozen=True)
class JointLimits:
    """One group of joints: `(joint,)` arrays, infinite where nothing is limited.

    `position`, `velocity` and `effort` say where they are observed, `command` where they are
    commanded; None where they are not. `wrapping` says which joints wrap, None where none does, and
    `targets` what those may be told, None unless positions are commanded. `reach` is within which
    ends commanded positions may lead besides `low/high`, as they are told, in rad or m; None where
    nothing else bounds them. `fastest_seen` is the velocity up to which positions tell velocities.
    """

    names: tuple[str, ...]
    low: Array
    high: Array
    max_velocity: Array
    max_acceleration: Array
    effort_low: Array
    effort_high: Array
    position: Reading | None = None
    velocity: Reading | None = None
    effort: Reading | None = None
    command: Reading | None = None
    kind: CommandKind | None = None
    wrapping: Wrapping | None = None
    targets: Targets | None = None
    reach: tuple[Array, Array] | None = None
    fastest_seen: float = math.inf

    @cached_property
    def faults(self) -> dict[str, tuple[Array, Array]]:
        """By quantity, the range outside which an observed joint is a fault."""
        span, more = self.high - self.low, 1 + FAULT_MARGIN
        margin = np.where(np.isfinite(span), FAULT_MARGIN * span, 0.0)
        return {
            "position": (self.low - margin, self.high + margin),
            "velocity": (-more * self.max_velocity, more * self.max_velocity),
            "acceleration": (-more * self.max_acceleration, more * self.max_acceleration),
            "effort": (more * self.effort_low, more * self.effort_high),
        }

    @cached_property
    def moves(self) -> bool:
        """Whether a command says how the joints move, rather than what pushes them."""
        return self.command is not None and self.kind is not CommandKind.EFFORT

    @cached_property
    def told_where(self) -> bool:
        """Whether a command says where joints are to be: then 0 is a place, and no rest."""
        return self.command is not None and self.kind is CommandKind.POSITION

    def shows(self, joint: int, component: int) -> bool:
        """Whether a component of the observation is the position of a joint that does not wrap."""
        if self.position is None or component != self.position.part.start + joint:
            return False
        return self.wrapping is None or not self.wrapping.wraps[joint]

    def placed(self, position: Array) -> Array:
        """Positions as the ends tell them, by whole turns, where joints wrap."""
        return position if self.wrapping is None else self.wrapping.placed(position)

    def way(self, there: Array, here: Array) -> Array:
        """How far it is from one position to another, the short way round where joints wrap."""
        return there - here if self.wrapping is None else self.wrapping.way(there, here)


def check_joints(
    observation: Array, earlier: Array | None, elapsed_s: float, joints: JointLimits
) -> None:
    """Raise `LimitFault` where an observed joint is beyond its limits by more than the margin.

    Velocities come from their field, else from positions. Accelerations are looked at only where
    no command bounds them.

    Args:
        earlier: the observation before, `elapsed_s` ago; None at an episode's start.
    """
    if joints.position is not None:
        _require("position", joints.placed(joints.position.of(observation)), joints)
    if joints.effort is not None:
        _require("effort", joints.effort.of(observation), joints)
    velocity = _velocity(observation, earlier, elapsed_s, joints)
    if velocity is not None:
        _require("velocity", velocity, joints)
    if joints.velocity is not None and earlier is not None and not joints.moves:
        change = joints.velocity.of(observation) - joints.velocity.of(earlier)
        _require("acceleration", change / elapsed_s, joints)


def allow_joints(
    action: Array,
    previous: Array | None,
    before: Array | None,
    observation: Array,
    joints: JointLimits,
    period_s: float,
) -> tuple[Array, list[str]]:
    """The action whose commanded joints keep their limits, and what was changed for which rule.

    Args:
        previous: the action allowed one period ago; None at an episode's start.
        before: the one before that, or where the joints stood then (`stay_there`).
    """
    if joints.command is None:
        return action, []
    if joints.moves:
        windows = _motion(previous, before, observation, joints, joints.command, period_s)
    else:
        windows = _pushes(observation, joints)
    part, factor, reasons = joints.command.part, joints.command.factor, []
    action = action.copy()
    for rule, low, high in windows:
        command = action[part]
        inside = np.minimum(np.maximum(command, low / factor), high / factor)
        changed = inside != command
        if changed.any():
            reasons += [f"joint {rule} {joints.names[i]}" for i in np.flatnonzero(changed)]
            action[part] = inside
    return action, reasons


def the_way_round(
    action: Array, previous: Array | None, observation: Array, joints: JointLimits
) -> tuple[Array, list[str]]:
    """The same targets of joints that wrap, by whole turns where the way to them is to lead.

    What is compared with the action before, or with where a joint stands, is right only there;
    `told_again` leads back. `previous` as for `allow_joints`. A target where other turns are
    counted is changed for good, and is said.
    """
    command, targets = joints.command, joints.targets
    if command is None or targets is None:
        return action, []
    turns = targets.turns(command.of(action), start_of(previous, observation, joints))
    if not turns.any():
        return action, []
    action = action.copy()
    action[command.part] += turns * (TURN / command.factor)
    counted = np.flatnonzero((turns != 0) & ~targets.crosses)
    return action, [f"joint turn {joints.names[index]}" for index in counted]


def told_again(action: Array, wanted: Array, asked: Array, joints: JointLimits) -> Array:
    """Targets across the bounds of a whole turn, told within them.

    Args:
        action: what is allowed of `wanted`.
        wanted: what `the_way_round` made of `asked`.
    """
    command, targets = joints.command, joints.targets
    if command is None or targets is None:
        return action
    part, allowed = command.part, action[command.part]
    within = targets.folded(command.of(action)) / command.factor
    within = np.where(allowed == wanted[part], asked[part], within)  # to the last bit
    action = action.copy()
    action[part] = np.where(targets.crosses, within, allowed)
    return action


def stay_there(action: Array, observation: Array, joints: JointLimits) -> None:
    """Write the observed positions into `action`, where positions are commanded."""
    if joints.kind is CommandKind.POSITION and joints.command and joints.position:
        action[joints.command.part] = joints.position.of(observation) / joints.command.factor


_Window = tuple[str, Array, Array]


def _motion(
    previous: Array | None,
    before: Array | None,
    observation: Array,
    joints: JointLimits,
    command: Reading,
    period_s: float,
) -> list[_Window]:
    """Windows for commands that say where to be or how fast to go, in the command's own terms."""
    here = None if joints.position is None else joints.position.of(observation)
    if joints.kind is CommandKind.POSITION:
        assert here is not None  # build_joints requires it
        start = start_of(previous, observation, joints)
        last = np.zeros(len(start))
        if previous is not None and before is not None:
            last = joints.way(start, command.of(before)) / period_s
        here, scale, offset = start, period_s, start
    else:
        scale = period_s if joints.kind is CommandKind.DISPLACEMENT else 1.0
        offset = np.zeros(len(joints.names))
        last = offset if previous is None else command.of(previous) / scale
    change = joints.max_acceleration * period_s
    speeds = [
        ("acceleration", last - change, last + change),
        ("velocity", -joints.max_velocity, joints.max_velocity),
    ]
    if here is not None:
        here = joints.placed(here)
        down = _approach(here - joints.low, joints.max_acceleration, period_s)
        up = _approach(joints.high - here, joints.max_acceleration, period_s)
        if joints.reach is not None:
            low, high = joints.reach
            down = np.minimum(down, _approach(offset - low, joints.max_acceleration, period_s))
            up = np.minimum(up, _approach(high - offset, joints.max_acceleration, period_s))
        speeds.append(("position", -down, up))
    return [(rule, offset + low * scale, offset + high * scale) for rule, low, high in speeds]


def _approach(distance: Array, acceleration: Array, period_s: float) -> Array:
    """The highest speed for one period after which braking still ends before `distance`.

    v·T + v²/2a = distance; without a bound on acceleration, v·T = distance. Both are
    v = 2·distance / (T + √(T² + 2·distance/a)).
    """
    room = 2 * np.minimum(np.maximum(distance, 0.0), _FAR)
    return room / (period_s + np.sqrt(period_s**2 + room / acceleration))


def _pushes(observation: Array, joints: JointLimits) -> list[_Window]:
    """Windows for efforts: what the motor may do, and nothing outwards at a limit of motion."""
    windows = [("effort", joints.effort_low, joints.effort_high)]
    for rule, reading, low, high in (
        ("velocity", joints.velocity, -joints.max_velocity, joints.max_velocity),
        ("position", joints.position, joints.low, joints.high),
    ):
        if reading is not None:
            now = reading.of(observation)
            now = joints.placed(now) if rule == "position" else now
            least = np.where(now <= low, 0.0, -np.inf)
            windows.append((rule, least, np.where(now >= high, 0.0, np.inf)))
    return windows


def _velocity(
    observation: Array, earlier: Array | None, elapsed_s: float, joints: JointLimits
) -> Array | None:
    if joints.velocity is not None:
        return joints.velocity.of(observation)
    if joints.position is None or earlier is None:
        return None
    there, here = joints.position.of(observation), joints.position.of(earlier)
    return joints.way(there, here) / elapsed_s


def start_of(previous: Array | None, observation: Array, joints: JointLimits) -> Array:
    """Where commanded positions start from: the command before, else where the joints stand.

    In rad or m, `(joint,)`, told as commands tell it.
    """
    assert joints.command is not None
    assert joints.position is not None  # build_joints requires it
    if previous is not None:
        return joints.command.of(previous)
    here = joints.position.of(observation)
    return here if joints.targets is None else joints.targets.start(here)


def _require(what: str, values: Array, joints: JointLimits) -> None:
    low, high = joints.faults[what]
    outside = (values < low) | (values > high)
    if outside.any():
        index = int(np.argmax(outside))
        raise LimitFault(
            f"joint {joints.names[index]}: {what} {values[index]:g} observed, outside "
            f"[{low[index]:g}, {high[index]:g}]: look at what moved it before re-arming"
        )
