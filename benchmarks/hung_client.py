"""A robot's daemon that hangs with its socket open: when does the hardware's server rest?

`python -m benchmarks.hung_client [--quick] [--stops N] [--folder FOLDER]`. The daemon drives a
simulated robot behind the Python server of `servers/`, over the `zmq` driver, and is stopped by
SIGSTOP in the middle of an episode: its process, its threads and its TCP connection stay. The
server alone has to bring the robot to rest when the lease of the last command has run out. Then
the daemon goes on, and must find itself in fault and move nothing.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import Any

from benchmarks.pair import FAMILY, ROOT, Member, Pair, Unfit, prepare, wait_for
from benchmarks.proof import conclude, remember, remembered, table
from fieldtune.robot.drivers.hardware.description import write_description
from fieldtune.robot.drivers.hardware.driver import LEASE_PERIODS
from fieldtune.robot.drivers.hardware.options import ZmqOptions, served_description
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.safety.latch import release
from fieldtune.train.launch import settle

FAULT_EXIT = 3
FIRST_STEPS, LAST_STEPS = 3, 60
_REST_S = 5.0
_BUSY = "the lease ran out|no answer to|periods were left out|stood still|s old now"


@dataclass(frozen=True)
class Stop:
    """One daemon stopped; times in ms, `late_ms` after the lease's end. `status` is how the daemon
    ended when it went on, `moved` whether the robot was commanded after it had been at rest.
    `before` counts daemons that a busy machine cost their lease before they were stopped."""

    rested_ms: float
    late_ms: float
    status: int
    moved: bool
    before: int = 0


class Server:
    """The hardware's server, in a process of its own."""

    def __init__(self, log: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.watched_server", FAMILY]
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [*command, "--address", "tcp://127.0.0.1:*"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("serving "):
            raise Unfit(f"the server does not serve: {log.read_text()}")
        self.address = line.removeprefix("serving ").strip()
        self.rests: queue.SimpleQueue[dict[str, int]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.rests.put(json.loads(line))


class Proof:
    """A server, and daemons that are stopped one after the other."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._rng, self._folder = random.Random(seed), folder
        self._server = Server(folder / "server.log")
        description = folder / "description.json"
        driver = {"address": self._server.address, "description": str(description)}
        served = served_description(ZmqOptions(**driver))
        write_description(description, served)
        self.period_s, self.robot = served.period_s, served.robot
        self.lease_s = LEASE_PERIODS * served.period_s
        settings: dict[str, Any] = {
            "driver": {"name": "zmq"} | driver,
            "bridge": None,
            "limits": {},
            "realtime": {"priority": 40},  # others may have deadlines here too
        }
        self._pair = Pair(folder / "pair", folder / "template", **settings)

    def stop(self) -> Stop:
        """Stop a daemon within an episode, look at the server, and let the daemon go on."""
        before = 0
        while (found := self._try()) is None:
            before += 1
            release(self._pair.state_dir / "fault.txt")
        return replace(found, before=before)

    def _try(self) -> Stop | None:
        """One daemon; None where it was at rest before it could be stopped."""
        rests = self._server.rests
        while not rests.empty():
            rests.get()
        robot = self._pair.robot("--bundle", str(self._pair.bundle))
        if not self._drives(robot):
            return None
        time.sleep(self._rng.uniform(0.0, self.period_s))
        robot.process.send_signal(signal.SIGSTOP)
        stopped_ns = time.monotonic_ns()
        try:
            rest = rests.get(timeout=_REST_S)
        except queue.Empty:
            raise Unfit(f"the robot has not come to rest in {_REST_S:g} s") from None
        finally:
            robot.process.send_signal(signal.SIGCONT)
        status = robot.wait()
        if rest["held"] < stopped_ns:
            return None
        release(self._pair.state_dir / "fault.txt")
        late_ns = rest["held"] - rest["answered"] - round(self.lease_s * 1e9)
        return Stop((rest["held"] - stopped_ns) / 1e6, late_ns / 1e6, status, not rests.empty())

    def close(self) -> None:
        self._pair.close()
        self._server.close()

    def _drives(self, robot: Member) -> bool:
        """Wait until it is somewhere in an episode; False when it has lost its lease on the way."""
        wanted = self._steps() + self._rng.randint(FIRST_STEPS, LAST_STEPS)
        wait_for(lambda: not robot.alive or self._steps() >= wanted)
        if robot.alive:
            return True
        if not re.search(_BUSY, robot.said()):
            raise Unfit(f"the robot has ended: {robot.said()[-2000:]}")
        return False

    def _steps(self) -> int:
        try:
            with Journal.read(self._pair.journal) as journal:
                return sum(entry.steps for entry in journal.entries())
        except JournalError:
            return 0


def problems_of(stops: list[Stop], lease_s: float, period_s: float) -> list[str]:
    """What should not be. The lease's end is at most a lease after the stop; noticing it may take
    what the server and a busy machine need, and not a control period."""
    problems = []
    for number, stop in enumerate(stops, 1):
        if stop.rested_ms > (lease_s + period_s) * 1e3:
            problems.append(f"stop {number}: at rest after {stop.rested_ms:.1f} ms")
        if stop.late_ms > period_s * 1e3:
            problems.append(f"stop {number}: {stop.late_ms:.1f} ms after the lease's end")
        if stop.late_ms < 0:
            problems.append(f"stop {number}: at rest {-stop.late_ms:.1f} ms before the lease's end")
        if stop.status != FAULT_EXIT or stop.moved:
            problems.append(f"stop {number}: the daemon went on: {stop}")
    return problems


def report(stops: list[Stop], proof: Proof) -> None:
    """Print the times; status 1 where the robot was not brought to rest in time."""
    rows = [
        (name, f"{min(times):.1f}", f"{median(times):.1f}", f"{max(times):.1f}")
        for name, times in (
            ("from SIGSTOP to rest", [stop.rested_ms for stop in stops]),
            ("from the lease's end to rest", [stop.late_ms for stop in stops]),
        )
    ]
    in_fault = sum(stop.status == FAULT_EXIT for stop in stops)
    found = [
        ("daemons stopped in an episode", len(stops)),
        ("lease", f"{proof.lease_s * 1e3:.0f} ms, {LEASE_PERIODS} control periods"),
        ("daemons that ended in fault when they went on", in_fault),
        ("robots commanded after that", sum(stop.moved for stop in stops)),
        (
            "daemons that ended in fault before, as the machine was busy",
            sum(s.before for s in stops),
        ),
    ]
    tables = [table(("ms", "least", "median", "most"), rows), table(("", ""), found)]
    conclude(tables, problems_of(stops, proof.lease_s, proof.period_s))


def prove(folder: Path, stops: int, seed: int) -> None:
    """All of it in `folder`, going on after the stops that are noted there."""
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder / "template")
    noted = folder / "stops.jsonl"
    done = remembered(noted, Stop)
    proof = Proof(folder, seed + len(done))
    try:
        while len(done) < stops:
            done.append(proof.stop())
            remember(noted, done[-1])
            print(f"{len(done)} of {stops}: {done[-1]}", flush=True)
        report(done, proof)
    finally:
        proof.close()


if __name__ == "__main__":
    settle()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1 stop")
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept, and gone on with; a fresh one if absent")
    given = parser.parse_args()
    where = given.folder or Path(mkdtemp(prefix="fieldtune-hung-"))
    prove(where, 1 if given.quick else given.stops, given.seed)
    if given.folder is None:
        shutil.rmtree(where)
