"""The rules for joints: position, velocity, acceleration and effort, as pure functions.

What is observed outside a limit is a fault; what is commanded is brought inside, in this order, so
that the later wins where they contradict: acceleration, velocity, position. Near the end of its
range a joint may only go as fast as its acceleration can still brake. The idea of limits as a
library of pure functions is ros2_control's (joint_limits).

`robot.safety.build_joints` makes the numbers. Keeps no state and touches no hardware.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from robot.config import CommandKind
from robot.safety.fault import LimitFault

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
    commanded; None where they are not.
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
        _require("position", joints.position.of(observation), joints)
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
        start = here if previous is None else command.of(previous)
        last = np.zeros(len(start))
        if previous is not None and before is not None:
            last = (start - command.of(before)) / period_s
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
        down = _approach(here - joints.low, joints.max_acceleration, period_s)
        up = _approach(joints.high - here, joints.max_acceleration, period_s)
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
    return (joints.position.of(observation) - joints.position.of(earlier)) / elapsed_s


def _require(what: str, values: Array, joints: JointLimits) -> None:
    low, high = joints.faults[what]
    outside = (values < low) | (values > high)
    if outside.any():
        index = int(np.argmax(outside))
        raise LimitFault(
            f"joint {joints.names[index]}: {what} {values[index]:g} observed, outside "
            f"[{low[index]:g}, {high[index]:g}]: look at what moved it before re-arming"
        )
