"""100 episodes over each bad network: is all there, once, and does the loop notice?

`python -m benchmarks.network [--quick] [--episodes N] [--only NAME ...] [--folder FOLDER]`. A robot
in real time (20 Hz) uploads to a trainer directly, and through a proxy that delays, doubles,
reorders or cuts, by turns in rounds, each condition with a robot of its own. The direct one is
there twice, so that the noise of the loop's p99 jitter is measured and not guessed. A condition
fails when the median of its rounds is above the worst round without a proxy.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

from benchmarks.bad_network import BadNetwork, Harm, Manners
from benchmarks.ledger import Ledger
from benchmarks.pair import Member, Pair, Unfit, prepare, shortened, wait_for
from benchmarks.proof import conclude, remember, remembered, table
from fieldtune.train.launch import settle

HORIZON = 20  # an episode is a second
ROUNDS = 5
JUDGED_ROUNDS = 3  # fewer say nothing about jitter
_CUTS = {"cut_every_s": (0.5, 4.0), "cut_s": (0.2, 7.0)}  # the robot gives up a line after 5 s
CONDITIONS: dict[str, Manners | None] = {
    "direct": None,
    "direct again": None,
    "proxy that does no harm": Manners(),
    "delayed by 200 ms": Manners(delay_s=0.2),
    "doubled, 30 %": Manners(double=0.3),
    "reordered, 30 %": Manners(reorder=0.3),
    "cut": Manners(**_CUTS),  # type: ignore[arg-type]
    "all of it": Manners(delay_s=0.2, double=0.3, reorder=0.3, **_CUTS),  # type: ignore[arg-type]
}


@dataclass(frozen=True)
class Turn:
    """One robot's run: its condition, episodes, control cycles, p99 of their jitter and harm done
    to its messages."""

    condition: str
    episodes: int
    cycles: int
    p99_us: float
    harm: dict[str, int]


class Proof:
    """One trainer, and a robot for each condition."""

    def __init__(self, folder: Path, conditions: dict[str, Manners | None]) -> None:
        self._folder, self._conditions = folder, conditions
        self._template = folder / "template"
        self._trainers = Pair(folder / "trainer", self._template)
        if not (folder / "short.bundle").exists():
            shortened(self._template / "published.bundle", folder / "short.bundle", HORIZON)
        self._trainers.bundle = folder / "short.bundle"
        self._trainer = self._trainers.storing()
        wait_for(self._trainer.at_work, self._trainer)

    def turn(self, condition: str, episodes: int, seed: int) -> Turn:
        """Let that condition's robot explore, and end; what is not uploaded by then stays."""
        with self._network(condition, seed) as (address, harm):
            pair = self._pair(condition, address)
            summary = pair.folder / "summary.json"
            robot = self._robot(pair, episodes, summary)
            status = robot.wait()
            if status != 0:
                raise Unfit(f"{condition}: the robot ended with {status}: {robot.said()[-2000:]}")
        told = json.loads(summary.read_text())
        cycles = told["cycles"]
        return Turn(
            condition,
            told["episodes"],
            cycles["cycles"],
            cycles["jitter_us"]["p99"],
            asdict(harm),
        )

    def settle(self) -> dict[str, Ledger]:
        """Let each robot upload what is left, with one episode more; every condition's ledger."""
        ledgers = {}
        for condition in self._conditions:
            pair = self._pair(condition, self._trainers.address)
            robot = self._robot(pair, 1, pair.folder / "last.json")
            if robot.wait() != 0:
                raise Unfit(f"{condition}: {robot.said()[-2000:]}")
            ledgers[condition] = Ledger(pair.journal, self._trainers.inbox, condition)
            ledgers[condition].settle()
        return ledgers

    def close(self) -> None:
        self._trainers.close()

    def _pair(self, condition: str, address: str) -> Pair:
        return Pair(
            self._folder / condition.replace(" ", "-").replace("%", ""),
            self._template,
            run=self._trainers.run,
            name=condition,
            bridge=address,
            driver={"name": "sim", "time_scale": 1.0},
            limits={},
            realtime={"priority": 40},  # others may have deadlines here too
        )

    def _robot(self, pair: Pair, episodes: int, summary: Path) -> Member:
        bundle = str(self._trainers.bundle)
        count = str(episodes)
        return pair.robot("--bundle", bundle, "--episodes", count, "--summary", str(summary))

    @contextmanager
    def _network(self, condition: str, seed: int) -> Iterator[tuple[str, Harm]]:
        manners = self._conditions[condition]
        if manners is None:
            yield self._trainers.address, Harm()
            return
        with BadNetwork(self._trainers.address, manners, seed) as network:
            yield network.address, network.harm


