"""What becomes of a damaged journal, opened as a robot's commands, recorder and bridge open it.

Bytes of the file, of its log, or rows behind SQLite's back. It must not know who counts.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import episodes
from benchmarks.damaged_files import Kind, Unsound
from benchmarks.mutations import damaged
from fieldtune.robot.episodes import codec
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.journal.overview import overview
from fieldtune.robot.journal.recorder import Recorder


class Journals(Kind):
    """Verified and listed, then opened for recording as the daemon does. Bytes of the file, of its
    log, or rows behind SQLite's back."""

    refusals = (JournalError, sqlite3.Error)  # the latter is explained at the edge

    def __init__(self, folder: Path, sound: Path, seed: int) -> None:
        super().__init__(folder, sound, seed)
        self._file = (sound / "sound.sqlite").read_bytes()
        self._wal = (sound / "sound.sqlite-wal").read_bytes()
        with Journal.read(self._write(self._file, self._wal)) as journal:
            self._step = codec.pack(journal.steps(1)[0])
            self._addresses = {n: journal.blob(n)[0] for n in range(1, EPISODES)}

    @staticmethod
    def prepare(sound: Path) -> None:
        """Six episodes: acknowledged, pending, with rewards, one open; the last in the log only."""
        path = sound / "made.sqlite"
        with Journal.open(path) as journal:
            addresses = episodes.fill(journal, _SMALL, EPISODES - 1, "fuzzed")
            journal.acknowledge(addresses[0])
            journal.reject(addresses[1], "a reason")
            with journal.transaction():
                journal.add_rewards(3, {0: 1.0, 1: -0.5}, "keys")
            journal.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with journal.transaction():
                journal.begin(episodes.header(_SMALL, EPISODES), 1)
                for step in episodes.steps(_SMALL, EPISODES):
                    journal.add(EPISODES, codec.pack(step))
            for name in ("", "-wal"):
                made = path.with_name(path.name + name)
                (sound / f"sound.sqlite{name}").write_bytes(made.read_bytes())

    def _write(self, file: bytes, wal: bytes) -> Path:
        path = self.folder / "damaged.sqlite"
        for name in ("-shm", ".lock", "-journal"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        path.write_bytes(file)
        path.with_name(path.name + "-wal").write_bytes(wal)
        return path

    def damage(self, chance: random.Random) -> Path:
        file, wal, which = self._file, self._wal, chance.randrange(6)
        if which == 0:
            file = damaged(file, chance)
        elif which == 1:
            file = _damaged_page(file, chance)
        elif which == 2:
            wal = damaged(wal, chance)
        elif which == 3:
            file, wal = damaged(file[:100], chance) + file[100:], b""
        path = self._write(file, wal)
        if which >= 4:
            _damage_rows(path, self._step, chance)
        return path

    def open(self, path: Path) -> str:
        problems = self._look(path)
        trouble = self._as_the_daemon(path)
        if problems:
            if not all(problem.strip() for problem in problems):
                raise Unsound("a problem without words")
            raise JournalError("; ".join(problems))
        if trouble is not None:
            raise trouble
        with Journal.read(path) as journal:
            entries = journal.entries()
            found = {e.number: journal.blob(e.number)[0] for e in entries if e.sha256 is not None}
        if not found.items() <= self._addresses.items():
            raise Unsound("an episode that was never recorded")
        if len(found) < len(self._addresses):
            return "with fewer episodes, each as it was recorded"
        return "with every episode as it was recorded"

    def _look(self, path: Path) -> list[str]:
        """As `fieldtune-robot journal verify`, `list`, `show` and `monitor` do."""
        with Journal.read(path) as journal:
            problems = find_problems(journal)
            steps, rewards = (lambda: journal.steps(2)), (lambda: journal.rewards(3))
            for look in (journal.entries, lambda: overview(journal), steps, rewards):
                try:
                    look()
                except self.refusals:
                    if not problems:
                        raise
        return problems

    def _as_the_daemon(self, path: Path) -> Exception | None:
        """What recorder and bridge say of a copy, which they may change: open episodes end."""
        copy = path.with_name("daemon.sqlite")
        for name in ("", "-wal", "-shm", ".lock"):
            beside, target = (one.with_name(one.name + name) for one in (path, copy))
            target.unlink(missing_ok=True)
            if beside.exists() and name in ("", "-wal"):
                target.write_bytes(beside.read_bytes())
        try:
            recorder = Recorder(copy, quota_bytes=10**9).start()
            try:
                recorder.next_number()
                with Journal.attach(copy) as journal:
                    for number in journal.pending():
                        journal.blob(number)
            finally:
                recorder.close()
        except self.refusals as error:  # a damaged episode is one: it stays, and is not uploaded
            if not str(error).strip():
                raise Unsound("a refusal without words") from error
            return error
        return None


EPISODES = 6
_SMALL = episodes.Size("fuzzed", 20, 4, 2)
_NOISE: tuple[Callable[[random.Random], Any], ...] = (
    lambda _: None,
    lambda chance: chance.randrange(-(2**63), 2**63),
    lambda chance: chance.choice((0, -1, 1, 7, 2**62)),
    lambda chance: chance.random() * 1e300,
    lambda chance: chance.randbytes(chance.randrange(300)),
    lambda chance: chance.choice(("", "acknowledged", "rejected", "x", "0" * 64, "\u0000")),
)
_COLUMNS = {
    "episodes": ("number", "header", "footer", "sha256", "receipt", "reason", "wall_ns"),
    "steps": ("episode", "step", "record"),
    "rewards": ("episode", "step", "reward", "source"),
}


def _damage_rows(path: Path, sound: bytes, chance: random.Random) -> None:
    """Values of other kinds, rows gone, tables and versions changed: by SQL, so that the file's
    own structure stays sound. `sound` are the bytes of a step."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for _ in range(chance.randrange(1, 4)):
        table = chance.choice(("episodes", "steps", "steps", "rewards"))
        key = "number" if table == "episodes" else "episode"
        one = f"{key} = {chance.randrange(1, EPISODES + 1)}"
        if table != "episodes" and chance.random() < 0.8:
            one += f" AND step = {chance.randrange(_SMALL.steps)}"
        column, noise = chance.choice(_COLUMNS[table]), chance.choice(_NOISE)(chance)
        if column in ("header", "footer", "record") and chance.random() < 0.5:
            noise = damaged(sound, chance)
        number = chance.choice((0, 1, 2, 4, -1, 2**31 - 1))
        statement, values = chance.choice(
            (
                (f"UPDATE {table} SET {column} = ? WHERE {one}", (noise,)),
                (f"UPDATE {table} SET {column} = ? WHERE {one}", (noise,)),
                (f"DELETE FROM {table} WHERE {one}", ()),
                (f"PRAGMA {chance.choice(('user_version', 'application_id'))} = {number}", ()),
                (f"ALTER TABLE {table} RENAME COLUMN {column} TO other", ()),
                (f"ALTER TABLE {table} RENAME TO other", ()),
                ("DROP INDEX pending", ()),
                (f"DROP TABLE {table}", ()),
                (f"CREATE TABLE t{chance.randrange(9)} (x)", ()),
            )
        )
        with contextlib.suppress(sqlite3.Error):  # what SQLite itself refuses
            connection.execute(statement, values)
    connection.close()


def _damaged_page(file: bytes, chance: random.Random) -> bytes:
    """Pages of an SQLite file zeroed, swapped, of noise, or with another page's bytes."""
    size = struct.unpack(">H", file[16:18])[0]
    pages = [file[at : at + size] for at in range(0, len(file), size)]
    first, second = (chance.randrange(len(pages)) for _ in range(2))
    match chance.randrange(5):
        case 0:
            pages[first] = bytes(size)
        case 1:
            pages[first], pages[second] = pages[second], pages[first]
        case 2:
            pages[first] = chance.randbytes(size)
        case 3:
            pages[first] = pages[second]
        case _:
            pages[first] = (damaged(pages[first], chance) + bytes(size))[:size]
    return b"".join(pages)
