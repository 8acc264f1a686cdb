"""Curves in Trackio, whose database is on this machine: `RUN/trackio`, or `TRACKIO_DIR`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

from fieldtune.train.runs.trackers.tracker import Tracked

PROJECT = "fieldtune"


class Trackio:
    """Implements `fieldtune.train.runs.trackers.tracker.Tracker`. One run of Trackio a phase;
    `TRACKIO_DIR=RUN/trackio trackio show` shows them."""

    library: ClassVar[str] = "trackio"

    def __init__(self, tracked: Tracked) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(tracked.folder.absolute() / "trackio"))
        import trackio  # pyright: ignore[reportMissingImports]  # an extra

        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=tracked.name,
            config=dict(tracked.config or {}),
            resume="allow" if tracked.done else "never",
            embed=False,
        )

    def add(self, update: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=update)

    def close(self) -> None:
        self._run.finish()
