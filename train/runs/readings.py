"""Metrics read back from where they were computed: at once on a CPU, many updates at a time on a
GPU, which every single reading would wait for.

Knows no curves and no limits: who is told does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fieldtune.train.algorithms.algorithm import Metrics

EVERY = 50  # updates, on a GPU

Heard = Callable[[int, dict[str, float]], None]


def numbers(metrics: Metrics) -> dict[str, float]:
    """The same metrics as numbers of Python's, read together."""
    return _read([metrics])[0]


class Readings:
    """Hands each update's metrics on, in order, as numbers.

    Args:
        device: where they are computed.
        heard: each is told the number of the update and its metrics.
    """

    def __init__(self, device: torch.device, *heard: Heard) -> None:
        self._every = 1 if device.type == "cpu" else EVERY
        self._heard = heard
        self._waiting: list[tuple[int, Metrics]] = []

    def add(self, update: int, metrics: Metrics) -> None:
        """Take the metrics of an update; what they hold must not change afterwards."""
        self._waiting.append((update, metrics))
        if len(self._waiting) == self._every:
            self.read()

    def read(self) -> None:
        """Hand on what is waiting: before a checkpoint is written, and at the end."""
        waiting, self._waiting = self._waiting, []
        found = _read([metrics for _, metrics in waiting])
        for (update, _), metrics in zip(waiting, found, strict=True):
            for hear in self._heard:
                hear(update, metrics)


def _read(several: list[Metrics]) -> list[dict[str, float]]:
    """In one transfer for all."""
    tensors = [value for metrics in several for value in _tensors(metrics)]
    values = iter(torch.stack(tensors).tolist() if tensors else [])
    return [
        {
            name: next(values) if isinstance(value, Tensor) else float(value)
            for name, value in metrics.items()
        }
        for metrics in several
    ]


def _tensors(metrics: Mapping[str, Tensor | float]) -> list[Tensor]:
    return [value for value in metrics.values() if isinstance(value, Tensor)]
