"""`servers/serve_sim.py`, which also says when it brought the robot to rest, and what it was doing.

`python -m benchmarks.watched_server FAMILY --address ADDRESS` writes a line of JSON for each rest:
when the observation was sensed that the last command answered, when that command was applied, and
when the robot was held; ns of the monotonic clock, which all processes share.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))  # they import each other as scripts

from hardware_frames import Sensed
from hardware_server import parser, serve
from serve_sim import Simulated, describe

from fieldtune.robot.drivers.sim import SimDriver, SimOptions
from fieldtune.robot.timing.realtime import prioritise

PRIORITY = 40


class Watched(Simulated):
    """The plant, and the times of what was asked of it."""

    def __init__(self, driver: SimDriver) -> None:
        super().__init__(driver)
        self._sensed_ns = self._answered_ns = self._applied_ns = 0

    def sense(self) -> Sensed:
        sensed = super().sense()
        self._sensed_ns = time.monotonic_ns()
        return sensed

    def apply(self, action: Sequence[float]) -> list[float]:
        applied = super().apply(action)
        self._answered_ns, self._applied_ns = self._sensed_ns, time.monotonic_ns()
        return applied

    def hold(self) -> None:
        super().hold()
        held_ns = time.monotonic_ns()
        if self._applied_ns:
            times = {"answered": self._answered_ns, "applied": self._applied_ns, "held": held_ns}
            print(json.dumps(times), flush=True)
            self._applied_ns = 0


if __name__ == "__main__":
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("family")
    given = arguments.parse_args()
    robot = SimDriver(given.family, SimOptions())
    robot.connect()
    print(prioritise(PRIORITY, ExitStack()), file=sys.stderr, flush=True)
    serve(Watched(robot), describe(robot, ()), given)
