"""A journal that is deleted, moved or replaced while the robot records into it: is all there, once?

`python -m benchmarks.lost_journals [--quick] [--runs N] [--folder FOLDER]`. A real daemon on the
`sim` driver and a trainer that only stores. At a random moment something is done to the journal, or
to a file beside it. The daemon must end at rest with status 3, and say where what it held is. That
is put back, a ledger looks, and the robot is re-armed and started again.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.ledger import Ledger
from benchmarks.pair import ROBOT, Pair, prepare, wait_for
from benchmarks.proof import conclude, remember, remembered, table
from fieldtune.robot.safety.latch import release
from fieldtune.train.launch import settle

ALIVE_S = 1.5
QUOTA_MB = 20
FAULT = 3
_SAID = "while the journal was recorded into"


@dataclass(frozen=True)
class Loss:
    """One thing done to a journal, the daemon's exit status, and where it said that all is."""

    harm: str
    status: int
    said: bool
    saved: str


def _beside(journal: Path, suffix: str) -> Path:
    return journal.with_name(journal.name + suffix)


def _delete_all(journal: Path) -> None:
    for path in journal.parent.glob(f"{journal.name}*"):
        path.unlink()


def _replace(journal: Path) -> None:
    older = journal.with_name("older")
    with closing(sqlite3.connect(journal)) as source, closing(sqlite3.connect(older)) as target:
        source.backup(target)
    older.replace(journal)


HARMS: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "moved": lambda journal: journal.rename(journal.with_name("taken.sqlite")),
    "another put in its place": _replace,
    "deleted with all beside it": _delete_all,
    # What the robot writes meanwhile may stay, and keep the folder.
    "its folder deleted": lambda journal: shutil.rmtree(journal.parent, ignore_errors=True),
    "its folder moved": lambda journal: journal.parent.rename(_elsewhere(journal)),
    "its log deleted": lambda journal: _beside(journal, "-wal").unlink(),
    "its index deleted": lambda journal: _beside(journal, "-shm").unlink(),
    "its lock deleted": lambda journal: _beside(journal, ".lock").unlink(),
}


def _elsewhere(journal: Path) -> Path:
    return journal.parent.with_name("elsewhere")


def lose(pair: Pair, ledger: Ledger, harm: str, alive_s: float) -> Loss:
    """Start the robot, do that to its journal, see it end, and put back what it saved."""
    robot = pair.robot()
    wait_for(robot.at_work, robot)
    time.sleep(alive_s)
    ledger.look()
    HARMS[harm](pair.journal)
    status = robot.wait()
    said = robot.said()
    place = said.partition("all that was recorded is ")[2].partition("\n")[0].split(" ")[-1]
    if _elsewhere(pair.journal).exists():
        shutil.rmtree(pair.state_dir, ignore_errors=True)
        _elsewhere(pair.journal).rename(pair.state_dir)
    elif place:
        Path(place).replace(pair.journal)
    release(pair.state_dir / "fault.txt")
    ledger.look()
    ledger.verify()
    return Loss(harm, status, _SAID in said, Path(place).name)


def report(losses: list[Loss], ledger: Ledger) -> None:
    """Print what was done and what was found; status 1 where anything is lost, or was not told."""
    counts = Counter((loss.harm, loss.status) for loss in losses)
    rows = [(harm, status, count) for (harm, status), count in sorted(counts.items())]
    untold = [
        f"journal {loss.harm}: status {loss.status}, saved in {loss.saved or 'no place'}"
        for loss in losses
        if loss.status != FAULT or not loss.said or not loss.saved
    ]
    tables = [table(("the journal", "status", "times"), rows), table(("", ""), ledger.counts())]
    conclude(tables, ledger.problems + untold)


def prove(folder: Path, runs: int, seed: int) -> None:
    """All of it in `folder`, going on after what is noted there."""
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder / "template")
    done, noted = remembered(folder / "losses.jsonl", Loss), folder / "losses.jsonl"
    rng = random.Random(seed + len(done))
    pair = Pair(folder / "pair", folder / "template", journal_quota_mb=QUOTA_MB)
    ledger = Ledger(pair.journal, pair.inbox, ROBOT)
    try:
        trainer = pair.storing()
        wait_for(trainer.at_work, trainer)
        while len(done) < runs:
            harm = list(HARMS)[len(done) % len(HARMS)]
            done.append(lose(pair, ledger, harm, rng.uniform(0.0, ALIVE_S)))
            remember(noted, done[-1])
            print(f"{len(done)} of {runs}: {done[-1]}", flush=True)
        pair.end(pair.robot(), trainer)
        ledger.settle()
        report(done, ledger)
    finally:
        pair.close()


if __name__ == "__main__":
    settle()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three losses")
    parser.add_argument("--runs", type=int, default=6 * len(HARMS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept, and gone on with; a fresh one if absent")
    given = parser.parse_args()
    where = given.folder or Path(mkdtemp(prefix="fieldtune-lost-journals-"))
    prove(where, 3 if given.quick else given.runs, given.seed)
    if given.folder is None:
        shutil.rmtree(where)
