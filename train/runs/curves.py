"""Learning curves for TensorBoard, thinned so that writing them costs nothing.

They are never worth a run: where the disk refuses them, they have a gap and learning goes on.
"""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

EVERY = 50


class Curves:
    """Writes the mean of each metric over the last `EVERY` updates.

    Args:
        done: updates that the run goes on from. Points after them, of a process that was killed
            after its last checkpoint, are no longer shown.
    """

    def __init__(self, folder: Path, done: int = 0) -> None:
        self._folder = folder
        self._done = done
        self._writer: SummaryWriter | None = None
        self._sums: dict[str, float] = {}
        self._count = 0

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
        self._close()

    def _write(self, step: int) -> None:
        try:
            if self._writer is None:
                self._writer = SummaryWriter(
                    str(self._folder), flush_secs=10, purge_step=self._done + 1
                )
            for name, total in self._sums.items():
                self._writer.add_scalar(name, total / EVERY, step)
            self._done = step
        except OSError as error:
            log.warning("%s: no curves at update %d: %s", self._folder, step, error)
            self._close()

    def _close(self) -> None:
        """A writer that has met a full disk is of no more use; the next point gets another."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        except OSError as error:
            log.warning("%s: the last curves are lost: %s", self._folder, error)
