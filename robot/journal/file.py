"""The journal's file: its schema and version, the connection's settings, the lock of its writer.

Knows SQLite and the file system; does not know what an episode means.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from fieldtune.errors import UserError
from fieldtune.files import sync
from fieldtune.lock import FileLock, Held, holder

log = logging.getLogger(__name__)

# 2 added episodes.wall_ns, 3 the table of rewards, 4 that of their uploads; older ones are read,
# and upgraded when recorded into.
SCHEMA_VERSION = 4
APPLICATION_ID = 0x464C4454  # "FLDT", in SQLite's own header field
BUSY_TIMEOUT_S = 5.0
LOCK = ".lock"  # ends the name of the file beside a journal that its one writer holds
_HEADER_BYTES = 100  # of every SQLite file
_LEAST_ROOM = 2**20  # below it a disk counts as full

_REWARDS = """
CREATE TABLE rewards (
    episode INTEGER NOT NULL REFERENCES episodes (number) ON DELETE CASCADE,
    step    INTEGER NOT NULL CHECK (step >= 0),
    reward  REAL NOT NULL,
    source  TEXT NOT NULL,
    PRIMARY KEY (episode, step)
) STRICT, WITHOUT ROWID;
"""
_REWARD_UPLOADS = """
CREATE TABLE reward_uploads (
    episode INTEGER PRIMARY KEY REFERENCES episodes (number) ON DELETE CASCADE,
    receipt TEXT CHECK (receipt IN ('acknowledged', 'rejected'))
) STRICT;
CREATE INDEX pending_rewards ON reward_uploads (episode) WHERE receipt IS NULL;
"""
_SCHEMA = f"""
CREATE TABLE episodes (
    number  INTEGER PRIMARY KEY CHECK (number > 0),
    header  BLOB NOT NULL,
    footer  BLOB,
    sha256  TEXT UNIQUE,
    receipt TEXT CHECK (receipt IN ('acknowledged', 'rejected')),
    reason  TEXT NOT NULL DEFAULT '',
    wall_ns INTEGER,
    CHECK ((footer IS NULL) = (sha256 IS NULL)),
    CHECK (receipt IS NULL OR sha256 IS NOT NULL)
) STRICT;
CREATE TABLE steps (
    episode INTEGER NOT NULL REFERENCES episodes (number),
    step    INTEGER NOT NULL CHECK (step >= 0),
    record  BLOB NOT NULL,
    PRIMARY KEY (episode, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX pending ON episodes (number) WHERE sha256 IS NOT NULL AND receipt IS NULL;
{_REWARDS}{_REWARD_UPLOADS}"""


class JournalError(UserError):
    """The journal cannot do what was asked. The message names the file and the cure."""


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise inside into a `JournalError` with the path."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"{path}: {error}: check the disk and the file") from error


def wants_room(error: sqlite3.OperationalError, path: Path) -> bool:
    """Whether that is what a full disk says of the journal at `path`, in one of its ways."""
    if _says_full(error):
        return True
    try:
        disk = os.statvfs(path.parent)
    except OSError:  # the folder is gone
        return False
    writable = not disk.f_flag & os.ST_RDONLY
    return writable and (
        disk.f_bavail * disk.f_frsize < _LEAST_ROOM or disk.f_favail == 0 < disk.f_files
    )


def _says_full(error: sqlite3.OperationalError) -> bool:
    if sys.version_info >= (3, 11):
        return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL
    return "database or disk is full" in str(error)  # what SQLite calls that code


def take_writer_lock(path: Path) -> FileLock:
    """What the one process that records into the journal at `path` holds.

    Raises:
        JournalError: another process holds it; the message names it.
        OSError: no such folder, no permission, or a file system without locks.
    """
    try:
        return FileLock.take(_lock_file(path))
    except Held as held:
        raise JournalError(
            f"{path}: process {held.holder} records into this journal: stop it; another "
            "robot has a robot.state_dir of its own"
        ) from held


def writer(path: Path) -> str | None:
    """The process that records into this journal, "unknown" at worst; None where none does."""
    return holder(_lock_file(path))


def _lock_file(path: Path) -> Path:
    return path.with_name(path.name + LOCK)


def connect(
    path: Path, *, create: bool, read_only: bool = False, unchanging: bool = False
) -> sqlite3.Connection:
    """A connection with the journal's settings, to a file whose schema is known.

    Args:
        path: the journal.
        create: whether to make it where it is missing, and to upgrade an older schema.
        read_only: change nothing.
        unchanging: read the file alone, without its log and without a lock: nobody may write it
            meanwhile.

    Raises:
        JournalError: a missing file, one that is no journal, or an unknown schema version.
    """
    if not create and not path.is_file():
        raise JournalError(f"{path}: no such journal: a daemon creates it when it first runs")
    _require_whole(path)
    mode = "ro" if read_only else ("rwc" if create else "rw")
    immutable = "&immutable=1" if unchanging else ""
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}{immutable}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
        )
    except sqlite3.Error as error:
        raise JournalError(f"{path}: cannot be opened: {error}") from error
    try:
        if create:
            _create_if_empty(connection)
            sync(path.parent)
        _require_known_schema(connection, path)  # before anything is changed in a file of others
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        if create:
            _upgrade(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise JournalError(f"{path}: cannot be read as a journal: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _require_whole(path: Path) -> None:
    """Raise `JournalError` for a file cut to nothing beside a log that is not: SQLite would take it
    for a new one and delete the log, with what can still be got out of it."""
    beside = path.with_name(path.name + "-wal")
    try:
        cut_off = path.stat().st_size < _HEADER_BYTES and beside.stat().st_size > 0
    except FileNotFoundError:
        return
    if cut_off:
        raise JournalError(
            f"{path}: is cut off, and {beside.name} beside it is not: keep a copy of both, check "
            "the disk, and give the daemon another state_dir"
        )


def _create_if_empty(connection: sqlite3.Connection) -> None:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if tables == 0 and version == 0:
        connection.executescript(
            f"PRAGMA auto_vacuum = INCREMENTAL;BEGIN IMMEDIATE;{_SCHEMA}"
            f"PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {SCHEMA_VERSION};COMMIT;"
        )


def _require_known_schema(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == version == 0 and path.stat().st_size == 0:
        raise JournalError(f"{path}: is only just being made: try again in a moment")
    if application != APPLICATION_ID:
        raise JournalError(f"{path}: an SQLite file, but no Fieldtune journal: choose another path")
    if version not in range(1, SCHEMA_VERSION + 1):
        raise JournalError(
            f"{path}: journal schema version {version} is unknown, expected {SCHEMA_VERSION}: use "
            "the fieldtune that wrote it, or start a new journal"
        )


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Bring an older journal to this schema; a power cut in between leaves one or the other."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        if version < 2:
            connection.execute("ALTER TABLE episodes ADD COLUMN wall_ns INTEGER")
        if version < 3:
            connection.execute(_REWARDS)
        for statement in filter(str.strip, _REWARD_UPLOADS.split(";")):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO reward_uploads (episode) SELECT DISTINCT episode FROM rewards"
        )
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
        log.info("%s: upgraded to journal schema %d", path, SCHEMA_VERSION)
    (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    if mode == 0:
        try:
            connection.executescript("PRAGMA auto_vacuum = INCREMENTAL; VACUUM;")
        except sqlite3.OperationalError as error:  # it needs as much disk again as the journal has
            log.warning("%s: will not shrink, but reuse its own space: %s", path, error)
