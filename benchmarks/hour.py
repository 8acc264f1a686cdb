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
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import yaml

from benchmarks import mass_robot
from benchmarks.bridge_sides import Child
from benchmarks.cycle import make_bundle
from benchmarks.machine import facts
from benchmarks.processes import environment, resident_mb, terminate
from robot import heartbeat
from robot.journal import EntryState, Journal
from robot.status import Status

SAMPLE_S = 5.0
WARM_UP_S = 300.0
ALLOWED = 0.001  # deadlines missed beyond those of the bare loop
GROWTH_MB_AN_HOUR = 10.0  # what still counts as flat: less is not told apart from the allocator


@dataclass(frozen=True)
class Sample:
    """One look at both. Counts are since the start, jitter in microseconds."""

    at_s: float
    rss_mb: float
    hub_rss_mb: float
    journal_mb: float
    cycles: int
    overruns: int
    skipped: int
    jitter_p50: float
    jitter_p99: float
    jitter_p999: float
    jitter_max: float
    cycle_p50: float
    cycle_p99: float
    cycle_max: float
    bare_cycles: int
    bare_overruns: int
    bare_skipped: int
    bare_p50: float
    bare_p99: float
    bare_p999: float
    bare_max: float
    load: float


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
    make_bundle(
        bundle,
        family=mass_robot.FAMILY,
        robot=mass_robot.ROBOT,
        observation_fields=mass_robot.OBSERVATIONS,
        action_fields=mass_robot.ACTIONS,
        period_s=options.period_s,
        horizon=round(options.episode_s / options.period_s),
    )
    limits: dict[str, Any] = {
        "action_rate": {"force": 200.0},
        "box": {"position": {"low": [-50.0] * 10, "high": [50.0] * 10}},
    }
    if options.age_s is not None:
        limits["observation_age_s"] = options.age_s
        limits["loosen"] = {"observation_age_s": "a machine shared with other work"}
    config = folder / "run.yaml"
    settings = {
        "name": "chain-1",
        "family": mass_robot.FAMILY,
        "driver": {"name": "masses", "period_s": options.period_s},
        "state_dir": str(folder / "robot"),
        "bridge": address,
        "limits": limits,
    }
    config.write_text(yaml.safe_dump({"robot": settings}), encoding="utf-8")
    mass_robot.install(folder / "plugin")
    command = ["run", "--config", config, "--bundle", bundle, "--summary", folder / "summary.json"]
    with (folder / "daemon.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "robot.launch", *map(str, command)],
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
    quantiles = ("p50", "p99", "p99.9", "max")
    return Sample(
        round(at_s, 1),
        resident_mb(pid),
        resident_mb(hub),
        round(journal / 1e6, 2),
        robot.cycles,
        robot.overruns,
        robot.skipped,
        *(robot.jitter_us[name] for name in quantiles),
        *(robot.cycle_us[name] for name in ("p50", "p99", "max")),
        bare["cycles"],
        bare["overruns"],
        bare["skipped"],
        *(bare["jitter_us"][name] for name in quantiles),
        os.getloadavg()[0],
    )


def slope_mb_an_hour(looked: list[Sample]) -> float:
    """Of a straight line through the daemon's memory; NaN for fewer than three looks."""
    if len(looked) < 3:
        return float("nan")
    hours = np.array([sample.at_s for sample in looked]) / 3600
    return float(np.polyfit(hours, [sample.rss_mb for sample in looked], 1)[0])


def missed_share(cycles: int, overruns: int, skipped: int) -> float:
    return (overruns + skipped) / max(1, cycles + skipped)


def between_episodes_s(journal: Journal) -> list[float]:
    """Seconds from each episode's last observation to the next one's first."""
    gaps, last_ns = [], None
    for entry in journal.entries():
        steps = journal.steps(entry.number)
        if steps and last_ns is not None:
            gaps.append((steps[0].sense_ns - last_ns) / 1e9)
        last_ns = steps[-1].sense_ns if steps else last_ns
    return gaps


@dataclass(frozen=True)
class Verdict:
    """What a run came to: lines for people, and the promises that were broken."""

    lines: list[str]
    broken: list[str]


def judge(folder: Path, looked: list[Sample], seconds: float) -> Verdict:
    """From the samples, the journal, the daemon's own summary, and the inbox."""
    last, settled = looked[-1], [one for one in looked if one.at_s >= WARM_UP_S]
    ours = missed_share(last.cycles, last.overruns, last.skipped)
    bare = missed_share(last.bare_cycles, last.bare_overruns, last.bare_skipped)
    early, slope = slope_mb_an_hour(looked[: len(looked) - len(settled)]), slope_mb_an_hour(settled)
    with Journal.read(folder / "robot" / "journal.sqlite") as journal:
        problems, entries = journal.verify(), journal.entries()
        gaps = between_episodes_s(journal)
    stored = {path.stem for path in (folder / "inbox").glob("*.episode")}
    pending = [entry.number for entry in entries if entry.state is EntryState.PENDING]
    lost = [e.number for e in entries if e.number not in pending and e.sha256 not in stored]
    steps = sum(entry.steps for entry in entries)
    rate = (last.cycles - looked[0].cycles) / max(SAMPLE_S, last.at_s - looked[0].at_s)
    lines = [
        f"{last.at_s / 60:.1f} minutes, load {min(s.load for s in looked):.1f} to "
        f"{max(s.load for s in looked):.1f} on {os.cpu_count()} cores",
        "",
        "| | the daemon | the bare loop |",
        "|---|---|---|",
        f"| periods | {last.cycles + last.skipped:,} | {last.bare_cycles + last.bare_skipped:,} |",
        f"| cycles that ended late | {last.overruns:,} | {last.bare_overruns:,} |",
        f"| periods left out for that | {last.skipped:,} | {last.bare_skipped:,} |",
        f"| **deadlines missed** | **{100 * ours:.4f} %** | {100 * bare:.4f} % |",
        f"| jitter p50 | {last.jitter_p50:.0f} µs | {last.bare_p50:.0f} µs |",
        f"| jitter p99 | {last.jitter_p99:.0f} µs | {last.bare_p99:.0f} µs |",
        f"| jitter p99.9 | {last.jitter_p999:.0f} µs | {last.bare_p999:.0f} µs |",
        f"| jitter max | {last.jitter_max:.0f} µs | {last.bare_max:.0f} µs |",
        f"| work in a cycle p50, p99, max | {last.cycle_p50:.0f}, {last.cycle_p99:.0f}, "
        f"{last.cycle_max:.0f} µs | – |",
        "",
        f"Rate over everything, boundaries between episodes included: {rate:.2f} Hz.",
        f"Memory of the daemon: {looked[0].rss_mb:.1f} MB at first, {last.rss_mb:.1f} at the end, "
        f"most {max(one.rss_mb for one in looked):.1f}; {slope:+.2f} MB an hour after the first "
        f"{WARM_UP_S / 60:.0f} minutes, {early:+.2f} MB an hour in them.",
        f"Journal: {last.journal_mb:,.1f} MB, {len(entries)} episodes, {steps:,} steps, "
        f"{len(problems)} problems; {len(stored)} episodes with the trainer, {len(pending)} still "
        "to go when the daemon was told to end.",
    ]
    if gaps:
        lines.append(
            f"Between two episodes: {len(gaps)} times {1e3 * float(np.median(gaps)):.0f} ms "
            f"(median; most {1e3 * max(gaps):.0f}), {100 * sum(gaps) / last.at_s:.2f} % of it all."
        )
    broken = [*problems]
    if last.at_s < seconds:
        broken.append(f"it ended after {last.at_s:.0f} of {seconds:.0f} s: see daemon.log")
    if ours - bare > ALLOWED:
        broken.append(f"{100 * (ours - bare):.3f} % more deadlines missed than by the bare loop")
    if slope > GROWTH_MB_AN_HOUR:
        broken.append(f"memory grows by {slope:.1f} MB an hour")
    if lost:
        broken.append(f"episodes {lost} are acknowledged and not with the trainer")
    return Verdict(lines, broken)


def draw(looked: list[Sample], path: Path) -> None:
    """Memory, and deadlines missed so far, over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    minutes = [sample.at_s / 60 for sample in looked]
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 4.5))
    above.plot(minutes, [sample.rss_mb for sample in looked])
    above.set(ylabel="daemon's memory, MB", ylim=(0, None))
    below.plot(minutes, [one.overruns + one.skipped for one in looked], label="the daemon")
    below.plot(minutes, [one.bare_overruns + one.bare_skipped for one in looked], label="bare loop")
    below.set(ylabel="deadlines missed so far", xlabel="minutes", ylim=(0, None))
    below.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


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
