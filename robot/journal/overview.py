"""An overview of a journal, quick however long it is: how many episodes, and the newest one.

Reads only. It does not know who looks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.episodes.episode import Step
from fieldtune.robot.journal.entry import Entry, EntryState, read_entry
from fieldtune.robot.journal.file import JournalError
from fieldtune.robot.journal.reader import JournalReader

RECENT_STEPS = 1_000


@dataclass(frozen=True)
class Overview:
    """How many episodes are how far, the newest of them, and its latest steps."""

    episodes: dict[EntryState, int]
    newest: Entry | None
    recent: list[Step]


def overview(journal: JournalReader) -> Overview:
    """What to show of a journal while it grows.

    Raises `sqlite3.Error`, and `JournalError` for what is damaged.
    """
    try:
        with journal.snapshot():
            return _overview(journal)
    except (EpisodeError, ValueError) as error:
        raise JournalError(
            f"{journal.path}: {error}: `fieldtune-robot journal verify` says more"
        ) from error


def _overview(journal: JournalReader) -> Overview:
    connection = journal.connection
    counts: Counter[EntryState] = Counter()
    for finished, receipt, count in connection.execute(
        "SELECT sha256 IS NOT NULL, receipt, count(*) FROM episodes GROUP BY 1, 2"
    ):
        state = EntryState(receipt or EntryState.PENDING) if finished else EntryState.OPEN
        counts[state] += count
    row = connection.execute(
        "SELECT number, header, footer, sha256, receipt, reason, NULL, "
        "(SELECT count(*) FROM steps WHERE episode = number) "
        "FROM episodes ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return Overview({}, None, [])
    records = connection.execute(
        "SELECT record FROM steps WHERE episode = ? ORDER BY step DESC LIMIT ?",
        (row[0], RECENT_STEPS),
    ).fetchall()
    recent = [codec.unpack_step(record) for (record,) in reversed(records)]
    return Overview(dict(counts), read_entry(journal.path, *row), recent)
