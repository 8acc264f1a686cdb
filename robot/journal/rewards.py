"""Rewards in a journal: a stream beside the episodes, by episode and step.

Knows the table; not who gave them. They are no part of an episode's bytes: an episode that was
rewarded has the same content address as one that was not.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from fieldtune.robot.journal.file import JournalError


def write(
    connection: sqlite3.Connection,
    path: Path,
    number: int,
    rewards: Mapping[int, float],
    source: str,
) -> None:
    """Add rewards, or change those of steps that have one.

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
    try:
        connection.executemany(
            "INSERT INTO rewards (episode, step, reward, source) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (episode, step) DO UPDATE SET reward = excluded.reward, "
            "source = excluded.source",
            [(number, step, float(reward), source) for step, reward in rewards.items()],
        )
    except sqlite3.IntegrityError as error:
        raise JournalError(
            f"{path}: rewards for episode {number}: {error}: begin the episode first, and count "
            "its steps from 0"
        ) from error


def read(connection: sqlite3.Connection, number: int) -> dict[int, float]:
    """By step; empty for an episode without, and in a journal from before there were any."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < 3:
        return {}
    rows = connection.execute(
        "SELECT step, reward FROM rewards WHERE episode = ? ORDER BY step", (number,)
    )
    return dict(rows.fetchall())
