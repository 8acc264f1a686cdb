"""`fieldtune import --journal`: robots' episodes with rewards and tasks, as labelled episodes.

Needs no mapping: what a robot records are its family's fields. Knows what episodes say of
themselves; whether they are sound is the gate's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from fieldtune.robot.episodes.episode import BEYOND, EndReason, EpisodeHeader
from fieldtune.sim.family import Array, MissingSignals, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import DatasetError
from fieldtune.train.data.robot_episode import as_trajectory
from fieldtune.train.importing.episode_tasks import Told, tasks_in_data
from fieldtune.train.importing.formats.journal import RobotEpisode, RobotJournal
from fieldtune.train.importing.mapped import MappedEpisodes, Placed
from fieldtune.train.importing.reading import matching
from fieldtune.train.importing.source import OWN_REWARDS, NamedTasks
from fieldtune.train.importing.task_file import family_tasks, read_tasks, task_parameters

NO_TASK = "episodes of no known task (record --task or --parameters, adapt --save)"
LATE = "episodes that left out too many control periods"
EMPTY = "episodes without a complete step"
TOO_FAST = "guided episodes in which the hand was faster than the robot's actions can be"
NO_REWARDS = "episodes without rewards"
SOME_REWARDS = "episodes in which only some steps have rewards"


@dataclass(frozen=True)
class _Found:
    """A robot's episode that may be learned from, and its task as a person told it."""

    told: Told
    trajectory: LabelledEpisode
    known: RobotEpisode


def read_journal(
    family: TaskFamily,
    place: str,
    task_file: Path | None,
    held_out: int | None = None,
    leave_out: Sequence[str] = (),
) -> MappedEpisodes:
    """Read all that robots recorded at `place`.

    An episode brings its task's name, its parameters, or both. Where each of its steps has a reward
    it keeps these; any other is labelled by the family's own reward, where it has one and what that
    needs was measured, or left out.

    Args:
        place: `--journal`: a journal, a state folder, a run or its inbox; a pattern of them (`*`).
        task_file: `--tasks`, which has the parameters and the split of tasks that are named; None:
            the episodes bring parameters, or the names are the family's own numbers.
        held_out: without a task file, how many of the tasks are held out.
        leave_out: tasks whose episodes are not wanted.

    Raises:
        UserError: names file, episode, field, value and cure.
    """
    counts: Counter[str] = Counter()
    names: Counter[str] = Counter()
    notes: list[str] = []
    found: list[_Found] = []
    for one in matching(place):
        journal = RobotJournal(one)
        for known in journal.whole:
            name = _name(known.episode.header)
            names[name] += 1
            if name in leave_out:
                continue
            _require_of(family, known)
            trajectory = as_trajectory(known.episode)
            reason = _why_not(known, trajectory)
            told = _told(known.episode.header, family, known.place)
            if reason or told is None:
                counts[reason or NO_TASK] += 1
                continue
            found.append(_Found(told, trajectory, known))
        notes += [f"{one}: {sentence}" for sentence in journal.unread]
    if absent := [name for name in leave_out if name not in names]:
        raise DatasetError(
            f"--leave-out {absent[0]!r}: no episode of {place} is of that task; there are "
            f"{sorted(filter(None, names))}"
        )
    notes += [f"{names[name]} episodes of task {name!r} (--leave-out)" for name in leave_out]
    if not found:
        raise DatasetError(f"{place}: no episode can be used: {_listed(counts) or 'there is none'}")
    tasks = _tasks(family, place, found, task_file, held_out)
    by_task: dict[str, list[Placed]] = {}
    labelled = 0
    for one_found in found:
        name = one_found.told.name
        by_task.setdefault(name, [])
        parameters = _parameters(tasks, name)
        given = _given(one_found)
        if given is None and parameters is not None:
            given = _own(family, one_found.trajectory, parameters)
            labelled += given is not None
        if given is None:
            counts[SOME_REWARDS if one_found.known.rewards else NO_REWARDS] += 1
            continue
        episode = replace(one_found.trajectory, task_index=0, rewards=given)
        by_task[name].append(Placed(one_found.known.place, episode))
    by_task = {name: placed for name, placed in by_task.items() if placed}
    if not by_task:
        raise DatasetError(
            f"{place}: {_listed(counts)}, and {family.name} cannot label them itself: give rewards "
            "(docs/adapt.md)"
        )
    notes += [f"{count} {what}" for what, count in counts.items()]
    return MappedEpisodes(
        family,
        tasks,
        by_task,
        _described(found, by_task, labelled),
        tuple(notes),
    )


def _require_of(family: TaskFamily, known: RobotEpisode) -> None:
    header = known.episode.header
    name = _name(header)
    otherwise = f"; or leave its task out: --leave-out {name!r}" if name else ""
    if header.family != family.name:
        raise DatasetError(
            f"{known.place}: is of family {header.family!r}, expected {family.name!r}: import it "
            f"into its own; into another, by a mapping with `format: journal`{otherwise}"
        )
    if abs(header.period_s / family.period_s - 1.0) > 0.01:
        raise DatasetError(
            f"{known.place}: a step is {header.period_s:g} s, {family.name}'s control period is "
            f"{family.period_s:g} s: record at its rate{otherwise}"
        )
    if len(known.episode.steps) > family.horizon:
        raise DatasetError(
            f"{known.place}: has {len(known.episode.steps)} steps, {family.name} ends after "
            f"{family.horizon}: record with --steps {family.horizon}, or import it by a mapping "
            "with `format: journal` and `longer_episodes: cut` (docs/datasets.md)"
            f"{otherwise}"
        )


