"""What a recorder is told, in the order it is told, and writing it into a journal.

Holds no thread and no queue.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fieldtune.robot.episodes.episode import EpisodeFooter, EpisodeHeader
from fieldtune.robot.journal.journal import Journal


@dataclass(frozen=True)
class Begin:
    header: EpisodeHeader
    wall_ns: int


@dataclass(frozen=True)
class Put:
    number: int
    record: bytes


@dataclass(frozen=True)
class End:
    number: int
    footer: EpisodeFooter


@dataclass(frozen=True)
class Rewards:
    number: int
    rewards: Mapping[int, float]
    source: str


Event = Begin | Put | End | Rewards


def write(journal: Journal, batch: Sequence[Event]) -> None:
    """Inside a transaction of the journal. Raises `JournalError`, `sqlite3.Error`.

    Steps in a row go in together: asking the journal once for each took most of its time.
    """
    for number, events in itertools.groupby(batch, _adds_to):
        if number is not None:
            journal.add(number, *(event.record for event in events if isinstance(event, Put)))
            continue
        for event in events:
            _write_one(journal, event)


def _adds_to(event: Event) -> int | None:
    return event.number if isinstance(event, Put) else None


def _write_one(journal: Journal, event: Event) -> None:
    if isinstance(event, Begin):
        journal.begin(event.header, event.wall_ns)
    elif isinstance(event, Rewards):
        journal.add_rewards(event.number, event.rewards, event.source)
    elif isinstance(event, End):
        journal.finish(event.number, event.footer)
