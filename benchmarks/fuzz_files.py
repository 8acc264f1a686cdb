"""Ten thousand damaged bundles, configs and journals each: refused with a reason, or as sound.

`python -m benchmarks.fuzz_files [--count 10000] [--seed 0] [--workers 2]`. Every file is made of a
sound one (`benchmarks.mutations`), and opened by the code that a robot opens it with
(`benchmarks.damaged_files`), in a process of its own that a crash or a hang may cost. The status is
1 when one ended in another way than `refused` or `sound`.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import multiprocessing.connection
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.damaged_files import Bundles, Configs, Kind, Verdict
from benchmarks.damaged_journals import Journals
from benchmarks.machine import facts

PATIENCE_S = 60.0  # for one file, on a machine that may be busy: after that it hangs
KINDS: dict[str, type[Kind]] = {"bundles": Bundles, "configs": Configs, "journals": Journals}
_SPAWN = multiprocessing.get_context("spawn")


class Worker:
    """A process that judges files of one kind by their number."""

    def __init__(self, kind: str, seed: int, folder: Path, sound: Path) -> None:
        self._what = (kind, seed, folder, sound)
        self._begin()

    def _begin(self) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_judge, args=(theirs, *self._what), daemon=True)
        self._process.start()
        theirs.close()
        self.number: int | None = None
        self.since = 0.0

    def give(self, number: int) -> None:
        self.number, self.since = number, time.monotonic()
        self.pipe.send(number)

    def take(self) -> Verdict | None:
        """The verdict on the file under way, if there is one; a process that died or hangs is one
        too, and another takes its place."""
        said = None
        try:
            if self.pipe.poll(0):
                said = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            said = Verdict("crashed", f"the process ended with {self._process.exitcode}")
        if said is None and time.monotonic() - self.since > PATIENCE_S:
            said = Verdict("hung", f"no answer within {PATIENCE_S:g} s")
        if said is not None and said.how in ("crashed", "hung"):
            self.close()
            self._begin()
        return said

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _judge(pipe: Connection, kind: str, seed: int, folder: Path, sound: Path) -> None:
    logging.disable()
    subject = KINDS[kind](folder, sound, seed)
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            return
        pipe.send(subject.judge(number))


def verdicts(kind: str, count: int, seed: int, workers: int) -> Iterator[tuple[int, Verdict]]:
    """Every file's number and what came of it, as it comes."""
    with TemporaryDirectory(prefix="fieldtune-fuzz-") as temporary:
        sound = Path(temporary) / "sound"
        folders = [Path(temporary) / str(index) for index in range(workers)]
        for folder in (sound, *folders):
            folder.mkdir()
        KINDS[kind].prepare(sound)
        crew = [Worker(kind, seed, folder, sound) for folder in folders]
        numbers = iter(range(count))
        for worker in crew:
            if (number := next(numbers, None)) is not None:
                worker.give(number)
        while busy := [worker for worker in crew if worker.number is not None]:
            multiprocessing.connection.wait([worker.pipe for worker in busy], timeout=1.0)
            for worker in busy:
                number, said = worker.number, worker.take()
                if said is None or number is None:
                    continue
                yield number, said
                worker.number = None
                if (following := next(numbers, None)) is not None:
                    worker.give(following)
        for worker in crew:
            worker.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="40 of each")
    options = parser.parse_args()
    count = 40 if options.quick else options.count
    print("\n".join(facts()), flush=True)
    print("\n| files | damaged | refused | sound | anything else | seconds |")
    print("|---|---|---|---|---|---|", flush=True)
    broken = 0
    for kind in options.kinds or KINDS:
        began, found, reasons = time.monotonic(), Counter[str](), Counter[str]()
        for number, said in verdicts(kind, count, options.seed, options.workers):
            found[said.how] += 1
            reasons[said.reason if said.how == "sound" else ""] += 1
            if said.how not in ("refused", "sound"):
                print(f"{kind} {number}: {said.how}: {said.reason}", file=sys.stderr, flush=True)
        other = sum(found.values()) - found["refused"] - found["sound"]
        broken += other
        took = time.monotonic() - began
        numbers = f"{count:,} | {found['refused']:,} | {found['sound']:,} | {other} | {took:.0f}"
        print(f"| {kind} | {numbers} |", flush=True)
        sound = ", ".join(f"{n:,} {why}" for why, n in reasons.most_common() if why)
        print(f"sound {kind}: {sound or 'none'}", file=sys.stderr, flush=True)
    if broken:
        raise SystemExit(f"BROKEN: {broken} files were neither refused with a reason nor sound")


if __name__ == "__main__":
    main()
