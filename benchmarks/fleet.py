"""Sixteen robots on one trainer: is each episode ingested once, and what does the trainer cost?

`python -m benchmarks.fleet [--robots 16] [--minutes 30] [--folder DIR]`. Every robot is a process
of its own, `fieldtune-robot run` with the simulated cheetah at its real 20 Hz, a journal with full
sync and a CURVE key of its own. The trainer is the hub and inbox as `fieldtune finetune` uses them,
without learning, so that its processor time is that of taking episodes in. The simulated robots ask
for no real-time priority: all share this machine. The status is 1 when an episode is missing,
there twice or damaged.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import yaml

from benchmarks.bridge_sides import ANYWHERE
from benchmarks.cycle import make_bundle
from benchmarks.machine import facts
from benchmarks.processes import environment, processor_s, resident_mb, terminate
from fieldtune.robot.curve_keys import new_pair, write_secret
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import EntryState, Journal
from fieldtune.robot.monitor import heartbeat
from fieldtune.robot.monitor.status import Status
from fieldtune.train.bridge.fleet import FILE, Fleet
from fieldtune.train.bridge.inbox import Inbox
from fieldtune.train.bridge.keys import make_keys

LOOK_S = 5.0
START_S = 1800.0
FAREWELL_S = 240.0
FAMILY = "cheetah-vel"
AGE_S = 10.0


@dataclass
class Robot:
    """One robot's process, and the folder that it keeps everything in."""

    home: Path
    process: subprocess.Popen[bytes]

    def status(self) -> Status | None:
        """What it told last; None before its first cycle."""
        beat = heartbeat.read(self.home / "status.json", Status)
        return None if beat is None or beat.told.cycles == 0 else beat.told


class Trainer:
    """The trainer's process. Closed by `end`."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        given = (folder, bundle, folder / "keys")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fleet_trainer", ANYWHERE, *map(str, given)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "trainer.log").open("wb"),
            text=True,
        )
        self.address = str(self._hear())

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_robots_home(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("stop\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, int]:
        """What it took in."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        told: dict[str, int] = self._hear()
        self._process.wait()
        return told

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the trainer has died: see trainer.log")
        return json.loads(line)


@dataclass
class Seen:
    """What was measured while all robots ran. Memory is in MB, by look."""

    seconds: float = 0.0
    trainer_cpu_s: float = 0.0
    robots_cpu_s: float = 0.0
    began_ns: int = 0
    ended_ns: int = 0
    trainer_mb: list[float] = field(default_factory=list)
    robots_mb: list[float] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    load: list[float] = field(default_factory=list)


def prepare(folder: Path, count: int) -> dict[str, str]:
    """A home with a key for each robot, known to the trainer; returns the trainer's public key."""
    keys = make_keys(folder / "keys")
    for number in range(1, count + 1):
        home = folder / f"cheetah-{number:02}"
        home.mkdir()
        pair = new_pair()
        write_secret(home / "robot.key", pair)
        keys.allowed.allow(home.name, pair.public)
    return {"trainer": keys.own.public}


def start_robots(folder: Path, address: str, keys: dict[str, str]) -> list[Robot]:
    """A daemon in every home."""
    robots = []
    for number, home in enumerate(sorted(folder.glob("cheetah-*")), start=1):
        settings = {
            "name": home.name,
            "family": FAMILY,
            "driver": {"name": "sim", "seed": number},
            "seed": number,
            "state_dir": str(home.absolute()),
            "bridge": address,
            "keys": keys,
            "realtime": {"priority": None, "lock_memory": False},
            "limits": {
                "observation_age_s": AGE_S,
                "late_fraction": 1.0,
                "loosen": dict.fromkeys(
                    ("observation_age_s", "late_fraction"), "many simulated robots, one machine"
                ),
            },
        }
        config = home / "run.yaml"
        config.write_text(yaml.safe_dump({"robot": settings}), encoding="utf-8")
        with (home / "daemon.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "fieldtune.robot.launch", "run", "--config", str(config)],
                env=environment(),
                stdout=log,
                stderr=log,
            )
        robots.append(Robot(home, process))
    return robots


def await_all(robots: list[Robot]) -> None:
    """Until every robot has acted. Raises `SystemExit` when one does not come to that."""
    until = time.monotonic() + START_S
    while not all(robot.status() for robot in robots):
        lost = [robot.home.name for robot in robots if robot.process.poll() is not None]
        if lost or time.monotonic() > until:
            raise SystemExit(f"robots {lost or 'that wait'} did not start: see daemon.log")
        time.sleep(0.2)


def watch(folder: Path, trainer: Trainer, robots: list[Robot], seconds: float) -> Seen:
    """Look every five seconds for so long; stops early when a robot ends."""
    seen = Seen(began_ns=time.time_ns())
    began, cpu = time.monotonic(), _processor_s(trainer, robots)
    while time.monotonic() - began < seconds and all(r.process.poll() is None for r in robots):
        time.sleep(min(LOOK_S, seconds))
        seen.trainer_mb.append(resident_mb(trainer.pid))
        with contextlib.suppress(FileNotFoundError):
            seen.robots_mb.append(max(resident_mb(robot.process.pid) for robot in robots))
        beat = heartbeat.read(folder / FILE, Fleet)
        if beat is not None:
            seen.pending.append(max((one.pending for one in beat.told.sessions), default=0))
        seen.load.append(os.getloadavg()[0])
        with contextlib.suppress(FileNotFoundError):
            now = _processor_s(trainer, robots)
            seen.trainer_cpu_s, seen.robots_cpu_s = now[0] - cpu[0], now[1] - cpu[1]
            seen.seconds, seen.ended_ns = time.monotonic() - began, time.time_ns()
    return seen


