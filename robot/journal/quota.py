"""The journal's bound on disk: which episodes may go, and giving their space back to the disk.

Knows the tables and SQLite's pages, and which folder shares the quota. It does not know what lies
there, who acknowledges, nor what else its thread does.

An episode may go once the trainer has acknowledged it and its rewards, and only then. The newest
one stays in any case: its number says which comes next. Each episode goes in one transaction, so a
kill leaves it whole or gone.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.journal.rewards import UNSENT

log = logging.getLogger(__name__)

PIECE_S = 0.05
LOOK_S = 1.0
_PIECE_PAGES = 256

_OLDEST_ACKNOWLEDGED = (
    "SELECT min(number) FROM episodes WHERE receipt = 'acknowledged' "
    f"AND number < (SELECT max(number) FROM episodes) AND NOT {UNSENT}"
)


@dataclass(frozen=True)
class Room:
    """What one piece of work came to.

    `used_bytes` is what the journal's content takes, and `kept` how many finished episodes must
    not be deleted. `settled` says that there is nothing more to do now; `full` that the content
    is above the quota and only the trainer's receipts, or a person, can change that.
    """

    used_bytes: int
    kept: int
    deleted: int
    settled: bool
    full: bool


class Quota:
    """Keeps one journal within `quota_bytes` (None: no bound), a piece of work at a time.

    What lies in the folder `beside` is part of the quota, and nothing there is deleted. `full` says
    why no further episode should begin, or is None. It is for other threads to read.
    """

    def __init__(self, path: Path, quota_bytes: int | None, beside: Path | None = None) -> None:
        self.path = path
        self.quota_bytes = quota_bytes
        self.beside = beside
        self.full: str | None = None
        self._settled = True

    @property
    def patience_s(self) -> float | None:
        """How long `make_room` can wait: 0 with work left, None (for ever) when all is well."""
        if not self._settled:
            return 0.0
        return LOOK_S if self.full else None

    def make_room(self, journal: Journal) -> bool:
        """Do a piece of what there is to do, and say so once when nothing more may be deleted.

        Returns whether `journal`, open for recording, may be shorter now.
        """
        if self.quota_bytes is None:
            return False
        others = 0 if self.beside is None else folder_bytes(self.beside)
        try:
            room = make_room(journal, max(0, self.quota_bytes - others))
        except sqlite3.OperationalError as error:
            log.warning("%s: no room could be made yet: %s", self.path, error)
            self._settled = True
            return False
        self._settled = room.settled
        if not room.settled:
            return True
        full = self._explain(self.quota_bytes, room, others) if room.full else None
        if full and not self.full:
            log.error("%s", full)
        elif self.full and not full:
            log.info("%s: has room again", self.path)
        self.full = full
        return True

    def _explain(self, quota_bytes: int, room: Room, others: int) -> str:
        beside = f", and {others / 1e6:.1f} MB in {self.beside}" if others else ""
        return (
            f"{self.path}: {room.kept} episodes that the trainer has not acknowledged fill the "
            f"quota ({room.used_bytes / 1e6:.1f} MB of {quota_bytes / 1e6:g} MB{beside}): connect "
            "the trainer, raise robot.journal_quota_mb, or export them and move the journal away"
        )


def folder_bytes(folder: Path) -> int:
    """What the files in `folder` take, those under way included; 0 where it is not there."""
    total = 0
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                total += path.lstat().st_size
    return total


def make_room(journal: Journal, quota_bytes: int, piece_s: float = PIECE_S) -> Room:
    """Work towards the quota for a while, and by one episode at least.

    Deletes the oldest episodes that the trainer has acknowledged, never others, then shortens the
    file.

    Args:
        journal: open for writing.
        quota_bytes: what the journal's content may take.
        piece_s: about how long to work.

    Raises:
        sqlite3.OperationalError: the disk refuses, or another connection writes.
    """
    deadline = time.monotonic() + piece_s
    connection = journal.connection
    deleted = 0
    while _used_bytes(connection) > quota_bytes:
        number = _oldest_acknowledged(connection)
        if number is None:
            break
        _delete(journal, number)
        deleted += 1
        if time.monotonic() >= deadline:
            return _room(connection, quota_bytes, deleted, settled=False)
    settled = _shrink(connection, quota_bytes, deadline)
    return _room(connection, quota_bytes, deleted, settled)


def _room(connection: sqlite3.Connection, quota_bytes: int, deleted: int, settled: bool) -> Room:
    used = _used_bytes(connection)
    (kept,) = connection.execute(
        "SELECT count(*) FROM episodes WHERE sha256 IS NOT NULL "
        f"AND (receipt IS NOT 'acknowledged' OR {UNSENT})"
    ).fetchone()
    return Room(
        used_bytes=used,
        kept=kept,
        deleted=deleted,
        settled=settled,
        full=settled and used > quota_bytes and kept > 0,
    )


def _oldest_acknowledged(connection: sqlite3.Connection) -> int | None:
    (number,) = connection.execute(_OLDEST_ACKNOWLEDGED).fetchone()
    return None if number is None else int(number)


def _delete(journal: Journal, number: int) -> None:
    with journal.transaction():
        journal.connection.execute("DELETE FROM steps WHERE episode = ?", (number,))
        journal.connection.execute("DELETE FROM episodes WHERE number = ?", (number,))


def _shrink(connection: sqlite3.Connection, quota_bytes: int, deadline: float) -> bool:
    """Cut free pages off the file while it is longer than the quota; True when that is done."""
    shrunk = False
    while True:
        page_bytes, pages, free = _pages(connection)
        wanted = min(free, pages - quota_bytes // page_bytes, _PIECE_PAGES)
        if wanted <= 0 or (shrunk and time.monotonic() >= deadline):
            break
        # Not execute(): it steps the statement once, which frees a single page.
        connection.executescript(f"PRAGMA incremental_vacuum({wanted})")
        if _pages(connection)[1] == pages:  # a file from before it could shrink
            wanted = 0
            break
        shrunk = True
    if shrunk:  # the file itself gets shorter when the log is copied into it
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return wanted <= 0


def _used_bytes(connection: sqlite3.Connection) -> int:
    page_bytes, pages, free = _pages(connection)
    return (pages - free) * page_bytes


def _pages(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Bytes a page, pages, and free ones among them."""
    page_bytes, pages, free = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    return page_bytes, pages, free
