"""Memory of the two loops that run a bundle at 500 Hz: the C++ example, and the step in Python.

`python -m benchmarks.resident [--minutes 60] [--folder DIR]`. Both observe, check, act and limit on
absolute deadlines, with the robot's priority and a policy of the reference's size, and nothing
else: no journal, no network (`benchmarks.hour` has the whole daemon). Every five seconds the
resident memory of either goes into DIR/resident.csv: a run that is cut short still reports. The
status is 1 where memory grows.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.bundle_limits import limits_of
from benchmarks.cpp import build
from benchmarks.cycle import make_bundle
from benchmarks.hour_figures import GROWTH_MB_AN_HOUR, SAMPLE_S, WARM_UP_S, slope_mb_an_hour
from benchmarks.machine import facts
from benchmarks.processes import ROOT, environment, resident_mb, terminate
from fieldtune.robot.config import RealtimeConfig
from fieldtune.robot.safety.written import written

PERIOD_S = 0.002
STARTED_S = 60.0  # by then every module is imported, on a busy machine too


@dataclass(frozen=True)
class Look:
    """The memory of one loop, `at_s` after the first look."""

    at_s: float
    rss_mb: float


def start(folder: Path, minutes: float) -> dict[str, subprocess.Popen[bytes]]:
    """Both loops for so many minutes, by name; what they say goes into `folder`.

    Raises `SystemExit` where the C++ cannot be built.
    """
    bundle, limits = folder / "policy.bundle", folder / "limits.json"
    made, _ = make_bundle(bundle, period_s=PERIOD_S)
    limits.write_text(written(limits_of(made), PERIOD_S))
    program = build(folder / "build", "control_loop")
    if isinstance(program, str):
        raise SystemExit(program)
    cycles = str(max(1, round(60 * minutes / PERIOD_S)))
    priority = str(RealtimeConfig().priority)
    in_cpp = [str(program), str(bundle), str(limits), "--cycles", cycles, "--fifo", priority]
    commands = {
        "C++": in_cpp,
        "Python": [sys.executable, "-m", "benchmarks.resident_side", str(bundle), cycles],
    }
    loops = {}
    for name, command in commands.items():
        with (folder / f"{name}.log").open("wb") as log:
            loops[name] = subprocess.Popen(
                command, cwd=ROOT, env=environment(), stdout=log, stderr=log
            )
    return loops


def looks(loops: dict[str, subprocess.Popen[bytes]]) -> Iterator[tuple[str, Look]]:
    """A look at each every five seconds, for as long as it runs."""
    began = due = time.monotonic()
    while running := {name: one for name, one in loops.items() if one.poll() is None}:
        due += SAMPLE_S
        time.sleep(max(0.0, due - time.monotonic()))
        for name, process in running.items():
            with contextlib.suppress(FileNotFoundError):  # it has just ended
                yield name, Look(round(time.monotonic() - began, 1), resident_mb(process.pid))


def told(name: str, looked: Sequence[Look]) -> str:
    """A row of the table."""
    settled = [look for look in looked if look.at_s >= WARM_UP_S]
    started = [look.rss_mb for look in looked if look.at_s >= STARTED_S]
    memory = [look.rss_mb for look in looked]
    minutes, first = looked[-1].at_s / 60, (started or memory)[0]
    return (
        f"| {name} | {minutes:.1f} | {first:.2f} | {memory[-1]:.2f} | {max(memory):.2f} | "
        f"{slope_mb_an_hour(settled):+.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help="12 seconds: the numbers mean nothing")
    parser.add_argument("--folder", type=Path, help="a new folder")
    options = parser.parse_args()
    folder = options.folder or Path(mkdtemp(prefix="fieldtune-resident-"))
    folder.mkdir(parents=True, exist_ok=True)
    print("\n".join(facts()), flush=True)
    loops = start(folder, 0.2 if options.quick else options.minutes)
    looked: dict[str, list[Look]] = {name: [] for name in loops}
    loads = [os.getloadavg()[0]]
    with contextlib.suppress(KeyboardInterrupt), (folder / "resident.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(("loop", "at_s", "rss_mb"))
        for name, look in looks(loops):
            looked[name].append(look)
            loads.append(os.getloadavg()[0])
            rows.writerow((name, look.at_s, look.rss_mb))
            file.flush()
    statuses = {name: terminate(process, 10.0) for name, process in loops.items()}
    if not all(looked.values()):
        raise SystemExit(f"nothing was seen: see the logs in {folder}")
    print(f"load {min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} cores")
    print("\n| loop | minutes | MB after one | at the end | most | MB an hour, after 5 minutes |")
    print("|---|---|---|---|---|---|")
    broken = []
    for name, found in looked.items():
        print(told(name, found))
        if slope_mb_an_hour([look for look in found if look.at_s >= WARM_UP_S]) > GROWTH_MB_AN_HOUR:
            broken.append(f"memory of the loop in {name} grows")
        if statuses[name] != 0:
            broken.append(f"the loop in {name} ended with status {statuses[name]}: see its log")
    for name in loops:
        print(f"\n{name} says:\n{(folder / f'{name}.log').read_text().strip()}")
    if broken:
        raise SystemExit("BROKEN: " + "; ".join(broken))


if __name__ == "__main__":
    main()
