"""Ending, in a journal, what a dead process began. Knows episodes; not why the process died."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from fieldtune.robot.episodes.episode import EndReason, EpisodeFooter

if TYPE_CHECKING:
    from fieldtune.robot.journal.journal import Journal


def close_interrupted(journal: Journal, connection: sqlite3.Connection) -> None:
    """End the episodes that are open. The state after the last step is unknown: the footer holds
    the last observation there is, and no clock offset. `connection` is the journal's own."""
    with journal.transaction():
        rows = connection.execute("SELECT number FROM episodes WHERE sha256 IS NULL")
        for (number,) in rows.fetchall():
            steps = journal.steps(number)
            journal.finish(
                number,
                EpisodeFooter(
                    end_reason=EndReason.INTERRUPTED,
                    steps=len(steps),
                    final_observation=steps[-1].observation if steps else [],
                    fault="the process died during this episode",
                ),
            )