def _processor_s(trainer: Trainer, robots: list[Robot]) -> tuple[float, float]:
    return processor_s(trainer.pid), sum(processor_s(robot.process.pid) for robot in robots)


def broken_promises(folder: Path, robots: list[Robot], took_in: dict[str, int]) -> list[str]:
    """Every journal sound and acknowledged, the inbox exactly their episodes, each read once."""
    broken, recorded = [], dict[str, bytes]()
    for robot in robots:
        with Journal.read(robot.home / "journal.sqlite") as journal:
            broken += find_problems(journal)
            for entry in journal.entries():
                if entry.state is not EntryState.ACKNOWLEDGED:
                    broken.append(f"{robot.home.name}: episode {entry.number} is {entry.state}")
                    continue
                sha256, blob = journal.blob(entry.number)
                recorded[sha256] = blob
    stored = {path.stem: path.read_bytes() for path in (folder / "inbox").glob("*.episode")}
    if stored != recorded:
        broken.append(f"{len(stored)} episodes are stored and {len(recorded)} were recorded")
    names = Counter(
        (episode.header.robot, episode.header.number)
        for _, episode in Inbox(folder / "inbox").episodes(set())
    )
    broken += [f"{name} is stored {count} times" for name, count in names.items() if count > 1]
    left = [
        path
        for part in ("partial", "refused")
        for path in (folder / "inbox" / part).rglob("*")
        if path.is_file()
    ]
    broken += [f"{path} is left over" for path in left]
    if took_in["episodes"] != len(stored) or took_in["repeats"]:
        broken.append(f"the trainer took in {took_in}, {len(stored)} are stored")
    return broken


def describe(folder: Path, seen: Seen, robots: list[Robot], took_in: dict[str, int]) -> list[str]:
    """Lines for people."""
    arrived = [path.stat() for path in (folder / "inbox").glob("*.episode")]
    within = [one.st_size for one in arrived if seen.began_ns <= one.st_mtime_ns <= seen.ended_ns]
    told = [status for robot in robots if (status := robot.status())]
    cycles, skipped = sum(one.cycles for one in told), sum(one.skipped for one in told)
    count, seconds = len(robots), max(seen.seconds, 1e-9)
    return [
        f"{count} robots, {seconds / 60:.1f} minutes, load {min(seen.load):.1f} to "
        f"{max(seen.load):.1f} on {os.cpu_count()} cores",
        "",
        "| | |",
        "|---|---|",
        f"| episodes ingested, all | {took_in['episodes']:,}, {took_in['steps']:,} steps |",
        f"| read twice by the trainer | {took_in['repeats']} |",
        f"| throughput | {len(within) / seconds:.2f} episodes/s, "
        f"{sum(within) / 1e6 / seconds:.3f} MB/s |",
        f"| trainer's processor time, user and system | {seen.trainer_cpu_s:.1f} s, "
        f"{100 * seen.trainer_cpu_s / seconds:.2f} % of a core, "
        f"{1e3 * seen.trainer_cpu_s / max(1, len(within)):.1f} ms an episode |",
        f"| trainer's memory | {seen.trainer_mb[0]:.1f} MB at first, {seen.trainer_mb[-1]:.1f} at "
        f"the end, most {max(seen.trainer_mb):.1f} |",
        f"| a robot's processor time | {100 * seen.robots_cpu_s / seconds / count:.2f} % of one |",
        f"| a robot's memory | at most {max(seen.robots_mb):.1f} MB |",
        f"| episodes waiting on one robot | at most {max(seen.pending)}, "
        f"mean {np.mean(seen.pending):.2f} (the robot with most) |",
        f"| periods left out by all robots | {skipped:,} of {cycles + skipped:,} |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--horizon", type=int, default=50, help="steps an episode; as reach has")
    parser.add_argument("--quick", action="store_true", help="2 robots, 15 s: means nothing")
    parser.add_argument("--folder", type=Path, help="a new folder, on the disk to test")
    options = parser.parse_args()
    if options.quick:
        options.robots, options.minutes = 2, 0.25
    folder = options.folder or Path(mkdtemp(prefix="fieldtune-fleet-"))
    folder.mkdir(parents=True, exist_ok=True)
    print("\n".join(facts()), flush=True)
    keys = prepare(folder, options.robots)
    make_bundle(folder / "cheetah.bundle", horizon=options.horizon)
    trainer = Trainer(folder, folder / "cheetah.bundle")
    robots = start_robots(folder, trainer.address, keys)
    try:
        await_all(robots)
        seen = watch(folder, trainer, robots, 60 * options.minutes)
        trainer.send_robots_home()
        until = time.monotonic() + FAREWELL_S
        for robot in robots:
            with contextlib.suppress(subprocess.TimeoutExpired):
                robot.process.wait(max(0.1, until - time.monotonic()))
        statuses = {robot.home.name: robot.process.poll() for robot in robots}
        took_in = trainer.end()
    finally:
        for robot in robots:
            terminate(robot.process, 30.0)
        trainer.kill()
    print("\n" + "\n".join(describe(folder, seen, robots, took_in)))
    broken = broken_promises(folder, robots, took_in)
    broken += [f"{name} ended with {status}" for name, status in statuses.items() if status != 0]
    if broken:
        raise SystemExit("BROKEN: " + "; ".join(broken))


if __name__ == "__main__":
    main()
