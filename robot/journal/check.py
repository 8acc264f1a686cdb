"""Looking for damage in a journal: what is wrong with it, and what a person can do about it.

Reads only. It does not know why it is asked, nor how the answer is shown.
"""

from __future__ import annotations

import sqlite3

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.episodes.episode import EpisodeHeader
from fieldtune.robot.journal.file import JournalError
from fieldtune.robot.journal.reader import JournalReader

_RESCUE = (
    "the file is damaged: stop the daemon, keep a copy of the file with its -wal beside it, get "
    "out what there is with `sqlite3 FILE .recover`, and give the daemon another state_dir"
)
_ROW = "SELECT header, sha256, receipt FROM episodes WHERE number = ?"


def find_problems(journal: JournalReader) -> list[str]:
    """What is wrong with the file, a sentence each with what to do; empty when all is well.

    Runs SQLite's own check, decodes every episode and compares those that are finished with their
    content address.
    """
    connection = journal.connection
    try:
        checks = [line for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok"]
        checks += [f"{row}" for row in connection.execute("PRAGMA foreign_key_check")]
        problems = [f"{journal.path}: {line}: {_RESCUE}" for line in checks]
        numbers = connection.execute("SELECT number FROM episodes ORDER BY number").fetchall()
    except sqlite3.DatabaseError as error:
        return [f"{journal.path}: {error}: {_RESCUE}"]
    for (number,) in numbers:
        with journal.snapshot():
            row = connection.execute(_ROW, (number,)).fetchone()
            if row is None:
                continue  # acknowledged, and deleted for room since
            header, sha256, receipt = row
            try:
                _require_sound(journal, number, header, finished=sha256 is not None)
            except (JournalError, EpisodeError, sqlite3.DatabaseError) as error:
                problems.append(f"{error}: {_cure(sha256, receipt)}")
    return problems


def _require_sound(journal: JournalReader, number: int, header: bytes, finished: bool) -> None:
    decoded = codec.unpack_header(header)
    _require_number(journal, number, decoded)
    if finished:
        journal.episode(number)
        return
    for position, step in enumerate(journal.steps(number)):
        if step.index != position:
            raise JournalError(
                f"{journal.path}: episode {number}, still open, has the step with index "
                f"{step.index} where {position} was expected"
            )


def _require_number(journal: JournalReader, number: int, header: EpisodeHeader) -> None:
    if header.number != number:
        raise JournalError(
            f"{journal.path}: episode {number} has the header of episode {header.number}"
        )


def _cure(sha256: str | None, receipt: str | None) -> str:
    if receipt == "acknowledged":
        return "the trainer has stored it whole, so nothing is lost; check the disk"
    if sha256 is None:
        return "stop the daemon and check the disk; the next start closes what can be read"
    return (
        "it will not be uploaded; the other episodes are not touched by this: check the disk, and "
        "take what you need of them with `fieldtune-robot journal export`"
    )