def _why_not(known: RobotEpisode, trajectory: LabelledEpisode) -> str:
    """Why an episode is no data; empty where it may be."""
    if known.episode.footer.end_reason is EndReason.LATE:
        return LATE
    if not len(trajectory.actions):
        return EMPTY
    if any(step.reason.startswith(BEYOND) for step in known.episode.steps):
        return TOO_FAST
    return ""


def _name(header: EpisodeHeader) -> str:
    """What a task is called: by its name, or else its parameters; empty where nobody told one."""
    task = header.task
    if isinstance(task, msgspec.UnsetType):
        return ""
    return task.name or " ".join(f"{value:.9g}" for value in task.parameters or ())


def _told(header: EpisodeHeader, family: TaskFamily, place: str) -> Told | None:
    """The task that a person told; None where nobody did."""
    name, task = _name(header), header.task
    if not name or isinstance(task, msgspec.UnsetType):
        return None
    if not task.parameters:
        return Told(name, None)
    try:
        numbers = task_parameters(place, task.name, list(task.parameters), family)
    except DatasetError as error:
        raise DatasetError(
            f"{error}; where they were mistyped, leave that task out: --leave-out {name!r}"
        ) from error
    return Told(name, tuple(numbers))


def _tasks(
    family: TaskFamily,
    place: str,
    found: Sequence[_Found],
    task_file: Path | None,
    held_out: int | None,
) -> NamedTasks:
    first: dict[str, _Found] = {}
    for one in found:
        before = first.setdefault(one.told.name, one)
        if before.told.parameters is None:
            first[one.told.name] = one
        elif one.told.parameters not in (None, before.told.parameters):
            raise DatasetError(
                f"{one.known.place}: task {one.told.name!r} is {one.told.parameters}, in "
                f"{before.known.place} {before.told.parameters}: one name is of one task"
            )
    if task_file is not None:
        if held_out is not None:
            raise DatasetError(f"--held-out and --tasks {task_file} both split: leave one out")
        listed = read_tasks(task_file, family)
        for name, one in first.items():
            expected, told = _parameters(listed, name), one.told.parameters
            if expected is not None and told is not None and not np.allclose(expected, told):
                raise DatasetError(
                    f"{task_file}: task {name!r} is {expected.tolist()}, {one.known.place} says "
                    f"{list(told)}: mend the file, or name the task otherwise"
                )
        return listed
    unknown = [one for one in first.values() if one.told.parameters is None]
    if not unknown:
        if held_out is None:
            raise DatasetError(
                f"{place}: the episodes are of {len(first)} tasks; give --held-out N, how many of "
                "them are not trained on, or --tasks FILE with the split"
            )
        if held_out >= len(first):
            raise DatasetError(
                f"--held-out is {held_out}, the episodes are of {len(first)} tasks: expected less, "
                "so that some are left to be trained on"
            )
        return tasks_in_data([one.told for one in first.values()], held_out, family, place)
    own = {name for names in family_tasks(family).names.values() for name in names}
    if other := next((one for one in unknown if one.told.name not in own), None):
        raise DatasetError(
            f"{other.known.place}: task {other.told.name!r} is told by its name alone: give its "
            "parameters in --tasks FILE, or when recording (--parameters); or give --leave-out "
            f"{other.told.name!r}"
        )
    return family_tasks(family)


def _parameters(tasks: NamedTasks, name: str) -> Array | None:
    for split, names in tasks.names.items():
        if name in names:
            return np.asarray(tasks.parameters(split)[names.index(name)])
    return None


def _given(found: _Found) -> Array | None:
    """The rewards that were given, `(T,)`; None where a step has none."""
    rewards = [found.known.rewards.get(step) for step in range(len(found.trajectory.actions))]
    return None if None in rewards else np.array(rewards, np.float64)


def _own(family: TaskFamily, trajectory: LabelledEpisode, parameters: Array) -> Array | None:
    """The family's own rewards, `(T,)`; None where it has none, or what they need is missing."""
    e = trajectory
    try:
        rewards = family.reward(
            e.observations[:-1], e.actions, e.observations[1:], parameters, e.signals
        )
    except (MissingSignals, NotImplementedError):
        return None
    return np.asarray(rewards, np.float64).reshape(len(e.actions))


def _described(
    found: Sequence[_Found], by_task: dict[str, list[Placed]], labelled: int
) -> dict[str, str]:
    """For the card."""
    kinds = Counter(str(one.known.episode.header.mode) for one in found)
    sources = sorted({one.known.source for one in found if one.known.source})
    given = sum(map(len, by_task.values())) - labelled
    rewards = OWN_REWARDS
    if given:
        rewards = f"as given in {given} episodes ({', '.join(sources)})"
        rewards += f"; in {labelled} {OWN_REWARDS}" if labelled else ""
    return {
        "policy": "robots' episodes: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        "rewards": rewards,
    }


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())
