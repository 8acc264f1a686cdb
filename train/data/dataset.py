"""Labelled multi-task datasets on disk, as Minari keeps them.

One folder is one Minari dataset and its card; each episode's attributes hold its task's parameters
and split, its infos the signals that its rewards need and, in thinned episodes, what a step led to;
the folder's metadata the family. Knows nothing of networks or training units.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gymnasium
import minari
import numpy as np
from minari.dataset.minari_storage import MinariStorage

from fieldtune.errors import UserError
from fieldtune.file_errors import naming
from fieldtune.files import sync
from fieldtune.sim.family import Array, Field, TaskFamily, TaskSplit, bounds, require_signals
from fieldtune.sim.registry import options
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.admission import ended_early, problem_of_all
from fieldtune.train.data.episode_process import ATTRIBUTE, INFO, WritingFailed, write_episodes

if TYPE_CHECKING:
    from fieldtune.train.data.card import Described

WHOLE, THINNED = 1, 2  # formats: in the second, what a step led to is in an episode's infos
SIGNALS, NEXT = "signals", "next_observations"  # in an episode's infos
Split = Literal["train", "test"]


class DatasetError(UserError):
    """The dataset cannot be used. The message names the folder, what is wrong and the cure."""


@dataclass(frozen=True)
class Dataset:
    """All episodes of a family's tasks: `train[task]` and `test[task]` list a task's episodes."""

    id: str
    train_tasks: Array
    test_tasks: Array
    train: list[list[LabelledEpisode]]
    test: list[list[LabelledEpisode]]

    @property
    def thinned(self) -> bool:
        """Whether any episode has steps left out."""
        return any(e.following is not None for task in (*self.train, *self.test) for e in task)

    @cached_property
    def digest(self) -> str:
        """A sha256 of every task and episode: the same for the same data, wherever they lie."""
        hashed = hashlib.sha256()
        for tasks, data in ((self.train_tasks, self.train), (self.test_tasks, self.test)):
            hashed.update(tasks.tobytes())
            for index, episodes in enumerate(data):
                for episode in episodes:
                    hashed.update(f"{index} {episode.steps}".encode())
                    for rows in (episode.observations, episode.actions, episode.rewards):
                        hashed.update(rows.tobytes())
        return hashed.hexdigest()

    def observations(self) -> Array:
        """What the training tasks' actions were taken in, `(transition, observation)`."""
        return np.concatenate([e.observations[:-1] for task in self.train for e in task])

    def next_observations(self) -> Array:
        """What they led to, `(transition, observation)`."""
        return np.concatenate([e.next_observations for task in self.train for e in task])

    def actions(self) -> Array:
        return np.concatenate([e.actions for task in self.train for e in task])

    def rewards(self) -> Array:
        return np.concatenate([e.rewards for task in self.train for e in task])


def write_dataset(
    folder: Path,
    family: TaskFamily,
    *,
    train: Sequence[LabelledEpisode],
    test: Sequence[LabelledEpisode],
    how: dict[str, Any],
    tasks: TaskSplit | None = None,
    measured: bool = True,
) -> str:
    """Write a dataset and its card, all or nothing; return its id.

    Args:
        train, test: episodes whose `task_index` counts within that split of `tasks`.
        how: how it was made, for metadata and card: numbers, strings, lists and dicts.
        tasks: those of `family.split()` where not given.
        measured: False for data of others, who kept none of the family's signals.

    Raises:
        DatasetError: `folder` already exists, or something is wrong with the data; see
            `fieldtune.train.data.admission`.
        MissingSignals: the family has signals, they were `measured`, and an episode has none.
        OSError: with a path.
    """
    with naming(folder):
        return _write(folder, family, train, test, how, tasks, measured)


