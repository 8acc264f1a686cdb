"""What was acknowledged must stay: a ledger of a journal and an inbox, kept by an outside process.

`Ledger.look` remembers every step and episode that it can read, and compares with what it read
before; `settle` asks, at the end, for each of them exactly once. It reads the journal's tables by
itself and not through `fieldtune.robot.journal`, whose promises are on trial. It does not know what
was done to the processes.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import Journal, JournalError

_Steps = list[bytes]  # a digest of each step's record, in order


@dataclass
class _Episode:
    """What is known of one episode; `address` is None while it is open."""

    steps: _Steps = field(default_factory=list)
    address: str | None = None
    acknowledged: bool = False


class Ledger:
    """Of the episodes of `robot` in `journal` and `inbox`.

    A step counts as acknowledged by the robot once another process can read it, an episode by the
    trainer once its file is in the inbox or the journal says so. Each of `lost`, `duplicated` and
    `unreadable` is a sentence about what should not be. `refused` counts looks in vain while the
    journal's disk was full: SQLite needs a page there even to read.
    """

    def __init__(self, journal: Path, inbox: Path, robot: str) -> None:
        self.journal, self.inbox, self.robot = journal, inbox, robot
        self.lost: list[str] = []
        self.duplicated: list[str] = []
        self.unreadable: list[str] = []
        self.refused = 0
        self._known: dict[int, _Episode] = {}
        self._stored: dict[str, tuple[int, _Steps]] = {}

    def counts(self) -> list[tuple[str, int]]:
        """What is there and what is wrong, as rows of a table."""
        return [
            ("episodes recorded", self.episodes),
            ("steps acknowledged by the robot", self.steps),
            ("episodes acknowledged by the trainer", self.acknowledged),
            ("episodes in the inbox", self.ingested),
            ("lost", len(self.lost)),
            ("duplicated", len(self.duplicated)),
            ("unreadable", len(self.unreadable)),
        ]

    @property
    def problems(self) -> list[str]:
        return [*self.unreadable, *self.lost, *self.duplicated]

    @property
    def episodes(self) -> int:
        """Episodes seen in the journal so far."""
        return len(self._known)

    @property
    def steps(self) -> int:
        """Steps seen in the journal so far: acknowledged by the robot."""
        return sum(len(episode.steps) for episode in self._known.values())

    @property
    def ingested(self) -> int:
        """Episodes seen in the inbox so far."""
        return len(self._stored)

    @property
    def acknowledged(self) -> int:
        """Episodes that the journal has seen the trainer's receipt for."""
        return sum(episode.acknowledged for episode in self._known.values())

    def open_steps(self) -> int | None:
        """How many steps the episode has that is open now; None when none is. After `look`."""
        last = self._known.get(max(self._known, default=0))
        return None if last is None or last.address is not None else len(last.steps)

    def look(self, disk_full: bool = False) -> None:
        """Read both sides, also while they are written, and hold them against what was known."""
        found = self._read_journal(disk_full)
        self._read_inbox()  # after the journal, which speaks of files that are there already
        if found is None:
            return
        of_number = {number: sha256 for sha256, (number, _) in self._stored.items()}
        for number, before in self._known.items():
            if number not in found:
                self._require_delivered(number, before, of_number.get(number))
        for number, now in found.items():
            self._compare(number, self._known.get(number), now)
            if now.acknowledged and now.address not in self._stored:
                self._lose(f"episode {number} has a receipt, and the inbox does not hold it")
            self._known[number] = now

    def verify(self) -> None:
        """Have the journal look for damage in itself, as `fieldtune-robot journal verify` does."""
        try:
            with Journal.read(self.journal) as journal:
                self.unreadable += find_problems(journal)
        except (JournalError, sqlite3.Error) as error:
            if self._known:
                self.unreadable.append(f"{self.journal}: {error}")

    def settle(self) -> None:
        """When both have ended: every episode is finished, received and stored, each once."""
        self.look()
        self.verify()
        counts = Counter(number for number, _ in self._stored.values())
        for number, count in sorted(counts.items()):
            if count > 1:
                self.duplicated.append(f"episode {number} is in the inbox {count} times")
        for number in range(1, max(self._known, default=0) + 1):
            if number not in self._known:
                self._lose(f"episode {number} is missing, and a later one is there")
            elif not counts[number]:
                self._lose(f"episode {number} is not in the inbox")
        for number in sorted(counts.keys() - self._known.keys()):
            self.duplicated.append(f"episode {number} is in the inbox, and was never recorded")
        for number, episode in self._known.items():
            if episode.address is None or not episode.acknowledged:
                self._lose(f"episode {number} has not been finished and acknowledged")
        for folder in ("partial", "refused"):
            for path in sorted((self.inbox / folder).rglob("*")):
                if path.is_file():
                    self._lose(f"{path} is left over")

    def _lose(self, what: str) -> None:
        if what not in self.lost:
            self.lost.append(what)

    def _read_journal(self, disk_full: bool) -> dict[int, _Episode] | None:
        """Every episode there now; None where there is no journal yet, or none that can be read."""
        if not self.journal.exists():
            if self._known:
                self._lose(f"{self.journal} is gone")
            return None
        try:
            uri = f"{self.journal.absolute().as_uri()}?mode=ro"
            with closing(
                sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None)
            ) as opened:
                opened.execute("BEGIN")
                return self._episodes(opened)
        except sqlite3.Error as error:
            if disk_full and error.sqlite_errorname.startswith("SQLITE_IOERR_SHM"):
                self.refused += 1
            elif self._known:  # else it was killed while it made the file
                self.unreadable.append(f"{self.journal}: {error}")
            return None

    def _episodes(self, opened: sqlite3.Connection) -> dict[int, _Episode]:
        found = {}
        rows = opened.execute("SELECT number, sha256, receipt FROM episodes").fetchall()
        for number, sha256, receipt in rows:
            before = self._known.get(number)
            if before is not None and before.address is not None and before.address == sha256:
                steps = before.steps  # its bytes are held against their address by `verify`
            else:
                steps = self._digests(opened, number)
            found[number] = _Episode(steps, sha256, receipt == "acknowledged")
            if receipt == "rejected":
                self._lose(f"episode {number} was rejected")
        return found

    def _digests(self, opened: sqlite3.Connection, number: int) -> _Steps:
        rows = opened.execute(
            "SELECT step, record FROM steps WHERE episode = ? ORDER BY step", (number,)
        ).fetchall()
        if [step for step, _ in rows] != list(range(len(rows))):
            self._lose(f"episode {number} has a gap between its steps")
        return [_digest(record) for _, record in rows]

    def _read_inbox(self) -> None:
        there = {path.stem: path for path in self.inbox.glob("*.episode")}
        for sha256, (number, _) in self._stored.items():
            if sha256 not in there:
                self._lose(f"episode {number} was in the inbox, and no longer is")
        for sha256 in there.keys() - self._stored.keys():
            blob = there[sha256].read_bytes()
            try:
                episode = codec.unpack_episode(blob)
            except EpisodeError as error:
                self.unreadable.append(f"{there[sha256]}: {error}")
                continue
            if codec.address(blob) != sha256:
                self.unreadable.append(f"{there[sha256]}: its bytes have another sha256")
            if episode.header.robot == self.robot:
                steps = [_digest(codec.pack(step)) for step in episode.steps]
                self._stored[sha256] = (episode.header.number, steps)

    def _compare(self, number: int, before: _Episode | None, now: _Episode) -> None:
        if before is None:
            return
        if now.steps[: len(before.steps)] != before.steps:
            self._lose(
                f"episode {number} had {len(before.steps)} acknowledged steps, and now has "
                f"{len(now.steps)}, or others"
            )
        if before.address not in (None, now.address):
            self._lose(f"episode {number} was finished, and has changed since")
        if before.acknowledged and not now.acknowledged:
            self._lose(f"episode {number} has lost its receipt")

    def _require_delivered(self, number: int, before: _Episode, sha256: str | None) -> None:
        """The quota may delete an episode, once the trainer has it with all its steps."""
        held = [] if sha256 is None else self._stored[sha256][1]
        if sha256 is None or held[: len(before.steps)] != before.steps:
            self._lose(f"episode {number} has left the journal, and the inbox does not hold it")
            return
        before.steps, before.address, before.acknowledged = held, sha256, True


def _digest(record: bytes) -> bytes:
    return blake2b(record, digest_size=8).digest()
