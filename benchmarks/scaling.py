"""The sizes at which cost grows: copies in a batch, tasks, steps in the journal, robots.

`python -m benchmarks.scaling [--quick]`. No comparison and no goal: curves to look at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import episodes
from benchmarks.alone import main
from benchmarks.bridge_sides import Child
from benchmarks.figures import Series, Table
from benchmarks.locomotion import ROWS
from benchmarks.locomotion_sides import Ours, drawn_actions, timed
from benchmarks.machine import filesystem
from benchmarks.smac_sides import Data
from benchmarks.turns import Effort, cores, in_turns, rate
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.journal.recovery import close_interrupted
from fieldtune.sim.registry import family


def copies_in_a_batch(effort: Effort) -> Table:
    """cheetah-vel, from one copy to a thousand."""
    row, threads = ROWS[0], cores()
    one = family(row.family)
    runs: dict[str, Callable[[], float]] = {}
    with ExitStack() as closing:
        for copies in effort.choose((1, 4, 16, 64, 256, 1024), (1, 4)):
            for count in sorted({1, threads}):
                if copies < count:
                    continue
                batch = Ours(one, copies, count, drawn_actions(row, one, copies))
                closing.callback(batch.close)
                runs[f"{copies} copies, {count} thread(s)"] = partial(
                    timed, batch, row.steps * copies, effort.seconds
                )
        found = in_turns(runs, effort.choose(3, 1))
    return _curve("Copies in a batch", "steps/s", f"{row.family}, whole episodes", found)


def tasks(effort: Effort) -> Table:
    """Draws of one update's batch, from ten tasks to three thousand."""
    runs: dict[str, Callable[[], float]] = {}
    for count in effort.choose((10, 100, 1000, 3000), (10, 20)):
        data = Data(tasks=count, episodes=1)
        runs[f"{count} tasks"] = partial(rate, partial(_one, data.draw), effort.seconds)
    found = in_turns(runs, effort.choose(3, 1))
    conditions = "context and batch at the authors' sizes, one episode of 200 steps a task"
    return _curve("Tasks in the data", "draws/s", conditions, found)


def steps_in_the_journal(effort: Effort) -> Iterator[Table]:
    """What a robot does with its journal, from a thousand steps in it to a million."""
    found: dict[str, dict[str, list[float]]] = {}
    size = episodes.CHEETAH
    with TemporaryDirectory() as temporary:
        path, kind = Path(temporary) / "journal.sqlite", filesystem(Path(temporary))
        held = 0
        for steps in effort.choose((1_000, 10_000, 100_000, 1_000_000), (1_000, 2_000)):
            with Journal.open(path) as journal:
                while held < steps:
                    count = min(10, (steps - held) // size.steps)
                    for address in episodes.fill(journal, size, count):
                        journal.acknowledge(address)
                    held += count * size.steps
            for name, run in _uses(path, size).items():
                values = [run() for _ in range(effort.choose(5, 1))]
                found.setdefault(name, {})[f"{steps:,} steps"] = values
    for name, by_size in found.items():
        yield _curve(f"Steps in the journal, {name}", "ms", f"disk: {kind}", by_size, higher=False)


def robots(effort: Effort) -> Table:
    """Episodes a second that one trainer takes from so many robots at once."""
    size, each = episodes.REACH, effort.choose(100, 2)
    found: dict[str, list[float]] = {}
    for count in effort.choose((1, 2, 4, 8, 16, 32), (1, 2)):
        with TemporaryDirectory() as temporary, ExitStack() as closing:
            folder = Path(temporary)
            hub = closing.enter_context(Child("hub", str(folder / "inbox")))
            fleet = [
                closing.enter_context(Child("robot", hub.said, str(folder / name), name))
                for name in (f"robot-{number}" for number in range(count))
            ]
            found[f"{count} robot(s)"] = [
                _all_at_once(fleet, size, each) for _ in range(effort.choose(3, 1))
            ]
    conditions = f"{each} episodes of {size.name} from each robot, every one a process here"
    return _curve("Robots on one trainer", "episodes/s", conditions, found)


def _all_at_once(fleet: list[Child], size: episodes.Size, each: int) -> float:
    for robot in fleet:
        robot.tell(size=size.name, count=each)
    spans = [robot.hear() for robot in fleet]
    began, ended = min(s["began"] for s in spans), max(s["ended"] for s in spans)
    return len(fleet) * each * 1e9 / (ended - began)


def _uses(path: Path, size: episodes.Size) -> dict[str, Callable[[], float]]:
    """Milliseconds of each."""

    def opening() -> None:
        with Journal.open(path) as journal:
            close_interrupted(journal)

    def looking() -> None:
        with Journal.attach(path) as journal:
            journal.pending(1)

    def reading() -> None:
        with Journal.attach(path) as journal:
            journal.blob(1)

    def listing() -> None:
        with Journal.read(path) as journal:
            journal.entries()

    def recording() -> None:
        with Journal.open(path) as journal:
            journal.acknowledge(episodes.fill(journal, size, 1)[0])

    return {
        "open": partial(_milliseconds, opening),
        "look for what is pending": partial(_milliseconds, looking),
        "read one episode": partial(_milliseconds, reading),
        "list every episode": partial(_milliseconds, listing),
        "record one episode": partial(_milliseconds, recording),
    }


def _milliseconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - started)


def _one(run: Callable[[], object]) -> int:
    run()
    return 1


def _curve(
    title: str, unit: str, conditions: str, found: dict[str, list[float]], higher: bool = True
) -> Table:
    series = [Series(label, "ours", values) for label, values in found.items()]
    return Table(f"Growth: {title}", unit, conditions, series, higher_is_better=higher)


def measure(effort: Effort) -> Iterator[Table]:
    """Every curve."""
    yield copies_in_a_batch(effort)
    yield tasks(effort)
    yield from steps_in_the_journal(effort)
    yield robots(effort)


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
