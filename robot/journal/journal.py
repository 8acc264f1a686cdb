"""The robot's journal: every step it took, in one SQLite file that survives a power cut.

Holds writing and its promises; what is read is reader.py's. It does not know who looks for damage,
ends what a dead process began or makes room, nor the control loop, nor how episodes travel.

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

from typing_extensions import Self

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.episodes.episode import EpisodeFooter, EpisodeHeader
from fieldtune.robot.journal import rewards as journal_rewards
from fieldtune.robot.journal.entry import EntryState
from fieldtune.robot.journal.file import JournalError, connect, explained, take_writer_lock
from fieldtune.robot.journal.presence import Lost, Presence
from fieldtune.robot.journal.reader import JournalReader
from fieldtune.robot.journal.reading import connect_to_read

__all__ = ["EntryState", "Journal", "JournalError"]


class Journal(JournalReader):
    """An open journal. Belongs to the thread that opened it."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, beside: contextlib.ExitStack | None = None
    ) -> None:
        super().__init__(path, connection)
        self._beside = beside or contextlib.ExitStack()  # what is closed after the connection
        self._presence: Presence | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for recording, creating the file and holding the lock of its one writer.

        Episodes that a dead process left open stay so: ending them is the recorder's first act
        (recovery.py).

        Raises:
            JournalError: another process records into it, it is no journal, or its schema is
                unknown.
        """
        path = Path(path)
        with explained(path), contextlib.ExitStack() as undo:
            path.parent.mkdir(parents=True, exist_ok=True)
            undo.callback(take_writer_lock(path).release)
            connection = connect(path, create=True)
            journal = cls(path, connection, undo.pop_all())
            undo.callback(journal.close)
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
        self.connection.close()
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
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def begin(self, header: EpisodeHeader, wall_ns: int | None = None) -> int:
        """Open an episode; return its number. Raises `JournalError` when the number is taken.

        `wall_ns` is the wall clock at `header.started_ns`. It stays in the journal: the episode
        and its content address do not depend on it.
        """
        try:
            self.connection.execute(
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
        self.connection.executemany(
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
        self.connection.execute(
            "UPDATE episodes SET footer = ?, sha256 = ? WHERE number = ?", (packed, sha256, number)
        )
        return sha256

    def add_rewards(self, number: int, rewards: Mapping[int, float], source: str) -> None:
        """Note what steps of an episode were worth; a step noted before changes.

        Rewards are no part of the episode, nor of its content address.

        Args:
            number: of an episode that has begun.
            rewards: finite numbers by step, from 0.
            source: who gave them.

        Raises:
            JournalError: there is no such episode, or a reward is no finite number.
        """
        journal_rewards.write(self.connection, self.path, number, rewards, source)

    # Where it is

    def lost(self) -> Lost | None:
        """What has become of the file while it was recorded into; None while all is well."""
        return None if self._presence is None else self._presence.look()

    def note_length(self) -> None:
        """Expect the file to stay at least this long, but for what quota.py cuts off."""
        if self._presence is not None:
            self._presence.note_length()

    def clear_path(self) -> None:
        """Leave nothing of this journal where another may be put, once it is lost and saved."""
        if self._presence is not None:
            self._presence.clear()

    # Receipts

    def acknowledge(self, sha256: str) -> None:
        """Note that the trainer has stored this episode. Repeats are harmless."""
        self._receive(sha256, EntryState.ACKNOWLEDGED, "")

    def reject(self, sha256: str, reason: str) -> None:
        """Note that the trainer refused this episode for good. It is kept, not offered again."""
        self._receive(sha256, EntryState.REJECTED, reason)

    def acknowledge_rewards(self, number: int, sha256: str) -> None:
        """Note that the trainer has stored an episode's rewards, those with this address.

        Rewards that have changed since are offered again.
        """
        with self.transaction():
            if self.rewards_blob(number)[0] == sha256:
                journal_rewards.receive(self.connection, number, EntryState.ACKNOWLEDGED)

    def reject_rewards(self, number: int) -> None:
        """Note that the trainer refused an episode's rewards for good. They are kept."""
        with self.transaction():
            journal_rewards.receive(self.connection, number, EntryState.REJECTED)

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
            rows = self.connection.execute(
                "UPDATE episodes SET receipt = NULL, reason = '' WHERE (receipt = 'rejected' OR "
                "(? AND receipt = 'acknowledged')) AND number >= ? AND (? IS NULL OR number <= ?) "
                "RETURNING number",
                (acknowledged, first, last, last),
            )
            numbers = {number for (number,) in rows.fetchall()}
            rewarded = journal_rewards.forget_receipts(
                self.connection, first, last, acknowledged=acknowledged
            )
            return sorted(numbers.union(rewarded))

    def _open_length(self, number: int) -> int:
        row = self.connection.execute(
            "SELECT (SELECT coalesce(max(step), -1) + 1 FROM steps WHERE episode = number) "
            "FROM episodes WHERE number = ? AND sha256 IS NULL",
            (number,),
        ).fetchone()
        if row is None:
            raise JournalError(f"{self.path}: episode {number} is not open: call begin() first")
        return int(row[0])

    def _receive(self, sha256: str, state: EntryState, reason: str) -> None:
        with self.transaction():
            changed = self.connection.execute(
                "UPDATE episodes SET receipt = ?, reason = ? WHERE sha256 = ? "
                "AND receipt IS NOT 'acknowledged'",
                (state, reason, sha256),
            ).rowcount
            known = self.connection.execute(
                "SELECT 1 FROM episodes WHERE sha256 = ?", (sha256,)
            ).fetchone()
        if not changed and known is None:
            raise JournalError(f"{self.path}: no finished episode has the sha256 {sha256}")
