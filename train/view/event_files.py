"""A run's learning curves read back from TensorBoard's event files, point by new point.

Knows folders and TensorBoard's reader; not what a curve means, nor how it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Points:
    """New points of one curve: `update` and `value` of each, and the wall clock in nanoseconds."""

    phase: str
    name: str
    updates: list[int]
    values: list[float]
    wall_ns: list[int]


class EventFiles:
    """Looks into `folder/PHASE` again and again.

    Args:
        folder: `RUN/tensorboard`; there may be none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[str, Any] = {}
        self._seen: dict[tuple[str, str], int] = {}

    def look(self) -> Iterator[Points]:
        """What came since the last look. Points that a run took back are not taken back here."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        phases = [one for one in sorted(self._folder.glob("*")) if one.is_dir()]
        for folder in phases:
            reader = self._readers.get(folder.name)
            if reader is None:
                reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
                self._readers[folder.name] = reader
            reader.Reload()
            for name in reader.Tags()["scalars"]:
                last = self._seen.get((folder.name, name), -1)
                fresh = [event for event in reader.Scalars(name) if event.step > last]
                if not fresh:
                    continue
                self._seen[folder.name, name] = fresh[-1].step
                yield Points(
                    folder.name,
                    name,
                    [event.step for event in fresh],
                    [event.value for event in fresh],
                    [int(event.wall_time * 1e9) for event in fresh],
                )
