"""Rewards in a journal: a stream beside the episodes, by episode and step, and their uploads.

Knows the tables; not who gave rewards, nor how they travel. They are no part of an episode's bytes:
an episode that was rewarded has the same content address as one that was not.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from fieldtune.robot.journal.file import JournalError

UNSENT = (
    "EXISTS (SELECT 1 FROM reward_uploads WHERE episode = number AND receipt IS NOT 'acknowledged')"
)
"""Of an episode: whether it has rewards that the trainer has not acknowledged."""


def write(
    connection: sqlite3.Connection,
    path: Path,
    number: int,
    rewards: Mapping[int, float],
    source: str,
) -> None:
    """Add rewards, or change those of steps that have one. They wait for the trainer then.

    Args:
        connection: to the journal, for writing.
        path: of the journal, for errors.
        number: of the episode.
        rewards: by step, from 0.
        source: who gave them.

    Raises:
        JournalError: an unknown episode, a step below 0, or a reward that is no finite number.
    """
    for step, reward in rewards.items():
        if not math.isfinite(reward):
            raise JournalError(
                f"{path}: the reward of episode {number}, step {step} is {reward}: expected a "
                "finite number"
            )
    if not rewards:
        return
    try:
        connection.executemany(
            "INSERT INTO rewards (episode, step, reward, source) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (episode, step) DO UPDATE SET reward = excluded.reward, "
            "source = excluded.source",
            [(number, step, float(reward), source) for step, reward in rewards.items()],
        )
        connection.execute(
            "INSERT INTO reward_uploads (episode) VALUES (?) "
            "ON CONFLICT (episode) DO UPDATE SET receipt = NULL",
            (number,),
        )
    except sqlite3.IntegrityError as error:
        raise JournalError(
            f"{path}: rewards for episode {number}: {error}: begin the episode first, and count "
            "its steps from 0"
        ) from error


def read(connection: sqlite3.Connection, number: int) -> dict[int, float]:
    """By step; empty for an episode without, and in a journal from before there were any."""
    if schema(connection) < 3:
        return {}
    rows = connection.execute(
        "SELECT step, reward FROM rewards WHERE episode = ? ORDER BY step", (number,)
    )
    return dict(rows.fetchall())


def sources(connection: sqlite3.Connection, number: int) -> list[str]:
    """Who gave an episode's rewards, by name; usually one."""
    if schema(connection) < 3:
        return []
    rows = connection.execute(
        "SELECT DISTINCT source FROM rewards WHERE episode = ? ORDER BY source", (number,)
    )
    return [source for (source,) in rows]


def pending(connection: sqlite3.Connection, limit: int) -> list[int]:
    """Numbers of episodes that the trainer has, and whose rewards it has not; oldest first."""
    if schema(connection) < 4:
        return []
    rows = connection.execute(
        "SELECT episode FROM reward_uploads JOIN episodes ON number = episode "
        "WHERE reward_uploads.receipt IS NULL AND episodes.receipt = 'acknowledged' "
        "ORDER BY episode LIMIT ?",
        (limit,),
    )
    return [number for (number,) in rows]


def receive(connection: sqlite3.Connection, number: int, receipt: str) -> None:
    """Note the trainer's answer, `acknowledged` or `rejected`."""
    connection.execute("UPDATE reward_uploads SET receipt = ? WHERE episode = ?", (receipt, number))


def forget_receipts(
    connection: sqlite3.Connection, first: int, last: int | None, *, acknowledged: bool
) -> list[int]:
    """Forget the trainer's refusals, and where `acknowledged` its receipts; whose they were.

    Args:
        connection: to the journal, for writing.
        first, last: of which episodes; None: to the newest.
        acknowledged: whether what it has is offered again too.
    """
    if schema(connection) < 4:
        return []
    rows = connection.execute(
        "UPDATE reward_uploads SET receipt = NULL WHERE (receipt = 'rejected' OR "
        "(? AND receipt = 'acknowledged')) AND episode >= ? AND (? IS NULL OR episode <= ?) "
        "RETURNING episode",
        (acknowledged, first, last, last),
    )
    return [number for (number,) in rows.fetchall()]


def schema(connection: sqlite3.Connection) -> int:
    """The journal's schema version: one that is only read may be an older one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
