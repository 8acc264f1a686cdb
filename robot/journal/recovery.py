"""Ending, in a journal, what a dead process began. Knows episodes; not why the process died."""

from __future__ import annotations

from fieldtune.robot.episodes.episode import EndReason, EpisodeFooter
from fieldtune.robot.journal.journal import Journal


def close_interrupted(journal: Journal) -> None:
    """End the episodes that are open, in a journal from `Journal.open`: its lock says that whoever
    began them is dead.

    The state after the last step is unknown: the footer holds the last observation there is, and no
    clock offset.

    Raises:
        JournalError: a step cannot be read; nothing has changed.
        sqlite3.Error: the disk refuses; nothing has changed.
    """
    with journal.transaction():
        rows = journal.connection.execute("SELECT number FROM episodes WHERE sha256 IS NULL")
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
