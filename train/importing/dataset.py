"""`fieldtune import`: other people's labelled data, checked and written as a dataset of ours.

Knows sources only by what they give: a task's episodes by its name. All or nothing: whatever is
wrong with the data is said before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fieldtune.file_errors import require_writable
from fieldtune.sim.family import TaskFamily
from fieldtune.sim.label_only import LabelOnlyFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.admission import problem_of_all
from fieldtune.train.data.dataset import DatasetError, Split, write_dataset
from fieldtune.train.importing.source import OWN_REWARDS, SPLITS, NamedTasks, Source
from fieldtune.train.importing.unit_check import far_from_simulated


@dataclass(frozen=True)
class Imported:
    """What was written, for a person to read.

    `reward_error` is the root mean square difference between the rewards in the data and the
    family's own, in units of the former's standard deviation; None where signals are missing, where
    the family labelled the data, or where it has no reward function.
    `left_out` says what the source had beside.
    """

    id: str
    episodes: int
    transitions: int
    reward_error: float | None
    left_out: tuple[str, ...] = ()


def source_of(
    family: TaskFamily,
    hdf5: str | None,
    minari: str | None,
    task_attribute: str | None,
    stride: int | None,
    last: int | None,
    leave_out: Sequence[str] = (),
) -> Source:
    """The source that the command's options name.

    Args:
        family: what the data are of.
        hdf5: `--hdf5`, a pattern with `{task}` for a task's name.
        minari: `--minari`, such a pattern; with `task_attribute`, one dataset.
        task_attribute: `--task-attribute`, the episodes' attribute that names their task.
        stride: keep every n-th transition; None: 7 of HDF5, 1 of Minari.
        last: of HDF5, only the last n rows of each file; None: all.

    Raises:
        DatasetError: they name no source, more than one, or contradict each other.
    """
    from fieldtune.train.importing.hdf5_source import STRIDE, TransitionFiles
    from fieldtune.train.importing.minari_source import MinariAttribute, MinariDatasets

    if (hdf5 is None) == (minari is None):
        given = "neither" if hdf5 is None else "both"
        raise DatasetError(f"--hdf5 and --minari: {given} given, expected one of them")
    pattern, option = (hdf5, "--hdf5") if hdf5 is not None else (minari, "--minari")
    assert pattern is not None
    if task_attribute is None and "{task}" not in pattern:
        cure = " (or name --task-attribute)" if minari else ""
        raise DatasetError(
            f"{option} is {pattern!r}: put {{task}} where a task's name belongs{cure}"
        )
    if leave_out and task_attribute is None:
        raise DatasetError("--leave-out is for --task-attribute: the task file names all others")
    if hdf5 is not None:
        if task_attribute is not None:
            raise DatasetError("--task-attribute is for --minari: HDF5 files are one a task")
        return TransitionFiles(pattern, family, STRIDE if stride is None else stride, last)
    if last is not None:
        raise DatasetError("--last is for --hdf5: of Minari datasets, all episodes are taken")
    if task_attribute is not None:
        return MinariAttribute(pattern, task_attribute, family, stride or 1, tuple(leave_out))
    return MinariDatasets(pattern, family, stride or 1)


def import_dataset(
    folder: Path,
    family: TaskFamily,
    tasks: NamedTasks,
    source: Source,
    on_progress: Callable[[int, int, str], None] = lambda *_: None,
    *,
    trust_units: bool = False,
) -> Imported:
    """Read every task's episodes from `source`, then write them to `folder` as a dataset.

    Args:
        on_progress: told the tasks read, those in all, and the last one's name.
        trust_units: take observations that are far from what the family's simulator shows.

    Raises:
        DatasetError: `folder` exists, or something is wrong with the data
        (`fieldtune.train.data.admission`);
            nothing was written.
    """
    if folder.exists():
        raise DatasetError(
            f"{folder} exists; a dataset is never overwritten: remove it or choose another folder"
        )
    require_writable(folder)
    sound = gathered(family, tasks, source, on_progress, trust_units=trust_units)
    found, left_out = sound.episodes, sound.left_out
    how = source.how() | {"imported": True, "task_names": dict(tasks.names)}
    every = [episode for split in SPLITS for episode in found[split]]
    measured = bool(family.signal_fields) and all(e.signals is not None for e in every)
    labelled = how.get("rewards") == OWN_REWARDS
    error = None if labelled else reward_error(family, tasks, found)
    if left_out:
        how["left_out"] = list(left_out)
    if error is not None:
        how["reward_error"] = round(error, 4)
    identity = write_dataset(
        folder,
        family,
        train=found["train"],
        test=found["test"],
        how=how,
        tasks=tasks.split,
        measured=measured,
    )
    steps = sum(episode.steps for episode in every)
    return Imported(identity, len(every), steps, error, left_out)


@dataclass(frozen=True)
class Gathered:
    """Episodes of both splits, found to be sound, and what the source has beside."""

    episodes: dict[Split, list[LabelledEpisode]]
    left_out: tuple[str, ...]


def gathered(
    family: TaskFamily,
    tasks: NamedTasks,
    source: Source,
    on_progress: Callable[[int, int, str], None] = lambda *_: None,
    *,
    trust_units: bool = False,
) -> Gathered:
    """Read every task's episodes and check them; writes nothing. As `import_dataset`."""
    found: dict[Split, list[LabelledEpisode]] = {split: [] for split in SPLITS}
    total, done = sum(map(len, tasks.names.values())), 0
    for split in SPLITS:
        for index, name in enumerate(tasks.names[split]):
            of_task = source.episodes(name)
            if not of_task:
                raise DatasetError(f"task {name!r} ({split}) has no episode; every task needs one")
            found[split] += [replace(episode, task_index=index) for episode in of_task]
            done += 1
            on_progress(done, total, f"task {name}")
    left_out = source.left_out([name for split in SPLITS for name in tasks.names[split]])
    wrong = problem_of_all(family, tasks.split, found, tasks.names, once=True)
    if wrong:
        raise DatasetError(wrong)
    if not trust_units:
        named = (
            (f"task {tasks.names[split][episode.task_index]!r} ({split})", episode)
            for split in SPLITS
            for episode in found[split]
        )
        far = far_from_simulated(family, named)
        if far:
            raise DatasetError(
                f"{far}. The range is what {family.name}'s simulator shows, tenfold: convert the "
                "data to the family's units, or give --trust-units if they are right"
            )
    return Gathered(found, tuple(left_out))


def reward_error(
    family: TaskFamily, tasks: NamedTasks, found: dict[Split, list[LabelledEpisode]]
) -> float | None:
    """See `Imported.reward_error`. Near 0 where tasks, fields and reward are the family's; None
    where signals are missing, or the family has no reward of its own.

    The rewards must not be all alike, which `import_dataset` sees to.
    """
    every = [episode for split in SPLITS for episode in found[split]]
    if family.signal_fields and any(episode.signals is None for episode in every):
        return None
    if isinstance(family, LabelOnlyFamily):
        return None
    given, ours = [], []
    for split in SPLITS:
        for episode in found[split]:
            task = tasks.parameters(split)[episode.task_index]
            given.append(episode.rewards)
            before, after = episode.observations[:-1], episode.next_observations
            try:
                ours.append(family.reward(before, episode.actions, after, task, episode.signals))
            except NotImplementedError:
                return None
    theirs = np.concatenate(given)
    difference = float(np.sqrt(np.mean((theirs - np.concatenate(ours)) ** 2)))
    return difference / float(theirs.std())
