"""A collecting run that may be killed at any moment: a folder with all that it needs to go on.

One file a round, written once, holds that round's episodes; `learner.safetensors` is replaced after
each round. Both atomically, the round first: a kill in between costs the round again, with the same
result. Nothing is pickled. Knows episodes and a learner's state; not how either comes about.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import get_num_threads

from fieldtune.files import write_atomically
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.algorithms.algorithm import Checkpointable
from fieldtune.train.collecting.episode_columns import columns, episodes
from fieldtune.train.collecting.unfinished import (
    SIMULATION,
    CannotResume,
    require_same,
    unfinished,
)
from fieldtune.train.process_settings import THREADS
from fieldtune.train.runs.checkpoint import Progress, load_checkpoint, read_facts, save_checkpoint

LIBRARIES = ("mujoco", "numpy", "torch")  # whose versions decide the bits


@dataclass(frozen=True)
class Round:
    """What was acted in one round: for training tasks, and for held-out ones."""

    acted: list[LabelledEpisode]
    held_out: list[LabelledEpisode]


class ResumableCollection:
    """The rounds so far, and the learner after the last of them."""

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        self._folder, self._asked = folder, asked
        self.learner_file = folder / "learner.safetensors"

    def rounds(self) -> int:
        """How many rounds are done.

        Raises:
            CannotResume: they are of a run that was asked for something else.
        """
        if not self.learner_file.exists():
            return 0
        facts = read_facts(self.learner_file)
        require_same(self._folder, facts["asked"], self._asked)
        return int(facts["rounds"])

    def read(self, index: int) -> Round:
        """What round `index` wrote."""
        path = self._path(index)
        try:
            found = load_file(path)
        except (OSError, SafetensorError) as error:
            raise CannotResume(
                f"{path}: not a readable round ({error}); remove {self._folder} to begin again"
            ) from error
        return Round(episodes("acted.", found), episodes("held_out.", found))

    def load(self, learner: Checkpointable, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Restore learner and random states in place; return the arrays saved beside them."""
        return load_checkpoint(self.learner_file, learner, rng).arrays

    def save(
        self,
        index: int,
        done: Round,
        learner: Checkpointable,
        rng: np.random.Generator,
        arrays: dict[str, NDArray[Any]],
    ) -> None:
        """Keep the episodes of a round that is done, and the learner as it is now.

        Args:
            index: of the round, from 0.
            done: its episodes.
            learner: its weights and its optimisers' states are saved.
            rng: of the draws; torch's global random state is saved too.
            arrays: what `load` is to return, by name.

        Raises:
            TrainingDiverged: something of the learner is not finite; its file stays as it was.
        """
        rows = columns("acted.", done.acted) | columns("held_out.", done.held_out)
        write_atomically(self._path(index), save(rows))
        facts = {"asked": self._asked, "rounds": index + 1}
        save_checkpoint(self.learner_file, learner, rng, Progress(facts, arrays))

    def _path(self, index: int) -> Path:
        return self._folder / f"round-{index:04d}.safetensors"


@contextmanager
def resumable_collection(folder: Path, asked: dict[str, Any]) -> Iterator[ResumableCollection]:
    """Open or make `folder` for one process; remove it when the block ends well.

    Args:
        asked: everything that decides the result, by the key a person would set. The versions of
            the libraries, of our simulation, and the number of threads, which decide its bits, are
            added.

    Raises:
        CannotResume: another process, which is named, is at it, or it was begun with
            something else.
    """
    with unfinished(folder):
        decides_bits = {name: version(name) for name in LIBRARIES} | {THREADS: get_num_threads()}
        known = ResumableCollection(folder, asked | decides_bits | SIMULATION)
        known.rounds()
        yield known
