"""Learning curves for TensorBoard, thinned so that writing them costs nothing."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

EVERY = 50


class Curves:
    """Writes the mean of each metric over the last `EVERY` updates."""

    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder), flush_secs=10)
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if self._count == EVERY:
            for name, total in self._sums.items():
                self._writer.add_scalar(name, total / EVERY, step)
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
        self._writer.close()
