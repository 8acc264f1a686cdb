"""What a journal says: its episodes, whole or without their steps, and what waits for the trainer.

Reads only. It does not know how the file was opened, who records into it, nor how episodes travel.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.episodes.episode import Episode, Step
from fieldtune.robot.episodes.rewards import pack_rewards
from fieldtune.robot.journal import rewards as journal_rewards
from fieldtune.robot.journal.entry import DamagedEpisode, Entry, read_entry
from fieldtune.robot.journal.file import JournalError, explained


class JournalReader:
    """The journal at `path`, which `connection` has open. Belongs to the connection's thread.

    `connection` is for the files of this room alone: everybody else asks in words.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside belongs together, whatever others write or delete meanwhile."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def next_number(self) -> int:
        """The number after every episode ever begun here; the first is 1."""
        row = self.connection.execute("SELECT coalesce(max(number), 0) + 1 FROM episodes")
        return int(row.fetchone()[0])

    def pending(self, limit: int = -1) -> list[int]:
        """Numbers of finished episodes without a receipt, oldest first."""
        rows = self.connection.execute(
            "SELECT number FROM episodes WHERE sha256 IS NOT NULL AND receipt IS NULL "
            "ORDER BY number LIMIT ?",
            (limit,),
        )
        return [number for (number,) in rows]

    def entries(self, first: int = 1, most: int = -1) -> list[Entry]:
        """Episodes from number `first` on, oldest first, without their steps; no more than `most`,
        where that is not below 0. Raises `JournalError`."""
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        wall_ns = "wall_ns" if version >= 2 else "NULL"
        rows = self.connection.execute(
            f"SELECT number, header, footer, sha256, receipt, reason, {wall_ns}, "
            "(SELECT count(*) FROM steps WHERE episode = number) FROM episodes "
            "WHERE number >= ? ORDER BY number LIMIT ?",
            (first, most),
        )
        return [read_entry(self.path, *row) for row in rows]

    def bundles(self) -> set[str]:
        """Ids of the bundles that its episodes ran. Raises `JournalError`."""
        with explained(self.path):
            headers = self.connection.execute("SELECT header FROM episodes").fetchall()
            try:
                return {codec.unpack_header(header).bundle_id for (header,) in headers}
            except EpisodeError as error:
                raise JournalError(
                    f"{self.path}: {error}: run `fieldtune-robot journal verify`"
                ) from error

    def steps(self, number: int, first: int = 0, most: int = -1) -> list[Step]:
        """The steps so far from `first` on, also of an open episode; no more than `most`, where
        that is not below 0. Raises `JournalError`."""
        return [self._unpack(number, record) for record in self._records(number, first, most)]

    def blob(self, number: int) -> tuple[str, bytes]:
        """A finished episode's content address and bytes: the same after every restart.

        Raises `JournalError` when it is unknown or open, `DamagedEpisode` when the disk changed it.
        """
        row = self.connection.execute(
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

    def rewards(self, number: int) -> dict[int, float]:
        """What steps of an episode were worth, by step; empty where nobody said."""
        return journal_rewards.read(self.connection, number)

    def pending_rewards(self, limit: int = -1) -> list[int]:
        """Numbers of episodes that the trainer has, and whose rewards it has not; oldest first."""
        return journal_rewards.pending(self.connection, limit)

    def reward_sources(self, number: int) -> list[str]:
        """Who gave an episode's rewards."""
        return journal_rewards.sources(self.connection, number)

    def rewards_blob(self, number: int) -> tuple[str, bytes]:
        """Address and bytes of a finished episode's rewards as they are now, to be sent.

        Raises `JournalError` where the episode is unknown, or open.
        """
        row = self.connection.execute(
            "SELECT header, sha256 FROM episodes WHERE number = ? AND sha256 IS NOT NULL", (number,)
        ).fetchone()
        if row is None:
            raise JournalError(f"{self.path}: episode {number} is not finished, or not here")
        header, sha256 = row
        try:
            robot = codec.unpack_header(header).robot
        except EpisodeError as error:
            raise JournalError(f"{self.path}: episode {number}: {error}: check the disk") from error
        source = ", ".join(self.reward_sources(number))[:1024]
        blob = pack_rewards(sha256, robot, source, self.rewards(number))
        return codec.address(blob), blob

    def _join(self, number: int, footer: bytes) -> bytes:
        (header,) = self.connection.execute(
            "SELECT header FROM episodes WHERE number = ?", (number,)
        ).fetchone()
        try:
            return codec.join(header, self._records(number), footer)
        except EpisodeError as error:
            raise JournalError(f"{self.path}: episode {number}: {error}: check the disk") from error

    def _records(self, number: int, first: int = 0, most: int = -1) -> list[bytes]:
        rows = self.connection.execute(
            "SELECT record FROM steps WHERE episode = ? AND step >= ? ORDER BY step LIMIT ?",
            (number, first, most),
        )
        return [record for (record,) in rows]

    def _unpack(self, number: int, record: bytes) -> Step:
        try:
            return codec.unpack_step(record)
        except EpisodeError as error:
            raise JournalError(f"{self.path}: episode {number}: {error}") from error
