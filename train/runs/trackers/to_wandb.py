"""Curves in Weights & Biases. Where, and whether the network is asked, its own variables say:
`WANDB_PROJECT`, `WANDB_ENTITY`, `WANDB_MODE=offline`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

from fieldtune.train.runs.trackers.tracker import Tracked

PROJECT = "fieldtune"


class WandB:
    """Implements `fieldtune.train.runs.trackers.tracker.Tracker`. One run of W&B a phase, grouped
    by the run's folder; without a network its files lie in `RUN/wandb`, for `wandb sync`."""

    library: ClassVar[str] = "wandb"

    def __init__(self, tracked: Tracked) -> None:
        import wandb  # pyright: ignore[reportMissingImports]  # an extra

        known = tracked.remembered("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=tracked.name,
            group=tracked.folder.absolute().name,
            job_type=tracked.phase,
            config=dict(tracked.config or {}),
            dir=str(tracked.folder),
            id=known,
            resume=None if known is None else "allow",
            reinit="create_new",  # a study's seeds may share a process
            settings=wandb.Settings(silent=True),
        )
        tracked.remember("wandb", self._run.id)
        self._run.define_metric("update")
        self._run.define_metric("*", step_metric="update")

    def add(self, update: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "update": update})

    def close(self) -> None:
        self._run.finish()
