"""Training that has diverged: noticed at its first update, and said with the cure.

Looks at the metrics of an update as numbers. Knows no method and no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fieldtune.train.algorithms.optimisation import TrainingDiverged
from fieldtune.train.runs.checkpoint import read_facts

LARGEST = 1e15  # nothing in units of variance 1 comes near it while a network learns


@dataclass(frozen=True)
class Watch:
    """Over one phase's updates.

    Attributes:
        checkpoint: the file that training would go on from; None where nothing is kept.
        setting: the key of the learning rate, for the message; rate: its value.
        anew: how to begin with another value.
        counted: what is counted in `checkpoint`, e.g. `updates`.
    """

    checkpoint: Path | None
    setting: str
    rate: float
    anew: str = "in a run of its own (--run)"
    counted: str = "updates"

    def look(self, update: int, metrics: Mapping[str, float], where: str = "") -> None:
        """Raise `TrainingDiverged` for a metric that is not finite, or absurd.

        Args:
            where: said before "update", e.g. which round it was in.
        """
        for name, value in metrics.items():
            if not abs(value) <= LARGEST:
                raise TrainingDiverged(
                    f"{where}update {update:,}: {name} is {value:.3g}: learning has diverged; "
                    f"lower {self.setting} ({self.rate:g}), {self.anew}. {self._kept()}"
                )

    def _kept(self) -> str:
        if self.checkpoint is None or not self.checkpoint.exists():
            return "No checkpoint was written yet"
        done = int(read_facts(self.checkpoint)[self.counted])
        return f"The last checkpoint, {self.checkpoint}, is of {done:,} {self.counted} and stays"
