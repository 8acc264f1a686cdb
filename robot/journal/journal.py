"""The robot's journal: every step it took, in one SQLite file that survives a power cut.

Holds the storage and its promises. It does not know the control loop, nor how episodes travel.

WAL with full sync: a transaction that has returned is on the disk. Three ways in:
`Journal.open` (the one process that records), `Journal.attach` (another thread of that process,
which reads and notes receipts) and `Journal.read` (anybody, while the others run).
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.episodes.episode import Episode, EpisodeFooter, EpisodeHeader, Step
from fieldtune.robot.journal import check, quota, recovery
from fieldtune.robot.journal import rewards as journal_rewards
from fieldtune.robot.journal.entry import DamagedEpisode, Entry, EntryState, read_entry
from fieldtune.robot.journal.file import JournalError, WriterLock, connect, explained
from fieldtune.robot.journal.overview import Glance, glance
from fieldtune.robot.journal.presence import Lost, Presence
from fieldtune.robot.journal.quota import Room
from fieldtune.robot.journal.reading import connect_to_read

__all__ = ["DamagedEpisode", "Entry", "EntryState", "Journal", "JournalError", "Room"]


class Journal:
    """An open journal. Belongs to the thread that opened it."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, beside: contextlib.ExitStack | None = None
    ) -> None:
        self.path = path
        self._connection = connection
        self._beside = beside or contextlib.ExitStack()  # what is closed after the connection
        self._presence: Presence | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for recording, creating the file; episodes a dead process left open are closed.

        Raises:
            JournalError: another process records into it, it is no journal, or its schema is
                unknown.
        """
        path = Path(path)
        with explained(path), contextlib.ExitStack() as undo:
            path.parent.mkdir(parents=True, exist_ok=True)
            undo.callback(WriterLock.take(path).release)
            connection = connect(path, create=True)
            journal = cls(path, connection, undo.pop_all())
            undo.callback(journal.close)
            recovery.close_interrupted(journal, connection)
            journal._presence = Presence(path, connection)
            journal._beside.callback(journal._presence.close)
            undo.pop_all()
        return journal

    @classmethod
    def attach(cls, path: Path) -> Self:
        """A second connection beside the recording one: reads, and notes receipts."""
        return cls(Path(path), connect(Path(path), create=False))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open for reading only, also while a daemon records into it, and where nothing may be
        written."""
        with contextlib.ExitStack() as undo:
            connection = connect_to_read(Path(path), undo)
            return cls(Path(path), connection, undo.pop_all())

    def close(self) -> None:
        """Safe to call twice."""
        self._connection.close()
        self._beside.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # Recording

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is written inside becomes durable at its end, or none of it.

        Raises `sqlite3.OperationalError` when the disk refuses; nothing has changed then, and the
        same can be tried again.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside belongs together, whatever others write or delete meanwhile."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def next_number(self) -> int:
        """The number after every episode ever begun here; the first is 1."""
        row = self._connection.execute("SELECT coalesce(max(number), 0) + 1 FROM episodes")
        return int(row.fetchone()[0])

    def begin(self, header: EpisodeHeader, wall_ns: int | None = None) -> int:
        """Open an episode; return its number. Raises `JournalError` when the number is taken.

        `wall_ns` is the wall clock at `header.started_ns`. It stays in the journal: the episode
        and its content address do not depend on it.
        """
        try:
            self._connection.execute(
                "INSERT INTO episodes (number, header, wall_ns) VALUES (?, ?, ?)",
                (header.number, codec.pack(header), wall_ns),
            )
        except sqlite3.IntegrityError as error:
            raise JournalError(
                f"{self.path}: episode {header.number} exists already, the next free number is "
                f"{self.next_number()}: take it from next_number()"
            ) from error
        return header.number

    def add(self, number: int, *records: bytes) -> None:
        """Append steps, each packed by `codec.pack`, to the open episode `number`.

        Raises `JournalError` for an episode that is not open, bytes that are no step, or an index
        that is not the next one; none of these steps is added then.
        """
        first = self._open_length(number)
        try:
            found = codec.step_indices(records)
        except EpisodeError as error:
            raise JournalError(f"{self.path}: episode {number}: {error}") from error
        for expected, index in enumerate(found, first):
            if index != expected:
                raise JournalError(
                    f"{self.path}: episode {number} got the step with index {index}, expected "
                    f"{expected}: add every step once, in order"
                )
        self._connection.executemany(
            "INSERT INTO steps (episode, step, record) VALUES (?, ?, ?)",
            zip(itertools.repeat(number), itertools.count(first), records, strict=False),
        )

    def finish(self, number: int, footer: EpisodeFooter) -> str:
        """Close the open episode `number`; return its content address.

        Raises `JournalError` when the episode is not open, or the footer counts other steps.
        """
        held = self._open_length(number)
        if held != footer.steps:
            raise JournalError(
                f"{self.path}: episode {number} ends with footer.steps={footer.steps}, but {held} "
                "were added"
            )
        packed = codec.pack(footer)
        codec.unpack_footer(packed)
        sha256 = codec.address(self._join(number, packed))
        self._connection.execute(
            "UPDATE episodes SET footer = ?, sha256 = ? WHERE number = ?", (packed, sha256, number)
        )
        return sha256

    def add_rewards(self, number: int, rewards: Mapping[int, float], source: str) -> None:
        """Note what steps of an episode were worth, and who said so; a step noted before changes.

        They are no part of the episode, nor of its content address. Raises `JournalError`.
        """
        journal_rewards.write(self._connection, self.path, number, rewards, source)

    def make_room(self, quota_bytes: int) -> Room:
        """Delete acknowledged episodes, and never others, while the journal is above its quota.

        Does a small piece of that. Raises `sqlite3.OperationalError` when the disk refuses."""
        room = quota.make_room(self._connection, quota_bytes)
        self.note_length()
        return room

    # Where it is

    def lost(self) -> Lost | None:
        """What has become of the file while it was recorded into; None while all is well."""
        return None if self._presence is None else self._presence.look()

    def note_length(self) -> None:
        """Expect the file to stay at least this long, but for what `make_room` cuts off."""
        if self._presence is not None:
            self._presence.note_length()

    def clear_path(self) -> None:
        """Leave nothing of this journal where another may be put, once it is lost and saved."""
        if self._presence is not None:
            self._presence.clear()

    def fold_log(self) -> bool:
        """Copy SQLite's log into the file itself; False where another connection was in the way.

        Raises `sqlite3.Error`.
        """
        busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        return not busy

    def copy_to(self, path: Path) -> None:
        """All of it, as one new file. Raises `sqlite3.Error`."""
        with contextlib.closing(sqlite3.connect(path)) as target:
            self._connection.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # no log beside it

    # Receipts

    def pending(self, limit: int = -1) -> list[int]:
        """Numbers of finished episodes without a receipt, oldest first."""
        rows = self._connection.execute(
            "SELECT number FROM episodes WHERE sha256 IS NOT NULL AND receipt IS NULL "
            "ORDER BY number LIMIT ?",
            (limit,),
        )
        return [number for (number,) in rows]

    def acknowledge(self, sha256: str) -> None:
        """Note that the trainer has stored this episode. Repeats are harmless."""
        self._receive(sha256, EntryState.ACKNOWLEDGED, "")

    def reject(self, sha256: str, reason: str) -> None:
        """Note that the trainer refused this episode for good. It is kept, not offered again."""
        self._receive(sha256, EntryState.REJECTED, reason)

    def offer_again(
        self, first: int = 1, last: int | None = None, *, acknowledged: bool = False
    ) -> list[int]:
        """Forget the trainer's answer to these episodes; return the numbers of those it had.

        For a person who has seen to the reason: the bridge offers them like any other, and they are
        kept until the trainer has answered.

        Args:
            acknowledged: also those that it has stored; it is sent what it has lost since.
        """
        with self.transaction():
            rows = self._connection.execute(
                "UPDATE episodes SET receipt = NULL, reason = '' WHERE (receipt = 'rejected' OR "
                "(? AND receipt = 'acknowledged')) AND number >= ? AND (? IS NULL OR number <= ?) "
                "RETURNING number",
                (acknowledged, first, last, last),
            )
            return sorted(number for (number,) in rows.fetchall())

    # Reading

    def entries(self) -> list[Entry]:
        """Every episode, oldest first, without its steps. Raises `JournalError`."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        wall_ns = "wall_ns" if version >= 2 else "NULL"
        rows = self._connection.execute(
            f"SELECT number, header, footer, sha256, receipt, reason, {wall_ns}, "
            "(SELECT count(*) FROM steps WHERE episode = number) FROM episodes ORDER BY number"
        )
        return [read_entry(self.path, *row) for row in rows]

    def bundles(self) -> set[str]:
        """Ids of the bundles that its episodes ran. Raises `JournalError`."""
        with explained(self.path):
            headers = self._connection.execute("SELECT header FROM episodes").fetchall()
            try:
                return {codec.unpack_header(header).bundle_id for (header,) in headers}
            except EpisodeError as error:
                raise JournalError(
                    f"{self.path}: {error}: run `fieldtune-robot journal verify`"
                ) from error

    def steps(self, number: int) -> list[Step]:
        """The steps so far, also of an open episode. Raises `JournalError`."""
        return [self._unpack(number, record) for record in self._records(number)]

    def blob(self, number: int) -> tuple[str, bytes]:
        """A finished episode's content address and bytes: the same after every restart.

        Raises `JournalError` when it is unknown or open, `DamagedEpisode` when the disk changed it.
        """
        row = self._connection.execute(
            "SELECT footer, sha256 FROM episodes WHERE number = ?", (number,)
        ).fetchone()
        if row is None or row[0] is None:
            state = "not in the journal" if row is None else "still open"
            raise JournalError(
                f"{self.path}: episode {number} is {state}: only finished ones travel"
            )
        footer, sha256 = row
        try:
            blob = self._join(number, footer)
        except JournalError as error:
            raise DamagedEpisode(str(error), sha256) from error
        if codec.address(blob) != sha256:
            raise DamagedEpisode(
                f"{self.path}: episode {number} no longer has the bytes it was closed with (sha256 "
                f"{codec.address(blob)}, expected {sha256}): the disk or the file is damaged",
                sha256,
            )
        return sha256, blob

    def episode(self, number: int) -> Episode:
        """A finished episode, decoded and checked. Raises `JournalError`."""
        try:
            return codec.unpack_episode(self.blob(number)[1])
        except EpisodeError as error:
            raise JournalError(f"{self.path}: episode {number}: {error}") from error

    def glance(self) -> Glance:
        """What to show of it while it grows. Raises `sqlite3.Error`, `JournalError`."""
        with self.snapshot():
            return glance(self.path, self._connection)

    def rewards(self, number: int) -> dict[int, float]:
        """What steps of an episode were worth, by step; empty where nobody said."""
        return journal_rewards.read(self._connection, number)

    def verify(self) -> list[str]:
        """What is wrong with the file, a sentence each with what to do; empty when all is well.

        Runs SQLite's own check, decodes every episode and compares those that are finished with
        their content address.
        """
        return check.find_problems(self, self._connection)

    def _join(self, number: int, footer: bytes) -> bytes:
        (header,) = self._connection.execute(
            "SELECT header FROM episodes WHERE number = ?", (number,)
        ).fetchone()
        try:
            return codec.join(header, self._records(number), footer)
        except EpisodeError as error:
            raise JournalError(f"{self.path}: episode {number}: {error}: check the disk") from error

    def _records(self, number: int) -> list[bytes]:
        rows = self._connection.execute(
            "SELECT record FROM steps WHERE episode = ? ORDER BY step", (number,)
        )
        return [record for (record,) in rows]

    def _unpack(self, number: int, record: bytes) -> Step:
        try:
            return codec.unpack_step(record)
        except EpisodeError as error:
            raise JournalError(f"{self.path}: episode {number}: {error}") from error

    def _open_length(self, number: int) -> int:
        row = self._connection.execute(
            "SELECT (SELECT coalesce(max(step), -1) + 1 FROM steps WHERE episode = number) "
            "FROM episodes WHERE number = ? AND sha256 IS NULL",
            (number,),
        ).fetchone()
        if row is None:
            raise JournalError(f"{self.path}: episode {number} is not open: call begin() first")
        return int(row[0])

    def _receive(self, sha256: str, state: EntryState, reason: str) -> None:
        with self.transaction():
            changed = self._connection.execute(
                "UPDATE episodes SET receipt = ?, reason = ? WHERE sha256 = ? "
                "AND receipt IS NOT 'acknowledged'",
                (state, reason, sha256),
            ).rowcount
            known = self._connection.execute(
                "SELECT 1 FROM episodes WHERE sha256 = ?", (sha256,)
            ).fetchone()
        if not changed and known is None:
            raise JournalError(f"{self.path}: no finished episode has the sha256 {sha256}")
