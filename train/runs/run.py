"""A run: the record of what it is made from, and of where its files are. Builds nothing.

RUN/config.yaml      the resolved configuration
RUN/data.sha256      the digest of the data that it was made from
RUN/checkpoints/     offline, self-supervised and oracle .safetensors, those of other
                     algorithms by their names; and `start`, what phase 1 began with, of a run that
                     was begun from another
RUN/bundles/         `latest.bundle`, the one published last
RUN/tensorboard/     learning curves, where `tracker` is `tensorboard`
RUN/tracking/        what other trackers know its phases by
RUN/report.html      figures and numbers
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fieldtune.errors import UserError
from fieldtune.sim.family import TaskFamily
from fieldtune.train.config import RunConfig
from fieldtune.train.data.dataset import Dataset


class RunError(UserError):
    """The run cannot go on as asked. The message says why and what to do."""


@dataclass(frozen=True)
class Run:
    """A configuration, its folder, its family and its data; and where its files are."""

    config: RunConfig
    folder: Path
    family: TaskFamily
    dataset: Dataset

    @property
    def offline_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "offline.safetensors"

    @property
    def start(self) -> Path:
        return self.folder / "checkpoints" / "start.safetensors"

    @property
    def finetune_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "self-supervised.safetensors"

    @property
    def oracle_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "oracle.safetensors"

    @property
    def bundles(self) -> Path:
        return self.folder / "bundles"

    @property
    def curves(self) -> Path:
        return self.folder / "tensorboard"
