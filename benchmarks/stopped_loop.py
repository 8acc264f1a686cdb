"""A robot's process that is stopped and goes on: what does it command then?

`python -m benchmarks.stopped_loop [--quick] [--stops N] [--folder FOLDER]`. The daemon drives, at
100 Hz, hardware in its own process whose sensor is always fresh, so that nothing but the loop can
tell that it stood still. SIGSTOP at random in an episode, SIGCONT after up to two seconds. It must
hold, end in fault, and command nothing but what was on its way into the driver.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import yaml

from benchmarks import mass_robot
from benchmarks.mass_bundle import make_mass_bundle
from benchmarks.pair import Unfit
from benchmarks.processes import environment
from benchmarks.proof import conclude, remember, remembered, table
from fieldtune.robot.safety.latch import latched
from fieldtune.train.launch import settle

FAULT_EXIT = 3
PERIOD_S = 0.01
PATIENCE_S = 0.3  # on a machine that other work stalls
_WAIT_S = 60.0


@dataclass(frozen=True)
class Stop:
    """One process stopped for `stood_s`. `commands` came after SIGCONT, the hold `held_ms` after.

    `before` counts processes that a busy machine had in fault before they were stopped."""

    stood_s: float
    commands: int
    held_ms: float
    status: int
    before: int


class Robot:
    """The daemon's command in `folder`, started anew for every stop."""

    def __init__(self, folder: Path) -> None:
        self._events, self._state = folder / "events", folder / "robot"
        self._plugin, self._config = folder / "plugin", folder / "run.yaml"
        self._bundle, self._log = folder / "chain.bundle", folder / "daemon.log"
        shutil.rmtree(self._plugin, ignore_errors=True)
        mass_robot.install(self._plugin)
        make_mass_bundle(self._bundle, PERIOD_S, 100_000)
        reason = "a machine shared with other work"
        settings = {
            "name": "chain-1",
            "family": mass_robot.FAMILY,
            "driver": {"name": "masses", "period_s": PERIOD_S, "events": str(self._events)},
            "state_dir": str(self._state),
            "limits": {
                "observation_age_s": PATIENCE_S,
                "late_fraction": 1.0,
                "loosen": {"observation_age_s": reason, "late_fraction": reason},
            },
        }
        self._config.write_text(yaml.safe_dump({"robot": settings}), encoding="utf-8")

    def stop(self, rng: random.Random) -> Stop:
        before = 0
        while (found := self._try(rng, before)) is None:
            before += 1
        return found

    def _try(self, rng: random.Random, before: int) -> Stop | None:
        shutil.rmtree(self._state, ignore_errors=True)
        self._events.unlink(missing_ok=True)
        process = self._start()
        try:
            if not self._drives(process, rng.randint(5, 200)):
                return None
            time.sleep(rng.uniform(0.0, PERIOD_S))
            stood_s = rng.uniform(1.2 * PATIENCE_S, 2.0)
            process.send_signal(signal.SIGSTOP)
            time.sleep(stood_s)
            continued_ns = time.monotonic_ns()
            process.send_signal(signal.SIGCONT)
            status = process.wait(_WAIT_S)
        finally:
            process.kill()
            process.wait()
        held = [at_ns for what, at_ns in self._read() if what == "hold"]
        if held and held[0] < continued_ns:
            return None
        commands = [at_ns for what, at_ns in self._read() if what == "apply"]
        after = sum(at_ns > continued_ns for at_ns in commands)
        held_ms = (held[0] - continued_ns) / 1e6 if held else float("inf")
        return Stop(stood_s, after, held_ms, status, before)

    def _start(self) -> subprocess.Popen[bytes]:
        command = ["run", "--config", str(self._config), "--bundle", str(self._bundle)]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "fieldtune.robot.launch", *command],
                env=environment(self._plugin),
                stdout=log,
                stderr=log,
            )

    def _drives(self, process: subprocess.Popen[bytes], commands: int) -> bool:
        """Wait until so much was commanded; False where a busy machine had it in fault first."""
        deadline = time.monotonic() + _WAIT_S
        while sum(what == "apply" for what, _ in self._read()) < commands:
            if process.poll() == FAULT_EXIT and latched(self._state / "fault.txt"):
                return False
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unfit(f"the robot does not drive: {self._log.read_text()[-2000:]}")
            time.sleep(0.002)
        return True

    def _read(self) -> list[tuple[str, int]]:
        if not self._events.exists():
            return []
        lines = (line.split() for line in self._events.read_text().splitlines())
        return [(what, int(at_ns)) for what, at_ns in lines]


def problems_of(stops: list[Stop]) -> list[str]:
    """What should not be. One command may be on its way into the driver when it is stopped."""
    return [
        f"stop {number}: it went on: {json.dumps(vars(stop))}"
        for number, stop in enumerate(stops, 1)
        if stop.commands > 1 or stop.status != FAULT_EXIT or stop.held_ms == float("inf")
    ]


def report(stops: list[Stop]) -> None:
    """Print it; status 1 where a robot went on."""
    held = sorted(stop.held_ms for stop in stops)
    rows = [
        ("processes stopped in an episode", len(stops)),
        ("stopped for", f"{PATIENCE_S * 1.2:.2f} to 2 s, {PATIENCE_S:g} s are allowed"),
        ("held, in fault with status 3", sum(stop.status == FAULT_EXIT for stop in stops)),
        ("that went on", len(problems_of(stops))),
        ("commands on their way into the driver", sum(stop.commands for stop in stops)),
        ("from SIGCONT to hold, ms: median", f"{held[len(held) // 2]:.2f}"),
        ("from SIGCONT to hold, ms: most", f"{held[-1]:.2f}"),
        ("processes in fault before, as the machine was busy", sum(s.before for s in stops)),
    ]
    conclude([table(("", ""), rows)], problems_of(stops))


def prove(folder: Path, stops: int, seed: int) -> None:
    """All of it in `folder`, going on after the stops that are noted there."""
    folder.mkdir(parents=True, exist_ok=True)
    noted = folder / "stops.jsonl"
    done = remembered(noted, Stop)
    robot, rng = Robot(folder), random.Random(seed + len(done))
    while len(done) < stops:
        done.append(robot.stop(rng))
        remember(noted, done[-1])
        print(f"{len(done)} of {stops}: {done[-1]}", flush=True)
    report(done)


if __name__ == "__main__":
    settle()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1 stop")
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept, and gone on with; a fresh one if absent")
    given = parser.parse_args()
    where = given.folder or Path(mkdtemp(prefix="fieldtune-stopped-"))
    prove(where, 1 if given.quick else given.stops, given.seed)
    if given.folder is None:
        shutil.rmtree(where)
