"""Scripted data in pieces: a few episodes of one task each, made in any order, anywhere.

A piece is a file in the unfinished dataset's folder. What it holds depends on what was asked for
and on nothing else, so that any number of processes or machines make the same dataset, bit for bit.
Knows scripts and files; not who makes which piece, and no torch, which a worker does without.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import Field, JsonValue
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fieldtune.errors import UserError
from fieldtune.files import write_atomically
from fieldtune.sim.family import Array, TaskFamily
from fieldtune.sim.registry import code
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.sim.scripted import scripted
from fieldtune.train.collecting.episode_columns import columns, episodes
from fieldtune.train.collecting.unfinished import SIMULATION, CannotResume, require_same
from fieldtune.train.config import Randomisation, RunConfig, Section
from fieldtune.train.data.randomise import CannotRandomise, randomised

EPISODES = 8  # of a piece: few enough that sixteen processes end within one of each other
TEST_SEED_OFFSET = 1_000_003  # held-out tasks' data must not repeat the training tasks' draws
LIBRARIES = ("mujoco", "numba", "numpy", "robosuite")  # whose versions decide the bits


Split = Literal["train", "test"]


class Asked(Section):
    """All that decides the episodes of a scripted dataset. Goes to workers as JSON."""

    family: str
    robot: str | None
    family_options: dict[str, JsonValue] = Field(default_factory=dict)
    randomisation: Randomisation
    seed: int
    episodes_per_task: int

    @classmethod
    def of(cls, config: RunConfig) -> Asked:
        return cls(
            family=config.family,
            robot=config.robot.model,
            family_options=config.robot.family_options,
            randomisation=config.randomisation,
            seed=config.seed,
            episodes_per_task=config.data.episodes_per_task,
        )

    def make_family(self) -> TaskFamily:
        """The family that is simulated, as it is without randomisation."""
        told = {} if self.robot is None else {"robot": self.robot}
        return make_family(self.family, **told, **self.family_options)

    @property
    def keys(self) -> dict[str, Any]:
        """By the key that a person would set."""
        return {
            "family": self.family,
            "robot.model": self.robot,
            "robot.family_options": self.family_options,
            "randomisation": self.randomisation.model_dump(mode="json"),
            "seed": self.seed,
            "data.episodes_per_task": self.episodes_per_task,
        }


class Piece(msgspec.Struct, frozen=True):
    """Episodes `first` up to `stop` of one task."""

    split: Split
    task: int
    first: int
    stop: int

    @property
    def episodes(self) -> int:
        return self.stop - self.first

    def file(self, folder: Path) -> Path:
        """Where it is kept; there when it is made, and not before."""
        return folder / f"{self.split}-{self.task:04d}-{self.first:05d}.safetensors"


class ScriptedData:
    """The data that were asked for, to be made piece by piece.

    Raises:
        UserError: there is no such family, it has no script, or cannot vary as asked.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        family = asked.make_family()
        script = scripted(family)
        if script is None:
            raise UserError(f"{family.name!r} has no script that would make its data")
        self._script = script
        try:
            self._family = randomised(family, asked.randomisation)
        except CannotRandomise as error:
            raise UserError(str(error)) from error
        self._split = family.split()

    def pieces(self) -> list[Piece]:
        """All of them: training tasks first, task by task."""
        count = self._asked.episodes_per_task
        splits: tuple[tuple[Split, Array], ...] = (
            ("train", self._split.train),
            ("test", self._split.test),
        )
        return [
            Piece(split, task, first, min(first + EPISODES, count))
            for split, tasks in splits
            for task in range(len(tasks))
            for first in range(0, count, EPISODES)
        ]

    def make(self, piece: Piece) -> list[LabelledEpisode]:
        """Its episodes, in their order; `task_index` counts within the split."""
        of_test = piece.split == "test"
        return self._script.collect_scripted(
            self._family,
            self._asked.seed + TEST_SEED_OFFSET * of_test,
            self._split.test if of_test else self._split.train,
            [(piece.task, episode) for episode in range(piece.first, piece.stop)],
        )


def require_begun_so(folder: Path, asked: Asked) -> None:
    """Check that the pieces in `folder` are of what is asked for now; say so in it if it is new.

    Raises:
        CannotResume: they are not, or other code would change their bits.
    """
    known = folder / "asked.json"
    now = asked.keys | {name: version(name) for name in LIBRARIES}
    now |= SIMULATION | {"episodes of a piece": EPISODES}
    now |= {"code of the family's package": code(asked.make_family())}
    if known.exists():
        require_same(folder, msgspec.json.decode(known.read_bytes()), now)
    else:
        write_atomically(known, msgspec.json.encode(now))


def write_piece(folder: Path, piece: Piece, made: list[LabelledEpisode]) -> None:
    """Keep a piece's episodes, all or nothing. Raises `OSError`."""
    write_atomically(piece.file(folder), save(columns("", made)))


def read_piece(folder: Path, piece: Piece) -> list[LabelledEpisode]:
    """The episodes of a piece that is made.

    Raises:
        CannotResume: its file is missing or damaged.
    """
    path = piece.file(folder)
    try:
        found = episodes("", load_file(path))
        if [one.task_index for one in found] != [piece.task] * piece.episodes:
            raise ValueError(f"not {piece.episodes} episodes of task {piece.task}")
        return found
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CannotResume(
            f"{path}: not readable ({error}); remove it and run the same command again"
        ) from error
