"""Steps a second into the journal with full sync, against SQLite's own batch insert.

`python -m benchmarks.journal [--quick]`. The same packed records in transactions of the same size,
into the same tables, with the same settings of SQLite; every transaction ends in an fsync.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import episodes
from benchmarks.alone import main
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.machine import filesystem
from benchmarks.turns import Effort, in_turns
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import Step
from fieldtune.robot.journal.file import connect
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.journal.recorder import Recorder

OURS, RECORDER, SQLITE = "Fieldtune's journal", "Fieldtune's recorder", "SQLite's executemany"
ROLES: dict[str, Role] = {OURS: "ours", RECORDER: "ours", SQLITE: "floor"}
SIZE = episodes.CHEETAH
PER_TRANSACTION = 10  # episodes: 2,000 steps, as the recorder takes at most
_FLUSH_S = 600.0


class Sides:
    """A new file for every turn, so that none grows; `transactions` in each turn."""

    def __init__(self, folder: Path, transactions: int) -> None:
        self._folder, self._transactions = folder, transactions
        self._files = itertools.count()
        self._steps: list[Step] = episodes.steps(SIZE, 0)
        self._records = [codec.pack(step) for step in self._steps]
        self.written: dict[str, Path] = {}

    @property
    def count(self) -> int:
        """Steps in one turn."""
        return self._transactions * PER_TRANSACTION * SIZE.steps

    def ours(self) -> float:
        """The journal, as the recorder's thread calls it."""
        path = self._path(OURS)
        with Journal.open(path) as journal:
            started = time.perf_counter()
            for batch in self._batches():
                with journal.transaction():
                    for number in batch:
                        journal.begin(episodes.header(SIZE, number))
                        journal.add(number, *self._records)
                        journal.finish(number, episodes.footer(SIZE))
            return self.count / (time.perf_counter() - started)

    def recorder(self) -> float:
        """From the loop's `put`, which packs, to the disk, as fast as they can be put."""
        path = self._path(RECORDER)
        with Recorder(path, capacity_steps=self.count + 1) as recorder:
            started = time.perf_counter()
            for number in itertools.chain.from_iterable(self._batches()):
                recorder.begin(episodes.header(SIZE, number))
                for step in self._steps:
                    recorder.put(step)
                recorder.end(episodes.footer(SIZE))
            if not recorder.flush(_FLUSH_S):
                raise RuntimeError(f"the recorder does not keep up: {recorder.error}")
            return self.count / (time.perf_counter() - started)

    def sqlite(self) -> float:
        """The same rows by `executemany`."""
        path = self._path(SQLITE)
        connection = connect(path, create=True)  # the journal's schema and settings
        started = time.perf_counter()
        for batch in self._batches():
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO episodes (number, header) VALUES (?, ?)",
                [(number, codec.pack(episodes.header(SIZE, number))) for number in batch],
            )
            connection.executemany(
                "INSERT INTO steps (episode, step, record) VALUES (?, ?, ?)",
                [(number, i, record) for number in batch for i, record in enumerate(self._records)],
            )
            connection.execute("COMMIT")
        seconds = time.perf_counter() - started
        connection.close()
        return self.count / seconds

    def _path(self, label: str) -> Path:
        path = self._folder / f"{next(self._files)}.sqlite"
        self.written[label] = path
        return path

    def _batches(self) -> Iterator[range]:
        for transaction in range(self._transactions):
            yield range(1 + transaction * PER_TRANSACTION, 1 + (transaction + 1) * PER_TRANSACTION)


def same_rows(sides: Sides) -> str:
    """Raises `AssertionError` unless every side has written the same steps."""
    found = []
    for path in sides.written.values():
        connection = connect(path, create=False, read_only=True)
        found.append(
            connection.execute("SELECT episode, step, record FROM steps ORDER BY 1, 2").fetchall()
        )
        connection.close()
    if any(rows != found[0] for rows in found) or len(found[0]) != sides.count:
        raise AssertionError("the journals do not hold the same steps")
    return f"all {len(found)} files hold the same {sides.count:,} records"


def measure(effort: Effort) -> Iterator[Table]:
    """One table."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sides = Sides(folder, effort.choose(10, 1))
        runs = {OURS: sides.ours, RECORDER: sides.recorder, SQLITE: sides.sqlite}
        found = in_turns(runs, effort.rounds)
        check, kind = same_rows(sides), filesystem(folder)
    yield Table(
        title="Journal",
        unit="steps/s",
        conditions=(
            f"{SIZE.name}'s steps of {len(episodes.records(SIZE, 0)[0])} bytes, "
            f"{PER_TRANSACTION * SIZE.steps:,} in a transaction, {sides.count:,} a round; WAL, "
            f"synchronous=FULL; disk: {kind}; ours also checks every record, keeps the order, and "
            "hashes each episode"
        ),
        series=[Series(label, ROLES[label], values) for label, values in found.items()],
        goals=[Goal("≥ 80 % of SQLite's own", OURS, SQLITE, at_least=0.8)],
        checks=[check],
    )


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
