"""What the hour at 500 Hz came to: its samples, what is concluded from them, and a picture.

Reads what a run has left in its folder; does not know how it was started.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import EntryState, Journal

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


class Look(Protocol):
    """Memory of one process at one time."""

    @property
    def at_s(self) -> float: ...

    @property
    def rss_mb(self) -> float: ...


def slope_mb_an_hour(looked: Sequence[Look]) -> float:
    """Of a straight line through a process's memory; NaN for fewer than three looks."""
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
        problems, entries = find_problems(journal), journal.entries()
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
