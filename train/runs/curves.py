"""Learning curves, thinned so that writing them costs nothing, for each tracker of a run.

They are never worth a run: where a disk or a tool refuses them, they have a gap and learning goes
on. It must not know the tools.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType

from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trackers.tracker import Tracked, Tracker, make_trackers

log = logging.getLogger(__name__)

EVERY = 50


class Curves:
    """Hands the mean of each metric over the last `EVERY` updates to every tracker.

    Args:
        tracked: what they are of.
        trackers: by their names.

    Raises:
        TrackerError: one of them cannot be opened.
    """

    def __init__(self, tracked: Tracked, trackers: Sequence[str] = ("tensorboard",)) -> None:
        self._tracked = tracked
        self._trackers: dict[str, Tracker] = make_trackers(trackers, tracked)
        self._refusing: dict[str, str] = {}
        self._sums: dict[str, float] = {}
        self._count = 0

    @classmethod
    def of(cls, run: Run, phase: str, done: int) -> Curves:
        """Those of a run's phase, where its configuration says.

        Args:
            run: whose `tracker` is read.
            phase: as its checkpoint is called.
            done: updates that the phase goes on from. Points after them, of a process that was
                killed after its last checkpoint, are shown no longer, or twice.
        """
        config = run.config
        tracked = Tracked(run.folder, phase, done, config.model_dump(mode="json"))
        return cls(tracked, config.trackers)

    def add(self, step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if self._count == EVERY:
            self._write(step)
            self._sums.clear()
            self._count = 0

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, tracker in self._trackers.items():
            try:
                tracker.close()
            except Exception as refused:
                log.warning("%s: the last curves are lost: %s", self._where(name), refused)

    def _write(self, step: int) -> None:
        means = {name: total / EVERY for name, total in self._sums.items()}
        for name, tracker in self._trackers.items():
            try:
                tracker.add(step, means)
                self._refusing.pop(name, None)
            except Exception as error:
                if str(error) != self._refusing.get(name):
                    where = self._where(name)
                    log.warning("%s: no curves at update %d: %s", where, step, error)
                self._refusing[name] = str(error)

    def _where(self, name: str) -> str:
        return f"{self._tracked.folder}, {self._tracked.phase}, {name}"
