"""An hour at 500 Hz: the daemon as a user starts it, beside a loop that only sleeps to deadlines.

`python -m benchmarks.hour [--minutes 60] [--folder DIR] [--figure PNG]`. The robot is a chain of
masses (`benchmarks.mass_robot`); everything else is the whole: `fieldtune-robot run` with a policy
of the reference's size in ONNX Runtime, limits, a journal with full sync on DIR's disk, and uploads
to a hub in a process of its own. Loop and bare loop ask for the same real-time priority. Every five
seconds what both tell, and the daemon's memory, goes into DIR/samples.csv: a run that is cut short
still reports. The status is 1 when the loop misses a promise.

A deadline is missed by a cycle that ends after its period, and by every period left out for that.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml

from benchmarks import mass_robot
from benchmarks.bridge_sides import Child
from benchmarks.hour_figures import SAMPLE_S, Sample, draw, judge
from benchmarks.machine import facts
from benchmarks.mass_bundle import make_mass_bundle
from benchmarks.processes import environment, resident_mb, terminate
from fieldtune.robot.monitor import heartbeat
from fieldtune.robot.monitor.status import Status


class Bare:
    """The bare loop's process, and the last line that it said."""

    def __init__(self, folder: Path, period_s: float) -> None:
        self._said = folder / "bare.jsonl"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.bare_deadlines", str(period_s)],
                env=environment(),
                stdout=said,
            )

    def told(self) -> dict[str, Any] | None:
        lines = self._said.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        return json.loads(whole[-1]) if whole else None


def start_robot(folder: Path, address: str, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    """The daemon, by its command line, in `folder`."""
    bundle = folder / "chain.bundle"
    make_mass_bundle(bundle, options.period_s, round(options.episode_s / options.period_s))
    limits: dict[str, Any] = {
        "action_rate": {"force": 200.0},
        "box": {"position": {"low": [-50.0] * 10, "high": [50.0] * 10}},
    }
    if options.age_s is not None:
        shared = "a machine shared with other work"
        limits |= {"observation_age_s": options.age_s, "late_fraction": 1.0}
        limits["loosen"] = {"observation_age_s": shared, "late_fraction": shared}
    config = folder / "run.yaml"
    settings = {
        "name": "chain-1",
        "family": mass_robot.FAMILY,
        "driver": {"name": "masses", "period_s": options.period_s},
        "state_dir": str(folder.absolute() / "robot"),
        "bridge": address,
        "limits": limits,
    }
    config.write_text(yaml.safe_dump({"robot": settings}), encoding="utf-8")
    mass_robot.install(folder / "plugin")
    command = ["run", "--config", config, "--bundle", bundle, "--summary", folder / "summary.json"]
    with (folder / "daemon.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "fieldtune.robot.launch", *map(str, command)],
            env=environment(folder / "plugin"),
            stdout=log,
            stderr=log,
        )


def samples(
    folder: Path, robot: subprocess.Popen[bytes], bare: Bare, hub: int, seconds: float
) -> Iterator[Sample]:
    """A look every five seconds from when both run, for so long or until one of them ends."""
    began, due = None, time.monotonic()
    while robot.poll() is None and bare.process.poll() is None:
        due += SAMPLE_S
        time.sleep(max(0.0, due - time.monotonic()))
        beat = heartbeat.read(folder / "robot" / "status.json", Status)
        told = bare.told()
        if beat is None or told is None or beat.told.cycles == 0:
            continue
        began = began or time.monotonic()
        with contextlib.suppress(FileNotFoundError):  # one of them has just ended
            yield _look(folder, robot.pid, hub, beat.told, told, time.monotonic() - began)
        if time.monotonic() - began >= seconds:
            return


def _look(
    folder: Path, pid: int, hub: int, robot: Status, bare: dict[str, Any], at_s: float
) -> Sample:
    journal = sum(path.stat().st_size for path in (folder / "robot").glob("journal.sqlite*"))
    return Sample(
        round(at_s, 1),
        resident_mb(pid),
        resident_mb(hub),
        round(journal / 1e6, 2),
        robot.cycles,
        robot.overruns,
        robot.skipped,
        *_quantiles(robot.jitter_us),
        robot.cycle_us["p50"],
        robot.cycle_us["p99"],
        robot.cycle_us["max"],
        bare["cycles"],
        bare["overruns"],
        bare["skipped"],
        *_quantiles(bare["jitter_us"]),
        os.getloadavg()[0],
    )


def _quantiles(of: Mapping[str, float]) -> tuple[float, float, float, float]:
    return of["p50"], of["p99"], of["p99.9"], of["max"]


def run(folder: Path, options: argparse.Namespace, looked: list[Sample]) -> None:
    """Both loops for the time asked; `looked` has what was seen, whatever happens."""
    with Child("hub", str(folder / "inbox")) as hub, (folder / "samples.csv").open("w") as file:
        robot = start_robot(folder, hub.said, options)
        bare = Bare(folder, options.period_s)
        rows = csv.DictWriter(file, Sample.__dataclass_fields__)
        rows.writeheader()
        try:
            for sample in samples(folder, robot, bare, hub.pid, 60 * options.minutes):
                looked.append(sample)
                rows.writerow(asdict(sample))
                file.flush()
        finally:
            terminate(bare.process, 10.0)
            status = terminate(robot, 60.0)
    print(f"the daemon ended with status {status}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help="15 seconds: the numbers mean nothing")
    parser.add_argument("--period-s", type=float, default=0.002)
    parser.add_argument("--episode-s", type=float, default=10.0)
    parser.add_argument("--age-s", type=float, help="how old an observation may be; 10 periods")
    parser.add_argument("--folder", type=Path, help="a new folder, on the disk to test")
    parser.add_argument("--figure", type=Path, help="draw memory and misses there")
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.episode_s = 0.25, 2.0
    folder = options.folder or Path(mkdtemp(prefix="fieldtune-hour-"))
    folder.mkdir(parents=True, exist_ok=True)
    print("\n".join(facts()), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    looked: list[Sample] = []
    with contextlib.suppress(KeyboardInterrupt):
        run(folder, options, looked)
    if not looked:
        raise SystemExit(f"nothing was seen: see {folder / 'daemon.log'}")
    verdict = judge(folder, looked, 60 * options.minutes)
    print("\n" + "\n".join(verdict.lines))
    if options.figure is not None:
        draw(looked, options.figure)
    if verdict.broken:
        raise SystemExit("BROKEN: " + "; ".join(verdict.broken))


if __name__ == "__main__":
    main()
