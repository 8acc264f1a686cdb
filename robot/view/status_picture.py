"""The monitor's look in the picture: a page, what changed in the log, and the loop's own numbers.

Knows a snapshot and a recording; reads nothing itself.
"""

from __future__ import annotations

import time

import numpy as np

from fieldtune.robot.monitor.snapshot import Life, Snapshot
from fieldtune.robot.view.recording import SERIES, Recording, Times
from fieldtune.robot.view.tables import status

_LOOP = {
    "jitter_p99": "jitter, 99th percentile",
    "cycle_p99": "cycle, 99th percentile",
    "cycle_max": "cycle, longest",
}


class StatusPicture:
    """Draws snapshots into `status`, `loop`, `uploads` and `events`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._said = ""
        self._uploads: dict[str, int] = {}
        for index, (name, says) in enumerate(_LOOP.items()):
            recording.series(f"loop/{name}", says, SERIES[index])
        for index, name in enumerate(("pending", "acknowledged", "rejected")):
            recording.series(f"uploads/{name}", name, SERIES[index])

    def tell(self, snapshot: Snapshot, step: int) -> None:
        """Draw one snapshot, at the wall clock's time and the latest step."""
        now = Times(np.array([time.time_ns()]), np.array([step]))
        self._recording.document("status", now, status(snapshot))
        self._state(snapshot, now)
        told = snapshot.status
        if told is not None and snapshot.life is Life.RUNNING and told.cycles:
            values = (told.jitter_us["p99"], told.cycle_us["p99"], told.cycle_us["max"])
            for name, value in zip(_LOOP, values, strict=True):
                self._recording.scalars(f"loop/{name}", now, [value / 1e3])
        if snapshot.uploads is not None:
            self._sent(snapshot.uploads, now)

    def _state(self, snapshot: Snapshot, now: Times) -> None:
        told = snapshot.status
        state = f"process {snapshot.life}"
        level = "INFO" if snapshot.life in (Life.RUNNING, Life.ENDED, Life.NEVER) else "ERROR"
        if snapshot.fault:
            state, level = f"{state}, in FAULT: {snapshot.fault}", "ERROR"
        elif told is not None and snapshot.life is Life.RUNNING and told.state != "running":
            state = f"{state}, {told.state}: {told.reason}"
        if told is not None and told.connected is False and snapshot.life is Life.RUNNING:
            state, level = f"{state}; trainer not connected", "WARN"
        if state != self._said:
            self._recording.event(now, state, level)
        self._said = state

    def _sent(self, uploads: dict[str, int], now: Times) -> None:
        for name in ("pending", "acknowledged", "rejected"):
            self._recording.scalars(f"uploads/{name}", now, [uploads[name]])
        for name in ("acknowledged", "rejected"):
            more = uploads[name] - self._uploads.get(name, uploads[name])
            if more > 0:
                level = "WARN" if name == "rejected" else "INFO"
                self._recording.event(now, f"{more} episodes {name} by the trainer", level)
        self._uploads = uploads
