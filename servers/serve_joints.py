"""Serves two simulated joints that follow velocity commands: the example to start from.

    python serve_joints.py --address tcp://127.0.0.1:5790

Time runs for real: a joint whose command is not renewed goes on turning until it is held. The C++
example, cpp/serve_joints.cpp, is the same robot.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from hardware_frames import Description, Field, Sensed
from hardware_server import parser, serve

STOP_RAD = 2.9
FASTEST_RAD_S = 1.0
HOMING_RAD_S = 0.2
JOINTS = 2

DESCRIPTION = Description(
    robot="joints",
    period_s=0.02,
    max_lease_s=0.5,
    observation=(
        Field("position", "rad", (-STOP_RAD,) * JOINTS, (STOP_RAD,) * JOINTS),
        Field("velocity", "rad/s", (float("-inf"),) * JOINTS, (float("inf"),) * JOINTS),
    ),
    action=(Field("velocity", "rad/s", (-FASTEST_RAD_S,) * JOINTS, (FASTEST_RAD_S,) * JOINTS),),
)


class Joints:
    """Implements `hardware_rules.Plant`: integrators between two stops."""

    def __init__(self) -> None:
        self._position = [0.0] * JOINTS
        self._velocity = [0.0] * JOINTS
        self._goal: list[float] | None = None
        self._at_ns = time.monotonic_ns()

    def home(self, seed: int) -> None:
        """Turn towards up to 0.2 rad, by the seed's bytes."""
        self._advance()
        self._goal = [0.2 * (seed >> 8 * joint & 0xFF) / 255 for joint in range(JOINTS)]

    def homed(self) -> bool:
        self._advance()
        return self._goal is None

    def sense(self) -> Sensed:
        self._advance()
        return Sensed([*self._position, *self._velocity], self._at_ns)

    def apply(self, action: Sequence[float]) -> list[float]:
        """Turn at these velocities from now on; none at a stop and outwards."""
        self._advance()
        self._goal = None
        self._velocity = [
            0.0 if abs(position) >= STOP_RAD and position * velocity > 0 else velocity
            for position, velocity in zip(self._position, action, strict=True)
        ]
        return list(self._velocity)

    def hold(self) -> None:
        self._advance()
        self._goal = None
        self._velocity = [0.0] * JOINTS

    def _advance(self) -> None:
        now_ns = time.monotonic_ns()
        elapsed_s = (now_ns - self._at_ns) / 1e9
        self._at_ns = now_ns
        if self._goal is not None:
            self._turn_home(self._goal, elapsed_s)
            return
        for joint in range(JOINTS):
            position = self._position[joint] + self._velocity[joint] * elapsed_s
            self._position[joint] = min(max(position, -STOP_RAD), STOP_RAD)
            if abs(position) >= STOP_RAD and position * self._velocity[joint] > 0:
                self._velocity[joint] = 0.0

    def _turn_home(self, goals: list[float], elapsed_s: float) -> None:
        most = HOMING_RAD_S * elapsed_s
        left = [goal - position for goal, position in zip(goals, self._position, strict=True)]
        self._velocity = [0.0] * JOINTS
        self._position = [
            position + min(max(way, -most), most)
            for position, way in zip(self._position, left, strict=True)
        ]
        if all(abs(way) <= most for way in left):
            self._goal = None


if __name__ == "__main__":
    serve(Joints(), DESCRIPTION, parser(__doc__.splitlines()[0]).parse_args())