def jitter_problems(turns: list[Turn], controls: tuple[str, ...]) -> list[str]:
    """Conditions whose loop is worse than the noise of `controls` among themselves."""
    worst = max(turn.p99_us for turn in turns if turn.condition in controls)
    problems = []
    for condition in dict.fromkeys(turn.condition for turn in turns):
        middle = median(turn.p99_us for turn in turns if turn.condition == condition)
        if condition not in controls and middle > worst:
            problems.append(
                f"{condition}: the loop's p99 jitter is {middle:.0f} µs, without a proxy it is at "
                f"most {worst:.0f} µs"
            )
    return problems


def report(turns: list[Turn], ledgers: dict[str, Ledger]) -> None:
    """Print what was sent and found; status 1 where something is lost, double, or late."""
    rows, problems = [], []
    for condition, ledger in ledgers.items():
        own = [turn for turn in turns if turn.condition == condition]
        harm = Harm(*(sum(turn.harm[key] for turn in own) for key in asdict(Harm())))
        p99 = [turn.p99_us for turn in own]
        cycles = sum(turn.cycles for turn in own)
        problems += [f"{condition}: {problem}" for problem in ledger.problems]
        rows.append(
            (
                condition,
                ledger.episodes,
                ledger.ingested,
                len(ledger.lost),
                len(ledger.duplicated),
                f"{harm.carried} / {harm.doubled} / {harm.overtaken} / {harm.lost}",
                harm.cuts,
                cycles,
                f"{median(p99):.0f} ({min(p99):.0f} – {max(p99):.0f})",
            )
        )
    columns = (
        "network",
        "episodes recorded",
        "ingested",
        "lost",
        "duplicated",
        "messages carried / doubled / overtaken / lost",
        "cuts",
        "cycles",
        "p99 jitter by round, µs: median (range)",
    )
    controls = tuple(name for name in ledgers if CONDITIONS[name] is None)
    if len(turns) >= JUDGED_ROUNDS * len(ledgers):
        problems += jitter_problems(turns, controls)
    conclude([table(columns, rows)], problems)


def prove(folder: Path, conditions: dict[str, Manners | None], rounds: int, episodes: int) -> None:
    """All of it in `folder`, going on after the turns that are noted there."""
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder / "template")
    noted = folder / "turns.jsonl"
    done = remembered(noted, Turn)
    names = list(conditions)
    order = [
        name for turn in range(rounds) for name in (names if turn % 2 == 0 else reversed(names))
    ]
    with ExitStack() as closing:
        proof = Proof(folder, conditions)
        closing.callback(proof.close)
        for number, name in enumerate(order[len(done) :], len(done)):
            done.append(proof.turn(name, episodes, number))
            remember(noted, done[-1])
            print(f"{number + 1} of {len(order)}: {done[-1]}", flush=True)
        report(done, proof.settle())


if __name__ == "__main__":
    settle()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few episodes, of two conditions")
    parser.add_argument("--episodes", type=int, default=100, help="of each condition")
    parser.add_argument("--only", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--folder", type=Path, help="kept, and gone on with; a fresh one if absent")
    given = parser.parse_args()
    where = given.folder or Path(mkdtemp(prefix="fieldtune-network-"))
    if given.quick:
        few = {name: CONDITIONS[name] for name in ("direct", "all of it")}
        prove(where, few, 1, 3)
    else:
        chosen = {name: CONDITIONS[name] for name in given.only}
        prove(where, chosen, ROUNDS, given.episodes // ROUNDS)
    if given.folder is None:
        shutil.rmtree(where)
