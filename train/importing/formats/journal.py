"""What robots recorded: a robot's journal, or the episodes that a trainer received.

As docs/journal.md and docs/wire.md say. Rewards are beside episodes, by step. Reads only; what is
damaged is left out and told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from fieldtune.robot.episodes.episode import Episode, EpisodeHeader
from fieldtune.robot.journal.file import JournalError, explained
from fieldtune.robot.journal.journal import Journal
from fieldtune.train.bridge.inbox import SUFFIX, Inbox
from fieldtune.train.data.robot_episode import as_trajectory
from fieldtune.train.importing.recording import RecordedEpisode, RecordingError

JOURNAL, INBOX = "journal.sqlite", "inbox"


@dataclass(frozen=True)
class RobotEpisode:
    """A finished episode, where a person finds it, and its rewards by step with who gave them."""

    place: str
    episode: Episode
    rewards: dict[int, float]
    source: str


class RobotJournal:
    """A `Recording`: a journal's file, its robot's `state_dir`, a run's folder, or its inbox."""

    def __init__(self, place: str) -> None:
        self._place = Path(place)

    @cached_property
    def _read(self) -> tuple[list[RobotEpisode], list[str]]:
        """Every finished episode, in the order of robot and number; and what is left out."""
        path = self._place
        if path.is_dir():
            for inside in (path / JOURNAL, path / INBOX):
                path = inside if inside.exists() else path
        left_out: list[str] = []
        if path.is_dir():
            found = list(_of_inbox(path))
        elif path.exists():
            found = list(_of_journal(path, left_out))
        else:
            raise RecordingError(f"{path}: is not there: name a journal's file, or a run's folder")
        if not found:
            raise RecordingError(
                f"{path}: holds no finished episode: expected a robot's {JOURNAL}, or a trainer's "
                f"inbox with *{SUFFIX} files" + "".join(f"; {one}" for one in left_out)
            )
        return sorted(found, key=_order), left_out

    @property
    def whole(self) -> list[RobotEpisode]:
        """Every finished episode, as it was recorded."""
        return self._read[0]

    @property
    def keys(self) -> dict[str, int]:
        widths = {"reward": 1, "terminated": 1}
        for known in self.whole:
            trajectory = as_trajectory(known.episode)
            if len(trajectory.actions):
                widths["observation"] = trajectory.observations.shape[1]
                widths["action"] = trajectory.actions.shape[1]
                if trajectory.signals is not None:
                    widths["signals"] = trajectory.signals.shape[1]
                break
        return widths

    @property
    def period_s(self) -> float | None:
        periods = {known.episode.header.period_s for known in self.whole}
        if len(periods) > 1:
            raise RecordingError(
                f"{self._place}: episodes have control periods of {sorted(periods)} s: data of one "
                "rate belong together; record them into journals of their own"
            )
        return periods.pop()

    @property
    def unread(self) -> list[str]:
        return self._read[1]

    def episodes(self, keys: frozenset[str]) -> Iterator[RecordedEpisode]:
        for known in self.whole:
            trajectory, header = as_trajectory(known.episode), known.episode.header
            steps = len(trajectory.actions)
            if not steps:
                continue
            ends = np.zeros((steps, 1))
            ends[-1] = trajectory.terminated
            columns = {
                "observation": trajectory.observations[:-1],
                "action": trajectory.actions,
                "reward": np.array([[known.rewards.get(k, np.nan)] for k in range(steps)]),
                "terminated": ends,
            }
            if trajectory.signals is not None:
                columns["signals"] = trajectory.signals
            if missing := sorted(keys - set(columns)):
                raise RecordingError(f"{known.place}: has no {missing[0]!r}")
            following = {"observation": trajectory.observations[-1]}
            yield RecordedEpisode(_name(header), columns, following, _attributes(header))


def _of_journal(path: Path, left_out: list[str]) -> Iterator[RobotEpisode]:
    with explained(path), Journal.read(path) as journal, journal.snapshot():
        for entry in journal.entries():
            if entry.footer is None:
                left_out.append(
                    f"episode {entry.number} is still open: import it when it has ended"
                )
                continue
            try:
                episode = journal.episode(entry.number)
            except JournalError as error:
                left_out.append(str(error))
                continue
            source = ", ".join(journal.reward_sources(entry.number))
            place = f"{path}: episode {entry.number}"
            yield RobotEpisode(place, episode, journal.rewards(entry.number), source)


def _of_inbox(folder: Path) -> Iterator[RobotEpisode]:
    inbox = Inbox(folder)
    known = inbox.rewards()
    for sha256, episode in inbox.episodes(after=frozenset()):
        given = known.get((sha256, episode.header.robot))
        place = f"{folder}: episode {episode.header.number} of robot {episode.header.robot!r}"
        rewards, source = ({}, "") if given is None else (given.by_step(), given.source)
        yield RobotEpisode(place, episode, rewards, source)


def _order(known: RobotEpisode) -> tuple[str, int, int]:
    header = known.episode.header
    return header.robot, header.number, header.started_ns


def _name(header: EpisodeHeader) -> str:
    return f"episode {header.number} of {header.robot}"


def _attributes(header: EpisodeHeader) -> dict[str, str | int]:
    """What a mapping may tell tasks by; `task` only where a person named it."""
    found: dict[str, str | int] = {
        "robot": header.robot,
        "mode": str(header.mode),
        "number": header.number,
        "trial": header.trial,
    }
    if not isinstance(header.by, msgspec.UnsetType):
        found["by"] = header.by
    if not isinstance(header.task, msgspec.UnsetType) and header.task.name:
        found["task"] = header.task.name
    return found
