"""The trainer's emergency stop on disk: it outlives the process, until a person has cleared it.

Holds one small file in the run's folder, as a robot's latch is one. It must not know the wire.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from pathlib import Path

from fieldtune.robot.safety.latch import latch, latched, release

log = logging.getLogger(__name__)

FILE = "emergency-stop.txt"


def stop_robots_on_signal(run: Path, stop: Callable[[], None]) -> None:
    """Call `stop` on SIGUSR1 from now on, and at once where an earlier stop was never cleared."""
    path = run / FILE

    def on_signal(*_: object) -> None:
        stop()  # first: the disk may be full
        latch(path, "SIGUSR1")

    signal.signal(signal.SIGUSR1, on_signal)
    if latched(path) is not None:
        log.warning(
            "the emergency stop is on (%s): every robot that connects is stopped, until "
            "`fieldtune clear-stop --run %s`",
            path,
            run,
        )
        stop()


def clear(run: Path) -> bool:
    """Take the stop back, for a trainer that starts from now on; whether there was one."""
    if latched(run / FILE) is None:
        return False
    release(run / FILE)
    return True
