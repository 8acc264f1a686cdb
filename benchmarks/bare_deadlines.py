"""A loop that does nothing but sleep to absolute deadlines, with the robot's priority.

`python -m benchmarks.bare_deadlines PERIOD_S` prints a line of JSON every five seconds until it is
told to end: what this machine takes from any loop, whatever it does. A deadline is missed where the
loop wakes after its period; periods slept through are missed too.
"""

from __future__ import annotations

import json
import signal
import sys
import time

from fieldtune.robot.config import RealtimeConfig
from fieldtune.robot.timing.clock import SECOND_NS
from fieldtune.robot.timing.cycle_report import Histogram
from fieldtune.robot.timing.realtime import realtime

SAY_S = 5.0


def main() -> None:
    period_ns = round(float(sys.argv[1]) * SECOND_NS)
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
    jitter, cycles, overruns, skipped = Histogram(), 0, 0, 0

    def say() -> None:
        told = {"cycles": cycles, "overruns": overruns, "skipped": skipped}
        print(json.dumps(told | {"jitter_us": jitter.summary()}), flush=True)

    every = round(SAY_S * SECOND_NS / period_ns)
    with realtime(RealtimeConfig(), 1.0):
        deadline = woke = time.monotonic_ns()
        late = 1  # periods slept through just now; the interval after those is nobody's
        while not ending:
            deadline += period_ns
            while (wait := deadline - time.monotonic_ns()) > 0:
                time.sleep(wait / SECOND_NS)
            last, woke = woke, time.monotonic_ns()
            cycles += 1
            if late == 0:
                jitter.add(abs(woke - last - period_ns))
            late = (woke - deadline) // period_ns
            overruns += late > 0
            skipped += late
            deadline += late * period_ns
            if cycles % every == 0:
                say()
    say()


if __name__ == "__main__":
    main()