def _write(
    folder: Path,
    family: TaskFamily,
    train: Sequence[LabelledEpisode],
    test: Sequence[LabelledEpisode],
    how: dict[str, Any],
    tasks: TaskSplit | None,
    measured: bool,
) -> str:
    # Here and not above: who only reads datasets does not load matplotlib.
    from fieldtune.train.charts import to_png
    from fieldtune.train.data.card import DPI, FIGURE, Described, card, returns_figure

    if folder.exists():
        raise DatasetError(
            f"{folder} exists; a dataset is never overwritten: remove it or choose another folder"
        )
    tasks = family.split() if tasks is None else tasks
    wrong = problem_of_all(family, tasks, {"train": train, "test": test})
    if wrong:
        raise DatasetError(f"{folder} is not written: {wrong}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Absolute: Minari measures its files under a relative path twice over, and finds none.
    temporary = folder.absolute().with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    theirs = not measured or how.get("imported", False)
    name = f"{'imported' if theirs else 'fieldtune'}/{family.name}-v0"
    data = Described(name, family, tasks, {"train": train, "test": test}, how)
    try:
        (temporary / "data").mkdir(parents=True)
        _write_data(temporary / "data", data, measured)
        size = sum(path.stat().st_size for path in (temporary / "data").iterdir())
        (temporary / "README.md").write_text(card(data, size), encoding="utf-8")
        (temporary / FIGURE).write_bytes(to_png(returns_figure(data), DPI))
        for path in (*temporary.rglob("*"), temporary):
            sync(path)  # before the name stands for it, which must survive a power cut
        temporary.replace(folder)
    except WritingFailed as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise DatasetError(f"{folder} is not written: {error}") from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # it would keep a full disk full
        raise
    sync(folder.parent)
    return name


def _write_data(folder: Path, data: Described, measured: bool) -> None:
    """Minari's part of a dataset, in an empty folder with an absolute path."""
    family, tasks = data.family, data.tasks
    low, high = bounds(family.observation_fields)
    action_low, action_high = bounds(family.action_fields)
    storage = MinariStorage.new(
        folder,
        observation_space=gymnasium.spaces.Box(low, high, dtype=np.float64),
        action_space=gymnasium.spaces.Box(action_low, action_high, dtype=np.float64),
    )
    storage.update_metadata(
        {
            "dataset_id": data.id,
            "minari_version": minari.__version__,
            "algorithm_name": str(data.how.get("policy", "")),
            "fieldtune": {
                "format": THINNED if data.thinned else WHOLE,
                "family": family.name,
                "robot": family.robot,
                "family_options": options(family),
                "observation_fields": described(family.observation_fields),
                "action_fields": described(family.action_fields),
                "signal_fields": described(family.signal_fields),
                "train_tasks": tasks.train.tolist(),
                "test_tasks": tasks.test.tolist(),
                "how": data.how,
            },
        }
    )
    write_episodes(
        folder,
        (
            _row(episode, family, measured)
            | {
                f"{ATTRIBUTE}split": split,
                f"{ATTRIBUTE}task_index": episode.task_index,
                f"{ATTRIBUTE}task": np.asarray(parameters[episode.task_index], np.float64),
            }
            for split, parameters in (("train", tasks.train), ("test", tasks.test))
            for episode in data.episodes[split]
        ),
    )


def described(fields: tuple[Field, ...]) -> list[list[Any]]:
    """Fields as a dataset's metadata say them."""
    return [[field.name, field.unit, field.width] for field in fields]


def _row(episode: LabelledEpisode, family: TaskFamily, measured: bool) -> dict[str, Any]:
    """Minari's form. Its infos begin before the first step, when nothing had been measured yet."""
    infos = {}
    if family.signal_fields and measured:
        infos[SIGNALS] = require_signals(family.name, family.signal_fields, episode.signals)
    if episode.following is not None:
        infos[NEXT] = episode.following
    steps = len(episode.actions)
    last = np.arange(steps) == steps - 1
    return {
        "observations": episode.observations,
        "actions": episode.actions,
        "rewards": episode.rewards,
        "terminations": last & episode.terminated,
        "truncations": last & (not episode.terminated),
    } | {
        f"{INFO}{name}": np.concatenate([np.full_like(rows[:1], np.nan), rows])
        for name, rows in infos.items()
    }


def read_dataset(folder: Path, family: TaskFamily) -> Dataset:
    """Load a dataset and check that it is this family's, and fit to learn from.

    Raises:
        DatasetError: missing, unreadable, of another family, with other fields, or with numbers
            that `fieldtune.train.data.admission` keeps out.
    """
    metadata = read_metadata(folder)
    if metadata["family"] != family.name:
        raise DatasetError(
            f"{folder}: family is {metadata['family']!r}, the run's is {family.name!r}; "
            "set data.path to this family's dataset or change family"
        )
    for key, fields in (
        ("observation_fields", family.observation_fields),
        ("action_fields", family.action_fields),
        ("signal_fields", family.signal_fields),
    ):
        expected, found = described(fields), metadata.get(key, [])
        if found != expected:
            raise DatasetError(
                f"{folder}: {key} are {found}, {family.name} ({family.robot}) has "
                f"{expected}; collect again for this robot"
            )
    made_with, now = metadata.get("family_options", {}), options(family)
    for name in made_with.keys() & now.keys():
        if made_with[name] != now[name]:
            raise DatasetError(
                f"{folder}: made with the option {name} = {made_with[name]!r} of {family.name!r}, "
                f"the run's is {now[name]!r}: set robot.family_options.{name} to it, or collect "
                "again"
            )
    tasks = {name: np.array(metadata[f"{name}_tasks"]) for name in ("train", "test")}
    split: dict[str, list[list[LabelledEpisode]]] = {
        name: [[] for _ in parameters] for name, parameters in tasks.items()
    }
    try:
        dataset = minari.MinariDataset(folder.absolute() / "data")
        _sort_in(dataset, split)
    except (OSError, ValueError, LookupError) as error:
        raise DatasetError(
            f"{folder}: episodes cannot be read ({error}); restore the folder or collect again"
        ) from error
    for name, episodes in split.items():
        bare = [index for index, found in enumerate(episodes) if not found]
        if bare:
            raise DatasetError(
                f"{folder}: {name} task {bare[0]} ({tasks[name][bare[0]].tolist()}) has no "
                f"episode, nor have {len(bare) - 1} others; every task needs one"
            )
    every = {name: [e for found in episodes for e in found] for name, episodes in split.items()}
    wrong = problem_of_all(family, TaskSplit(tasks["train"], tasks["test"]), every)
    if wrong:
        raise DatasetError(f"{folder}: {wrong}")
    return Dataset(str(dataset.id), tasks["train"], tasks["test"], split["train"], split["test"])


def _sort_in(dataset: minari.MinariDataset, split: dict[str, list[list[LabelledEpisode]]]) -> None:
    """Append each stored episode to `split[its split][its task]`."""
    attributes = dataset.storage.get_episode_metadata(dataset.episode_indices)
    for episode, attribute in zip(dataset.iterate_episodes(), attributes, strict=True):
        index = int(attribute["task_index"])
        wrong = ended_early(episode.terminations, episode.truncations)
        if wrong:
            raise ValueError(f"episode {episode.id}: {wrong}")
        split[str(attribute["split"])][index].append(
            LabelledEpisode(
                task_index=index,
                observations=np.asarray(episode.observations),
                actions=np.asarray(episode.actions),
                rewards=np.asarray(episode.rewards),
                terminated=bool(episode.terminations[-1]),
                signals=_info(episode.infos, SIGNALS),
                following=_info(episode.infos, NEXT),
            )
        )


def _info(infos: dict[str, Any] | None, name: str) -> Array | None:
    """What was noted of each step; there is a row before the first one."""
    known = (infos or {}).get(name)
    return None if known is None else np.asarray(known)[1:]


def read_metadata(folder: Path) -> dict[str, Any]:
    """What `write_dataset` said of a dataset."""
    if not (folder / "data").is_dir():
        raise DatasetError(
            f"{folder}: no dataset here; make one with `fieldtune collect --config FILE`"
        )
    try:
        metadata = MinariStorage.read_raw_metadata(folder / "data")
    except (OSError, ValueError) as error:  # JSON's errors are among them
        raise DatasetError(f"{folder}: metadata cannot be read ({error})") from error
    known = metadata.get("fieldtune")
    if not isinstance(known, dict) or known.get("format") not in (WHOLE, THINNED):
        raise DatasetError(
            f"{folder}: a Minari dataset without fieldtune's metadata (format {WHOLE} or "
            f"{THINNED}), which says what task each episode belongs to; other people's data come "
            "in with `fieldtune import`"
        )
    return known
