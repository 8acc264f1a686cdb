"""Curves as TensorBoard's event files, in `RUN/tensorboard/PHASE`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch.utils.tensorboard import SummaryWriter

from fieldtune.train.runs.trackers.tracker import Tracked

FOLDER = "tensorboard"


class TensorBoard:
    """Implements `fieldtune.train.runs.trackers.tracker.Tracker`.

    Points after `done`, of a process that was killed after its last checkpoint, are no longer
    shown. A file that has met a full disk is of no more use; the next point begins another.
    """

    library: ClassVar[str] = "tensorboard"

    def __init__(self, tracked: Tracked) -> None:
        self._folder = tracked.folder / FOLDER / tracked.phase
        self._done = tracked.done
        self._writer: SummaryWriter | None = None

    def add(self, update: int, values: Mapping[str, float]) -> None:
        """Raises `OSError` where the disk refuses."""
        try:
            if self._writer is None:
                self._writer = SummaryWriter(
                    str(self._folder), flush_secs=10, purge_step=self._done + 1
                )
            for name, value in values.items():
                self._writer.add_scalar(name, value, update)
            self._done = update
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
