"""Disks that fill up at random moments, the robot's and the trainer's: is all there, once?

`python -m benchmarks.disk_full [--quick] [--runs N] [--folder FOLDER]`. The robot's state folder
and the trainer's run folder are each on a small file system of their own, which is filled to its
last page while both work, or just before they start, and freed again. Needs the right to mount.
What a robot may do then: go on, since it was over before it mattered; or end its episode safely,
say so, and end with status 3 or, where it could not even begin, 1. A trainer goes on.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.kills import ingestion
from benchmarks.ledger import Ledger
from benchmarks.pair import ROBOT, Member, Pair, Unfit, prepare, wait_for
from benchmarks.proof import conclude, remember, remembered, table
from benchmarks.small_disk import NotPermitted, SmallDisk
from fieldtune.train.launch import settle

ROBOT_MB, TRAINER_MB, QUOTA_MB = 32, 512, 8
SIDES = ("robot", "robot", "storing", "learning")  # a quarter each, the robot two
STARTING_SHARE = 0.2
FRESH_SHARE = 0.6  # a journal that was just opened has no pages to write over: it needs new ones
ALIVE_S = 1.5
FULL_S = (0.2, 6.0)
LONG_S = 13.0  # longer than the recorder waits for room when a run ends
LONG_SHARE = 0.2
_ENDING = "INFO    end: "


@dataclass(frozen=True)
class Fill:
    """One filling: whose disk, at which moment, for how long, and what its owner did."""

    side: str
    moment: str
    full_s: float
    outcome: str


class Proof:
    """A pair on two small disks."""

    def __init__(self, pair: Pair, disks: dict[str, SmallDisk], seed: int) -> None:
        self.pair, self._disks = pair, disks
        self.ledger = Ledger(pair.journal, pair.inbox, ROBOT)
        self.unsafe: list[str] = []
        self._rng = random.Random(seed)
        self._trainer, self._robot = pair.storing(), pair.robot()

    def fill(self, side: str) -> Fill:
        """Fill the disk of `side`, free it, and see that all goes on."""
        self._use_trainer("learning" if side == "learning" else "storing")
        starting = self._rng.random() < STARTING_SHARE
        if starting:
            self._owner(side).kill()
        else:
            self._at_work()
            if side == "robot" and self._rng.random() < FRESH_SHARE:
                self._robot.end()
                self._at_work()
            time.sleep(self._rng.uniform(0.0, ALIVE_S))
        disk = self._disks["robot" if side == "robot" else "trainer"]
        self.ledger.look()
        disk.fill()
        if starting:
            self._restart(side)
        full_s = self._full_s(side)
        deadline = time.monotonic() + full_s
        while time.monotonic() < deadline:
            time.sleep(0.05)
            disk.fill()  # what a checkpoint or a deleted episode gave back
        self.ledger.look(disk_full=True)
        disk.free()
        outcome = self._outcome(self._owner(side))
        self.ledger.look()
        self.ledger.verify()
        self._at_work()
        self._moves_on()
        return Fill(side, "start" if starting else "work", round(full_s, 1), outcome)

    def end(self) -> None:
        """Let all be uploaded to a trainer that only stores, end both, and settle the ledger."""
        self._use_trainer("storing")
        self._at_work()
        self.pair.end(self._robot, self._trainer)
        self.ledger.settle()

    def _full_s(self, side: str) -> float:
        if side == "robot" and self._rng.random() < LONG_SHARE:
            return LONG_S
        return self._rng.uniform(*FULL_S)

    def _owner(self, side: str) -> Member:
        return self._robot if side == "robot" else self._trainer

    def _restart(self, side: str) -> None:
        if side == "robot":
            self._robot = self.pair.robot()
        else:
            self._trainer = self.pair.learning() if side == "learning" else self.pair.storing()

    def _use_trainer(self, kind: str) -> None:
        if self._trainer.name != kind or not self._trainer.alive:
            if self._trainer.alive:
                self._trainer.kill()
            self._restart(kind)

    def _outcome(self, owner: Member) -> str:
        """What became of it: how it ended, or that it is at work."""
        wait_for(lambda: not owner.alive or owner.at_work())
        time.sleep(1.0)  # for what is about to give up
        if owner.name == "robot" and _ENDING in owner.said():
            owner.wait()  # it uploads what it can
        if owner.alive:
            return "went on"
        said, status = owner.said(), owner.process.returncode
        expected = (1, 3) if owner.name == "robot" else ()
        if status not in expected or "Traceback" in said:
            self.unsafe.append(f"the {owner.name} ended with {status}: {said[-1500:]}")
        if owner.name != "robot":
            return f"ended with {status}"
        began = _ENDING in said
        if began and "the journal cannot be written" not in said.split(_ENDING)[1]:
            self.unsafe.append(f"the robot ended for another reason: {said[-1500:]}")
        if (self.pair.state_dir / "fault.txt").exists():
            self.unsafe.append("a full disk has latched a fault")
        return f"ended its episode, status {status}" if began else f"did not start, status {status}"

    def _at_work(self) -> None:
        """Both, started again where they have ended."""
        if not self._robot.alive:
            self._robot = self.pair.robot()
        if not self._trainer.alive:
            self._restart(self._trainer.name)
        wait_for(self._trainer.at_work, self._trainer)
        wait_for(self._robot.at_work, self._robot)

    def _moves_on(self) -> None:
        """Something new is recorded, and something new is received."""
        self.ledger.look()
        steps, ingested = self.ledger.steps, self.ledger.ingested

        def moved() -> bool:
            time.sleep(0.1)
            self.ledger.look()
            return self.ledger.steps > steps and self.ledger.ingested > ingested

        wait_for(moved, self._robot, self._trainer, wait_s=60.0)


def report(fills: list[Fill], proof: Proof) -> None:
    """Print what was filled and what was found; status 1 where anything is broken."""
    counts: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for fill in fills:
        counts[fill.side, fill.moment, fill.outcome].append(fill.full_s)
    rows = [
        (side, moment, outcome, len(times), f"{min(times):g} – {max(times):g}")
        for (side, moment, outcome), times in sorted(counts.items())
    ]
    ledger = proof.ledger
    learned, problems = ingestion(proof.pair)
    found = [
        ("runs with a full disk", len(fills)),
        *ledger.counts(),
        ("episodes that the last checkpoint has learned from", learned),
        ("looks that a full disk refused", ledger.refused),
        ("ended otherwise than documented", len(proof.unsafe)),
    ]
    columns = ("whose disk", "full at its", "what it did", "runs", "full for, s")
    tables = [table(columns, rows), table(("", ""), found)]
    conclude(tables, ledger.problems + proof.unsafe + problems)


def prove(folder: Path, runs: int, seed: int, sides: tuple[str, ...] = SIDES) -> None:
    """All of it in `folder`, going on after the runs that are noted there, on fresh disks."""
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder / "template")
    noted = folder / "fills.jsonl"
    done = remembered(noted, Fill)
    with (
        SmallDisk(folder / "robot-disk", ROBOT_MB) as robot,
        SmallDisk(folder / "trainer-disk", TRAINER_MB) as trainer,
    ):
        state_dir, run = robot.path / "robot", trainer.path / "run"
        template = folder / "template"
        pair = Pair(folder / "pair", template, state_dir, run, journal_quota_mb=QUOTA_MB)
        try:
            proof = Proof(pair, {"robot": robot, "trainer": trainer}, seed + len(done))
            while len(done) < runs:
                done.append(proof.fill(sides[len(done) % len(sides)]))
                remember(noted, done[-1])
                print(f"{len(done)} of {runs}: {done[-1]}", flush=True)
            proof.end()
            report(done, proof)
        finally:
            pair.close()


if __name__ == "__main__":
    settle()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 runs, no trainer learns")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept, and gone on with; a fresh one if absent")
    given = parser.parse_args()
    where = given.folder or Path(mkdtemp(prefix="fieldtune-disk-"))
    try:
        if given.quick:
            prove(where, 2, given.seed, ("robot", "storing"))
        else:
            prove(where, given.runs, given.seed)
    except (NotPermitted, Unfit) as error:
        sys.exit(f"error: {error}")
    if given.folder is None:
        shutil.rmtree(where)
