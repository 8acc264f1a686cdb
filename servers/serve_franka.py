"""Serves a Franka arm to Fieldtune's `zmq` driver, as the Panda of the family `reach`.

    python serve_franka.py arm.json --address tcp://127.0.0.1:5790

Needs franky-control and pyzmq, and nothing of Fieldtune; docs/franka.md explains arm.json, and what
to look at before the first motion. An arm in reflex is refused until a person has looked at it:
`kill -USR1` to this process, or a start with `--recover`.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from franka_law import (
    ENDS,
    FAMILY_ENDS,
    FARTHEST_M,
    HOME_M,
    JOINTS,
    PERIOD_S,
    POSTURE_RATE,
    TOOL_M,
    Array,
    Bounds,
    displacement_of,
    homewards,
    joint_velocity,
    kept_in,
    mean_velocity,
    next_velocity,
    no_faster,
    start_of,
    turn_back,
    within,
)
from franka_link import Link, NotReady, Seen, Way, explain
from hardware_frames import Description, Field, Sensed
from hardware_server import Mistake, parser, read_object, serve

_HEARD_S = 0.03  # until a stop has reached the controller
_BRAKE_RAD_S2 = 7.5  # the least of the arm's joints' limits
_STILL_RAD_S = 0.02
_CONNECT_S = 10.0
_FARTHEST_SEEN_M = 0.855  # the family's reach
_NUMBER = (int, float)
_KEYS: dict[str, Any] = {
    "robot": str,  # the arm's address
    "arm": str,  # whose joints' ends: fr3 or panda
    "workspace": dict,  # low and high of the end effector, m, base frame
    "max_lease_s": _NUMBER,
    "speed_m_s": _NUMBER,
    "joint_speed_rad_s": _NUMBER,
    "joint_margin_rad": _NUMBER,
    "home_speed_rad_s": _NUMBER,
    "acceleration": _NUMBER,  # of the arm's limits
    "torque_threshold_nm": _NUMBER,  # what makes a reflex
    "force_threshold_n": _NUMBER,
    "realtime": bool,  # whether a kernel without real time is refused
}
_OPTIONAL = {
    "max_lease_s": 0.2,
    "speed_m_s": 0.5,
    "joint_speed_rad_s": 1.0,
    "joint_margin_rad": 0.1,
    "home_speed_rad_s": 0.3,
    "acceleration": 0.5,
    "torque_threshold_nm": 20.0,
    "force_threshold_n": 30.0,
    "realtime": True,
}
_JOINT_SPEED = (0.0, 2.175, "the slowest of a Panda's joints goes no faster")
_RANGES = {  # the least, the most, and why
    "max_lease_s": (0.0, 0.5, "for so long the arm goes on when nobody commands"),
    "speed_m_s": (0.0, 1.7, "a Panda's end effector goes no faster"),
    "joint_speed_rad_s": _JOINT_SPEED,
    "home_speed_rad_s": _JOINT_SPEED,
    "acceleration": (0.05, 1.0, "it is a fraction of the arm's own limits, and has to move it"),
    "torque_threshold_nm": (0.0, 100.0, "beyond that a collision is not felt"),
    "force_threshold_n": (0.0, 100.0, "beyond that a collision is not felt"),
}


class Controller(Protocol):
    """What the plant asks of `franka_link.Link`."""

    def seen(self) -> Seen: ...
    def ready(self) -> Seen: ...
    def move(self, velocity: Array) -> None: ...
    def rest(self) -> None: ...


class Arm:
    """Implements `hardware_rules.Plant`: the family's displacements as joint velocities.

    What is applied is the displacement that the family's controller would have needed for the
    velocity that was commanded, where a limit made it another than was asked.
    """

    def __init__(
        self,
        link: Controller,
        bounds: Bounds,
        home_speed: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._bounds = bounds
        self._home_speed = home_speed
        self._now = now
        self._start: Array | None = None  # while homing
        self._posture = np.zeros(JOINTS)
        self._rotation = np.eye(3)
        self._velocity = np.zeros(3)
        self._due = 0.0

    def home(self, seed: int) -> None:
        self._link.ready()
        self._start, self._due = start_of(seed), 0.0

    def homed(self) -> bool:
        if self._start is None:
            return True
        if self._now() < self._due:
            return False
        self._due = self._now() + PERIOD_S
        seen = self._link.ready()
        wanted = homewards(seen.joints, self._start, self._home_speed)
        wanted = no_faster(wanted, seen.jacobian, self._bounds.speed)
        if not wanted.any() and np.abs(seen.speeds).max() < _STILL_RAD_S:
            self._posture, self._rotation = self._start, seen.rotation
            self._start, self._velocity = None, np.zeros(3)
            return True
        self._link.move(within(wanted, seen.joints, self._bounds))
        return False

    def sense(self) -> Sensed:
        seen = self._link.seen()
        linear = seen.jacobian[:3] @ seen.speeds
        values = np.concatenate([seen.joints, seen.speeds, seen.position, linear])
        return Sensed(values.tolist(), seen.sense_ns)

    def apply(self, action: Sequence[float]) -> list[float]:
        seen, asked = self._link.ready(), np.array(action)
        mean = mean_velocity(asked, self._velocity)
        kept = kept_in(mean, seen.position, self._bounds)
        wanted = joint_velocity(
            seen.jacobian,
            kept,
            turn_back(seen.rotation, self._rotation),
            POSTURE_RATE * (self._posture - seen.joints),
        )
        sent = within(wanted, seen.joints, self._bounds)
        self._link.move(sent)
        applied = asked
        if (kept != mean).any() or (sent != wanted).any():
            applied = displacement_of(seen.jacobian[:3] @ sent, self._velocity)
        self._velocity = next_velocity(applied, self._velocity)
        return applied.tolist()

    def hold(self) -> None:
        self._start, self._velocity = None, np.zeros(3)
        self._link.rest()


def read_settings(path: Path) -> dict[str, Any]:
    """Raises `Mistake`."""
    settings: dict[str, Any] = _OPTIONAL | read_object(path, tuple(_KEYS))
    for key, kind in _KEYS.items():
        if key not in settings:
            raise Mistake(f"{path}: {key!r} is missing: docs/franka.md has an example")
        value = settings[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise Mistake(f"{path}: {key!r} is {value!r}, which it cannot be")
        if kind is _NUMBER and not (value > 0 and math.isfinite(value)):
            raise Mistake(f"{path}: {key!r} is {value}: expected a number above 0")
    for key, (least, most, why) in _RANGES.items():
        value = settings[key]
        if not least <= value <= most:
            bound = f"{most:g} at most" if value > most else f"{least:g} at least"
            raise Mistake(
                f"{path}: {key!r} is {value}: expected {bound}, since {why}; without the key it is "
                f"{_OPTIONAL[key]}"
            )
    if not settings["robot"].strip():
        raise Mistake(
            f"{path}: 'robot' is {settings['robot']!r}: expected the address of the arm's "
            "controller, as 172.16.0.2"
        )
    if settings["arm"] not in ENDS:
        raise Mistake(f"{path}: 'arm' is {settings['arm']!r}: expected {' or '.join(ENDS)}")
    _check_workspace(path, settings["workspace"])
    return settings


def _check_workspace(path: Path, box: dict[str, Any]) -> None:
    sides = [box.get("low"), box.get("high")]
    sound = set(box) == {"low", "high"} and all(
        isinstance(side, list)
        and len(side) == 3
        and all(type(value) in _NUMBER and math.isfinite(value) for value in side)
        for side in sides
    )
    if not sound or not all(low < high for low, high in zip(*sides, strict=True)):
        raise Mistake(
            f"{path}: 'workspace' is {box!r}: expected low and high, three numbers each in m in "
            "the arm's base frame, low below high: where the fingers may be"
        )
    within_box = zip(box["low"], HOME_M, box["high"], strict=True)
    if not all(low < at < high for low, at, high in within_box):
        raise Mistake(
            f"{path}: 'workspace' is {box!r}, and the start's fingertip at {list(HOME_M)} is "
            "outside, where each episode begins: widen it, or move what stands there"
        )


def bounds_of(settings: dict[str, Any]) -> Bounds:
    """Raises `Mistake` for a margin that leaves a start no place."""
    ends, margin = ENDS[settings["arm"]], settings["joint_margin_rad"]
    low = np.maximum(ends[:, 0], FAMILY_ENDS[:, 0]) + margin
    high = np.minimum(ends[:, 1], FAMILY_ENDS[:, 1]) - margin
    start = start_of(0)
    if not ((low < start) & (start < high)).all():
        raise Mistake(f"'joint_margin_rad' is {margin}, which leaves the start no place: less")
    return Bounds(
        low=np.array(settings["workspace"]["low"], dtype=np.float64),
        high=np.array(settings["workspace"]["high"], dtype=np.float64),
        joint_low=low,
        joint_high=high,
        speed=settings["speed_m_s"],
        joint_speed=settings["joint_speed_rad_s"],
        stop_s=settings["max_lease_s"]
        + _HEARD_S
        + settings["joint_speed_rad_s"] / _BRAKE_RAD_S2 / 2,
    )


def describe(settings: dict[str, Any]) -> Description:
    """The fields of `reach` on a Panda, by name, order and unit."""
    anything = math.inf

    def field(name: str, unit: str, bound: float, width: int = 3) -> Field:
        return Field(name, unit, (-bound,) * width, (bound,) * width)

    low, high = (tuple(side.tolist()) for side in FAMILY_ENDS.T)
    return Description(
        robot="panda",
        period_s=PERIOD_S,
        max_lease_s=float(settings["max_lease_s"]),
        observation=(
            Field("joint_position", "rad", low, high),
            field("joint_velocity", "rad/s", anything, JOINTS),
            field("end_effector_position", "m", _FARTHEST_SEEN_M),
            field("end_effector_velocity", "m/s", anything),
        ),
        action=(field("end_effector_displacement", "m", FARTHEST_M),),
    )


def way_of(settings: dict[str, Any]) -> Way:
    return Way(
        hostname=settings["robot"],
        watch_s=settings["max_lease_s"],
        acceleration=settings["acceleration"],
        tool_m=TOOL_M,
        torque_nm=settings["torque_threshold_nm"],
        force_n=settings["force_threshold_n"],
        realtime=settings["realtime"],
    )


def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("settings", type=Path, help="arm.json, as docs/franka.md explains it")
    arguments.add_argument(
        "--recover", action="store_true", help="leave a reflex at the start: look at the arm first"
    )
    given = arguments.parse_args()
    try:
        settings = read_settings(given.settings)
        arm_bounds = bounds_of(settings)
    except Mistake as mistake:
        sys.exit(f"error: {mistake}")
    link = Link(way_of(settings))
    try:
        link.start(_CONNECT_S)
        if given.recover:
            link.recover()
        elif link.seen().errors:
            print(f"{explain(link.seen())}: kill -USR1 {os.getpid()}", file=sys.stderr)
        signal.signal(signal.SIGUSR1, lambda *_: link.recover())
        serve(Arm(link, arm_bounds, settings["home_speed_rad_s"]), describe(settings), given)
    except NotReady as error:
        sys.exit(f"error: {error}")
    finally:
        link.close()


if __name__ == "__main__":
    main()
