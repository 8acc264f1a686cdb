"""SIGKILLs at random moments, to the robot's daemon and to the trainer: is all there, once?

`python -m benchmarks.kills [--quick] [--kills N] [--folder FOLDER]`. A real daemon on the `sim`
driver and a real trainer, now one that only stores, now `fieldtune finetune`; one of them or both
are killed, and started again. The other lives on. Before and after every kill a ledger reads
journal and inbox, and the journal is verified. The same folder goes on where a run was stopped.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from benchmarks import episodes
from benchmarks.ledger import Ledger
from benchmarks.pair import ROBOT, Member, Pair, prepare, wait_for
from benchmarks.proof import conclude, remember, remembered, table
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.journal.recovery import close_interrupted
from fieldtune.train.launch import settle

WIDE = episodes.Size("cheetah-vel", 50, 2_500, 6)  # 1 MB: it takes several messages to upload
QUOTA_MB = 20
LEARNING_SHARE = 0.15
ALIVE_S = 1.5
UPLOAD_S = 0.03
_PATIENCE_S = 6.0
_FIRST_START_S = {"robot": 2.0, "storing": 1.0, "learning": 10.0}


@dataclass(frozen=True)
class Kill:
    """One process killed: whose, the moment that was drawn, and what it was in the middle of.

    `begun` is how many episodes there were then.
    """

    victim: str
    moment: str
    phase: str
    begun: int


class Proof:
    """A pair under fire."""

    def __init__(self, pair: Pair, seed: int, learning_share: float) -> None:
        self.pair, self.ledger = pair, Ledger(pair.journal, pair.inbox, ROBOT)
        self._rng, self._learning_share = random.Random(seed), learning_share
        self._start_s = dict(_FIRST_START_S)
        self._temporary = leftovers(pair.run)
        self._robot, self._trainer = self.pair.robot(), self._new_trainer()
        self._fresh = [self._robot, self._trainer]
        self._await(self._trainer)
        self._await(self._robot)

    def strike(self) -> list[Kill]:
        """Kill one or both, look, and start what was killed."""
        moment = self._rng.choices(("starting", "any", "uploading"), (0.2, 0.4, 0.4))[0]
        if moment == "uploading" and self._robot not in self._fresh:
            moment = "any"  # a long upload is what a robot begins with
        victims = self._fresh if moment == "starting" else self._draw_victims()
        if moment == "starting":
            time.sleep(self._rng.uniform(0.0, max(self._start_s[one.name] for one in victims)))
        else:
            self._pass_time(moment)
        self.ledger.look()
        for victim in victims:
            victim.kill()
        phases = [self._phase(victim) for victim in victims]
        self.ledger.look()
        self.ledger.verify()
        self._fresh = [self._again(victim) for victim in victims]
        begun = self.ledger.episodes
        return [
            Kill(victim.name, moment, phase, begun)
            for victim, phase in zip(victims, phases, strict=True)
        ]

    def end(self) -> None:
        """Let all be uploaded to a trainer that only stores, end both, and settle the ledger."""
        if self._trainer.name == "learning":
            self._trainer.kill()
            self._trainer = self.pair.storing()
        self.pair.end(self._robot, self._trainer)
        self.ledger.settle()

    def _draw_victims(self) -> list[Member]:
        robot, trainer = [self._robot], [self._trainer]
        return self._rng.choices((robot, trainer, robot + trainer), (0.45, 0.45, 0.1))[0]

    def _again(self, victim: Member) -> Member:
        """Its successor; a trainer may be of the other kind then."""
        if victim.name != "robot":
            self._trainer = self._new_trainer()
            return self._trainer
        if self.pair.journal.exists():
            with Journal.open(self.pair.journal) as journal:
                close_interrupted(journal)
                episodes.fill(journal, WIDE, self._rng.randint(1, 3), ROBOT)
        self._robot = self.pair.robot()
        return self._robot

    def _new_trainer(self) -> Member:
        learning = self._rng.random() < self._learning_share
        return self.pair.learning() if learning else self.pair.storing()

    def _await(self, member: Member) -> None:
        if not member.at_work():
            wait_for(member.at_work, member)
            self._start_s[member.name] = time.monotonic() - member.started

    def _pass_time(self, moment: str) -> None:
        self._await(self._trainer)
        if moment == "any":
            self._await(self._robot)
            time.sleep(self._rng.uniform(0.0, ALIVE_S))
            return
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and not self.pair.receives():
            time.sleep(0.0005)
        time.sleep(self._rng.uniform(0.0, UPLOAD_S))

    def _phase(self, dead: Member) -> str:
        """What a process was in the middle of, by what it left."""
        if not dead.at_work():
            return "start"
        if dead.name == "robot":
            with Journal.read(self.pair.journal) as journal:
                steps = [entry.steps for entry in journal.entries() if entry.footer is None]
            inside = "an episode" if any(steps) else "between episodes"
            return f"{inside}, an upload under way" if self.pair.receives() else inside
        temporary, self._temporary = self._temporary, leftovers(self.pair.run)
        if self._temporary > temporary:
            return "writing a file"
        return "an upload" if self.pair.receives() else "between uploads"


def leftovers(folder: Path) -> int:
    """Files of writes that were never finished: they are hidden until they are whole."""
    return sum(1 for path in folder.rglob(".*") if path.is_file())


def ingestion(pair: Pair) -> tuple[int, list[str]]:
    """How many episodes the last checkpoint has learned from, and whether each is in it once."""
    if not (pair.run / "checkpoints" / "self-supervised.safetensors").exists():
        return 0, []
    # torch takes seconds, and not every proof has a trainer that learns
    from fieldtune.train.bridge.inbox import Inbox
    from fieldtune.train.data.robot_episode import as_trajectory
    from fieldtune.train.runs.checkpoint import CheckpointError, read_facts
    from fieldtune.train.runs.config_file import load_config
    from fieldtune.train.runs.opening import open_run

    run = open_run(load_config(pair.run / "config.yaml"), pair.run)
    try:
        facts = read_facts(run.finetune_checkpoint)
    except CheckpointError as error:
        return 0, [str(error)]
    seen, learned, steps = facts["episodes"], 0, 0
    stored = dict(Inbox(pair.inbox).episodes(set()))
    problems = [
        f"the checkpoint knows {sha256}, and the inbox does not"
        for sha256 in seen
        if sha256 not in stored
    ]
    for sha256 in set(seen) & stored.keys():
        learned += 1
        steps += as_trajectory(stored[sha256]).steps
    if len(set(seen)) != len(seen) or steps != facts["steps"]:
        problems.append(
            f"the checkpoint has learned from {facts['steps']} steps, and its {learned} episodes "
            f"have {steps}"
        )
    return learned, problems


def report(kills: list[Kill], proof: Proof) -> None:
    """Print what was killed and what was found; status 1 where anything is lost, double or torn."""
    ledger = proof.ledger
    counts = Counter((kill.victim, kill.phase) for kill in kills)
    learned, problems = ingestion(proof.pair)
    found = [
        ("SIGKILLs", len(kills)),
        *ledger.counts(),
        ("episodes that the last checkpoint has learned from", learned),
        ("left-over temporary files", leftovers(proof.pair.state_dir) + leftovers(proof.pair.run)),
    ]
    by_phase = [(who, phase, count) for (who, phase), count in sorted(counts.items())]
    tables = [table(("killed", "in the middle of", "times"), by_phase), table(("", ""), found)]
    conclude(tables, ledger.problems + problems)


def prove(folder: Path, kills: int, seed: int, learning_share: float) -> None:
    """All of it in `folder`, going on after the kills that are noted there."""
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder / "template")
    done, noted = remembered(folder / "kills.jsonl", Kill), folder / "kills.jsonl"
    pair = Pair(folder / "pair", folder / "template", journal_quota_mb=QUOTA_MB)
    try:
        proof = Proof(pair, seed + len(done), learning_share)
        while len(done) < kills:
            for kill in proof.strike():
                done.append(kill)
                remember(noted, kill)
            print(f"{len(done)} of {kills}: {done[-1]}", flush=True)
        proof.end()
        report(done, proof)
    finally:
        pair.close()


if __name__ == "__main__":
    settle()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="6 kills, none of a trainer that learns"
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept, and gone on with; a fresh one if absent")
    given = parser.parse_args()
    where = given.folder or Path(mkdtemp(prefix="fieldtune-kills-"))
    if given.quick:
        prove(where, 3, given.seed, 0.0)
    else:
        prove(where, given.kills, given.seed, LEARNING_SHARE)
    if given.folder is None:
        shutil.rmtree(where)
