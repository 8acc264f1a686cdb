"""Recorded data of any format, as episodes of a family by a mapping: a `Source`.

Reads through importers and hands on what the mapping says; whether it is sound is the gate's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fieldtune.settings import ConfigError
from fieldtune.sim.family import MissingSignals, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.admission import problem
from fieldtune.train.data.dataset import DatasetError
from fieldtune.train.importing.episode_tasks import (
    Told,
    read_table,
    tasks_in_data,
    told_by_columns,
    told_by_name,
    told_by_table,
)
from fieldtune.train.importing.mapped_episode import Made, episodes_made
from fieldtune.train.importing.mapping import FieldMapping, load_mapping
from fieldtune.train.importing.reading import matching, recorded_at
from fieldtune.train.importing.source import OWN_REWARDS, NamedTasks, unnamed
from fieldtune.train.importing.task_file import family_tasks, read_tasks


@dataclass(frozen=True)
class Placed:
    """An episode, and where a person finds it."""

    place: str
    episode: LabelledEpisode


@dataclass(frozen=True)
class MappedEpisodes:
    """A source of episodes: what was read by a mapping, by task.

    `tasks` are the data's own, a task file's or the family's. With `refusing`, an episode that does
    not fit is refused by file and name when it is asked for.
    """

    family: TaskFamily
    tasks: NamedTasks
    by_task: Mapping[str, Sequence[Placed]]
    description: Mapping[str, Any]
    notes: tuple[str, ...]
    leave_out: tuple[str, ...] = ()
    refusing: bool = True

    def episodes(self, task: str) -> list[LabelledEpisode]:
        """Those of the task called `task`.

        Raises:
            DatasetError: one does not fit the family, or there is none; where `refusing`.
        """
        found = self.by_task.get(task, ())
        if not self.refusing:
            return [placed.episode for placed in found]
        if not found:
            raise DatasetError(
                f"no episode is of task {task!r}; the data have {sorted(self.by_task)[:20]}: name "
                "tasks in the task file as the data do, and only those that have episodes"
            )
        for placed in found:
            wrong = problem(placed.episode, self.family)
            if wrong:
                cure = ""
                if placed.episode.steps > self.family.horizon:
                    cure = ": set 'longer_episodes' to truncate, cut or leave out"
                raise DatasetError(f"{placed.place}: {wrong}{cure}")
        return [placed.episode for placed in found]

    def how(self) -> dict[str, Any]:
        """For the card."""
        return dict(self.description)

    def left_out(self, tasks: Sequence[str]) -> list[str]:
        """As `Source.left_out`."""
        absent = [name for name in self.leave_out if name not in self.by_task]
        if absent:
            raise DatasetError(
                f"--leave-out {absent[0]!r}: no episode is of that task; there are "
                f"{sorted(self.by_task)}"
            )
        known = {*tasks, *self.leave_out}
        others = {task: len(of) for task, of in self.by_task.items() if task not in known}
        if others:
            listed = ", ".join(f"{task!r} ({count})" for task, count in sorted(others.items()))
            raise DatasetError(
                f"{sum(others.values())} episodes are of no task in the task file: {listed}: name "
                "these tasks there, mend their spelling, or give --leave-out NAME for each"
            )
        by_name = [
            f"{len(self.by_task[name])} episodes of task {name!r} (--leave-out)"
            for name in self.leave_out
        ]
        return [*self.notes, *by_name]


def read_mapped(
    family: TaskFamily,
    mapping_file: Path,
    place: str,
    task_file: Path | None,
    leave_out: Sequence[str] = (),
) -> MappedEpisodes:
    """Read all that lies at `place` by a mapping.

    Args:
        place: `--from`: a path, a pattern of them (`*`), one with `{task}`, or an id.
        task_file: `--tasks`; None: the family's own by number, or the data's where they bring them.
        leave_out: tasks whose episodes are not wanted.

    Raises:
        ConfigError: of the mapping.
        UserError: of the data; names file, episode, field, value and cure.
    """
    mapping = load_mapping(mapping_file, family)
    by_path = "{task}" in place
    if by_path == (mapping.tasks is not None):
        raise ConfigError(
            f"{mapping_file}: 'tasks' "
            + (
                "and {task} in --from both say which task an episode is of: remove one"
                if by_path
                else "is missing, and --from has no {task} where a path names its task: say what "
                "tells tasks apart"
            )
        )
    listed = None if task_file is None else read_tasks(task_file, family)
    if listed is None and (mapping.tasks is None or mapping.tasks.name is not None):
        listed = family_tasks(family)  # else the data may bring theirs, and a family have none
    named = [name for split in listed.names.values() for name in split] if listed else []
    places: list[tuple[str | None, str]]
    if by_path:
        places = [(name, place.replace("{task}", name)) for name in named]
    else:
        places = [(None, one) for one in matching(place)]
    made: list[tuple[Told, Made]] = []
    notes: list[str] = []
    counts: Counter[str] = Counter()
    table = None
    if mapping.tasks is not None and mapping.tasks.file is not None:
        table = read_table(mapping.tasks.file)
    for name, one in places:
        read = recorded_at(mapping_file, mapping, family, one)
        notes += [f"{one}: {sentence}" for sentence in read.unread]
        for recorded in read.episodes:
            where = f"{one}: {recorded.name}"
            for piece in episodes_made(recorded, mapping, family, where, counts):
                if name is not None or mapping.tasks is None:
                    told = Told(name or "")
                elif table is not None:
                    told = told_by_table(table, family, Path(one), recorded)
                elif mapping.tasks.name is not None:
                    told = told_by_name(mapping.tasks.name, where, recorded)
                else:
                    told = told_by_columns(mapping.tasks, family, piece.rows, where)
                made.append((told, piece))
    if not made:
        raise DatasetError(f"{place}: no episode has a complete step: is it the right data?")
    if mapping.tasks is not None and any(told.parameters is not None for told, _ in made):
        if task_file is not None:
            raise ConfigError(
                f"{mapping_file}: 'tasks' brings the parameters of tasks, and --tasks "
                f"{task_file} does too: leave one out"
            )
        listed = tasks_in_data(
            [told for told, _ in made], mapping.tasks.held_out, family, mapping_file
        )
    if listed is None:
        listed = family_tasks(family)
    by_task: dict[str, list[Placed]] = {}
    for told, piece in made:
        by_task.setdefault(told.name, []).append(Placed(piece.place, piece.episode))
    if mapping.reward is None:
        by_task = _labelled(mapping_file, family, listed, by_task)
    notes += [f"{count} {what}" for what, count in counts.items()]
    if by_path:
        notes += unnamed(place, named, Path.exists)
    return MappedEpisodes(
        family, listed, by_task, _described(mapping, place), tuple(notes), tuple(leave_out)
    )


def _labelled(
    mapping_file: Path, family: TaskFamily, tasks: NamedTasks, by_task: dict[str, list[Placed]]
) -> dict[str, list[Placed]]:
    """Each episode with the family's own rewards for its task."""
    parameters = {
        name: tasks.parameters(split)[index]
        for split, names in tasks.names.items()
        for index, name in enumerate(names)
    }
    found = dict(by_task)
    for name in by_task:
        if name not in parameters:  # of no task: refused, or left out by name
            continue
        found[name] = []
        for placed in by_task[name]:
            e = placed.episode
            try:
                rewards = family.reward(
                    e.observations[:-1], e.actions, e.next_observations, parameters[name], e.signals
                )
            except (MissingSignals, NotImplementedError) as error:
                raise ConfigError(
                    f"{mapping_file}: missing key 'reward', and {family.name} cannot label these "
                    f"data itself ({error}): map 'reward', or the 'signals' that it needs"
                ) from None
            labelled = np.asarray(rewards, np.float64).reshape(e.steps)
            found[name].append(replace(placed, episode=replace(e, rewards=labelled)))
    return found


def _described(mapping: FieldMapping, place: str) -> dict[str, Any]:
    plain = mapping.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if mapping.tasks is not None and mapping.tasks.file is not None:
        plain["tasks"]["file"] = mapping.tasks.file.name  # no machine's path
    rewards = OWN_REWARDS if mapping.reward is None else "mapped"
    source = f"{mapping.format} data {Path(place).name}"
    return {"policy": source, "rewards": rewards, "mapping": plain}
