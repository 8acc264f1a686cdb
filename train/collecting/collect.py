"""`fieldtune collect`: a family's labelled multi-task data, made and written.

Each family's data has one maker here; a maker yields labelled episodes of both splits' tasks, and
goes on after a kill where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fieldtune.file_errors import require_writable
from fieldtune.files import write_atomically
from fieldtune.sim.family import TaskFamily
from fieldtune.sim.label_only import require_simulator
from fieldtune.sim.registry import code
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode, mean_return
from fieldtune.sim.scripted import scripted
from fieldtune.sim.success import success_by_task, success_rate
from fieldtune.train.alone import making
from fieldtune.train.collecting.contact_sheet import FILE, filmed_beside
from fieldtune.train.collecting.pieces import (
    Asked,
    Piece,
    ScriptedData,
    read_piece,
    require_begun_so,
)
from fieldtune.train.collecting.spreading import Spread, on_cores
from fieldtune.train.collecting.unfinished import CannotResume, unfinished, unfinished_folder
from fieldtune.train.config import AgentReplay, RunConfig
from fieldtune.train.cores import workers
from fieldtune.train.data.dataset import DatasetError, write_dataset
from fieldtune.train.data.randomise import CannotRandomise, randomised

OnProgress = Callable[[int, int, str], None]

SHARED = 2  # second word of the seed of who gets whose episodes


@dataclass(frozen=True)
class Made:
    """Episodes by split, what the dataset should say of how they came about, and a file with
    pictures of some, if there is one."""

    train: list[LabelledEpisode]
    test: list[LabelledEpisode]
    how: dict[str, Any] = field(default_factory=dict)
    sheet: Path | None = None


@dataclass(frozen=True)
class Collected:
    """What was written, for a person to read."""

    id: str
    episodes: int
    transitions: int
    mean_return: float


def collect(
    config: RunConfig, on_progress: OnProgress = lambda *_: None, spread: Spread | None = None
) -> Collected:
    """Make the data of `config.family` and write it to `config.data.path`.

    Killed at any moment, it goes on from its last whole round or piece when called again with the
    same configuration, and the dataset is the same, bit for bit, whoever makes its pieces.

    Args:
        on_progress: told the episodes done, the episodes in all, and a note on how it goes.
        spread: makes the pieces of scripted data; `workers` processes of this machine where not
            given.

    Raises:
        DatasetError: there is a dataset already, or this family's cannot be made as configured.
        InUse: another process makes it.
        TrainingDiverged: the agent behind the data.
        WorkerFailed: a process that made pieces ended; what is made stays.
    """
    family = make_family(config.family, **config.family_options)
    require_simulator(family, "fieldtune collect")
    folder = Path(config.data.path)
    if folder.exists():
        left = unfinished_folder(folder)
        also = (
            f" ({left} is left of a run that was killed at its very end)" if left.exists() else ""
        )
        raise DatasetError(
            f"{folder} exists; a dataset is never overwritten: remove it or set data.path{also}"
        )
    try:
        varying = randomised(family, config.randomisation)
    except CannotRandomise as error:
        raise DatasetError(str(error)) from error
    require_writable(folder)
    if scripted(family) is None:
        maker = _agent_replay(config, varying, on_progress)
    else:
        maker = _scripted(config, varying, on_progress, spread or on_cores(workers(config.workers)))
    with making(folder), maker as made:
        how = made.how | {"seed": config.seed, "episodes_per_task": config.data.episodes_per_task}
        if varying is not family:
            how["randomisation"] = config.randomisation.model_dump(mode="json")
        name = write_dataset(folder, family, train=made.train, test=made.test, how=how)
        if made.sheet is not None and made.sheet.exists():
            write_atomically(folder / FILE, made.sheet.read_bytes())
    everything = made.train + made.test
    return Collected(
        id=name,
        episodes=len(everything),
        transitions=sum(episode.steps for episode in everything),
        mean_return=mean_return(everything),
    )


@contextmanager
def _scripted(
    config: RunConfig, family: TaskFamily, on_progress: OnProgress, spread: Spread
) -> Iterator[Made]:
    script = scripted(family)
    assert script is not None
    if config.data.agent is not None:
        raise DatasetError(
            f"data.agent is set, but the data of {family.name!r} is scripted: remove it"
        )
    asked, folder = Asked.of(config), unfinished_folder(Path(config.data.path))
    pieces = ScriptedData(asked).pieces()
    try:
        with unfinished(folder), filmed_beside(asked, folder / FILE) as await_film:
            require_begun_so(folder, asked)
            _make_missing(asked, folder, pieces, on_progress, spread)
            by_split: dict[str, list[LabelledEpisode]] = {"train": [], "test": []}
            for piece in pieces:
                by_split[piece.split] += read_piece(folder, piece)
            await_film()
            how = _described(family, script.POLICY, by_split["train"], by_split["test"])
            yield Made(by_split["train"], by_split["test"], how, folder / FILE)
    except CannotResume as error:
        raise DatasetError(str(error)) from error


def _make_missing(
    asked: Asked, folder: Path, pieces: list[Piece], on_progress: OnProgress, spread: Spread
) -> None:
    """Make those of `pieces` that are not there."""
    missing = [piece for piece in pieces if not piece.file(folder).exists()]
    total = sum(piece.episodes for piece in pieces)
    done = total - sum(piece.episodes for piece in missing)
    if missing:
        on_progress(done, total, "loading the simulator")

    def count(made: Piece) -> None:
        nonlocal done
        done += made.episodes
        on_progress(done, total, "")

    spread(asked, folder, missing, count)


def _described(
    family: TaskFamily, policy: str, train: list[LabelledEpisode], test: list[LabelledEpisode]
) -> dict[str, Any]:
    split = family.split()
    how: dict[str, Any] = {"policy": policy}
    rate = success_rate(family, train + test)
    if rate is not None:
        how["success"] = round(rate, 3)
        how["success_by_task"] = {
            "train": success_by_task(family, train, len(split.train)),
            "test": success_by_task(family, test, len(split.test)),
        }
    return how


@contextmanager
def _agent_replay(config: RunConfig, family: TaskFamily, on_progress: OnProgress) -> Iterator[Made]:
    from fieldtune.train.collecting.agent_replay import TooFewRounds, check_rounds, collect_replay
    from fieldtune.train.collecting.relabel import CannotRelabel, check_relabelled, share_episodes
    from fieldtune.train.collecting.resumable import resumable_collection

    settings, episodes = config.data.agent or AgentReplay(), config.data.episodes_per_task
    asked = {
        "family": family.name,
        "robot.model": config.robot.model,
        "robot.family_options": config.robot.family_options,
        "code of the family's package": code(family),
        "seed": config.seed,
        "data.episodes_per_task": episodes,
        "data.agent.rounds": settings.rounds,
        "data.agent.updates_per_round": settings.updates_per_round,
        "data.agent.hidden": list(settings.hidden),
        "data.agent.learning_rate": settings.learning_rate,
        "data.agent.discount": settings.discount,
        "data.agent.slice": settings.slice,
    }
    try:
        check_rounds(family, episodes, settings)
        check_relabelled(family, episodes, settings.relabelled)
        with resumable_collection(unfinished_folder(Path(config.data.path)), asked) as kept:
            threads = workers(config.workers)
            data = collect_replay(
                family, config.seed, episodes, settings, on_progress, kept, threads
            )
            how = {
                "policy": "replay of SAC told the task"
                + ("" if family.dynamics_vary else ", rewards relabelled across tasks"),
                "agent": settings.model_dump(),
                "return_by_round": [round(value, 2) for value in data.return_by_round],
            }
            split, draws = family.split(), np.random.default_rng([config.seed, SHARED])
            yield Made(
                share_episodes(data.train, family, split.train, settings.relabelled, draws),
                share_episodes(data.test, family, split.test, settings.relabelled, draws),
                how,
            )
    except (TooFewRounds, CannotRelabel, CannotResume) as error:
        raise DatasetError(str(error)) from error
