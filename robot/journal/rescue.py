"""Saving what an open journal holds when its file is no longer the one at its path.

Knows journals; not why one was lost, nor who records.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from fieldtune.files import sync
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.journal.presence import Lost


def rescue(journal: Journal, lost: Lost) -> str:
    """Bring all of it to where it can be found; say where, or why that is not possible.

    A file that still has a name is made whole there; one that has none is copied beside the path
    that it had, which takes as much disk again.
    """
    copy = journal.path.with_name(
        f"{journal.path.stem}-rescued-{time.strftime('%Y%m%d-%H%M%S')}{journal.path.suffix}"
    )
    try:
        if lost.whole and lost.moved_to is not None and _fold_log(journal):
            journal.clear_path()
            return f"all that was recorded is in {lost.moved_to}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy_whole(journal, copy)
        sync(copy)
        sync(copy.parent)
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)
        return f"what it held could not be saved in {copy}: {error}"
    if not lost.whole and _is_damaged(copy):
        return f"what could be saved is in {copy}, which is damaged: `sqlite3 {copy} .recover`"
    journal.clear_path()
    return f"all that was recorded is saved in {copy}"


def copy_whole(journal: Journal, path: Path) -> None:
    """All that is in a journal, as one new file. Raises `sqlite3.Error`."""
    with contextlib.closing(sqlite3.connect(path)) as target:
        journal.connection.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # no log beside it


def _fold_log(journal: Journal) -> bool:
    """Copy SQLite's log into the file itself; False where another connection was in the way."""
    busy, *_ = journal.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
    return not busy


def _is_damaged(copy: Path) -> bool:
    try:
        with Journal.read(copy) as journal:
            return bool(find_problems(journal))
    except (JournalError, sqlite3.Error):
        return True
