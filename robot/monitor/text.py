"""A snapshot of a robot in words: rows for a terminal, plain facts for programs.

Knows what a snapshot holds and how a person reads it; reads nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from fieldtune.robot.monitor.snapshot import Life, Snapshot
from fieldtune.robot.monitor.status import Status

Row = tuple[str, str, str]  # name, text, style

_LIMITS_SHOWN = 4
_UNKNOWN = "unknown"
_STATE_STYLES = {"running": "green", "hold": "cyan", "armed": "yellow", "fault": "bold red"}


def table(snapshot: Snapshot) -> Table:
    """For a terminal."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, text, style in rows(snapshot):
        made.add_row(name, Text(text, style=style))
    return made


def lines(snapshot: Snapshot) -> str:
    """The same without colours."""
    return "\n".join(f"{name:<9} {text}" for name, text, _ in rows(snapshot))


def facts(snapshot: Snapshot) -> dict[str, Any]:
    """For programs; `status` is what the process told last, null where none ever ran."""
    told = None if snapshot.status is None else msgspec.to_builtins(snapshot.status)
    age = None if snapshot.age_s == float("inf") else snapshot.age_s
    return asdict(snapshot) | {"status": told, "life": str(snapshot.life), "age_s": age}


def rows(snapshot: Snapshot) -> Iterator[Row]:
    """Name, text and style, in the order of what matters."""
    status, life = snapshot.status, snapshot.life
    doing = f", {status.activity}" if status is not None and life is Life.RUNNING else ""
    yield "robot", f"{snapshot.robot} ({snapshot.family}){doing}", "bold"
    yield "process", _process(snapshot), "" if life in (Life.RUNNING, Life.ENDED) else "bold red"
    if snapshot.fault is None:
        yield "FAULT", _UNKNOWN, "bold red"
    elif snapshot.fault:
        yield "FAULT", snapshot.fault, "bold red"
    elif status is not None and life is Life.RUNNING:
        text = f"{status.state}: {status.reason}".removesuffix(": ")
        yield "state", text, _STATE_STYLES.get(status.state, "")
    if snapshot.cure:
        yield "to do", snapshot.cure, "yellow"
    if status is not None:
        yield from _timing(status)
    yield from _episode(snapshot)
    if status is not None:
        yield "bundle", status.bundle[:12] or "none yet", ""
        yield "trainer", *_trainer(status)
    yield "uploads", *_uploads(snapshot.uploads)
    yield "journal", _journal(snapshot), ""
    if snapshot.tasks is None or snapshot.tasks:
        yield "tasks", _UNKNOWN if snapshot.tasks is None else ", ".join(snapshot.tasks), ""
    if snapshot.unreadable:
        yield "trouble", snapshot.unreadable, "bold red"


def _process(snapshot: Snapshot) -> str:
    if snapshot.life is Life.NEVER:
        return "none has ever run here"
    if snapshot.life is Life.UNKNOWN:
        return f"{_UNKNOWN} whether one drives the robot"
    age = snapshot.age_s
    when = "before this machine was started" if age == float("inf") else f"{_time(age)} ago"
    if age is None:
        return f"{snapshot.pid or 'unknown'} is there, and has told nothing"
    told = {
        Life.RUNNING: "is alive, heard of",
        Life.SILENT: "is there but SILENT, last heard of",
        Life.ENDED: "has ended,",
        Life.DIED: "DIED without a word, last heard of",
    }
    return f"{snapshot.pid or 'unknown'} {told[snapshot.life]} {when}"


def _timing(status: Status) -> Iterator[Row]:
    if not status.cycles:
        return
    jitter, cycle = status.jitter_us, status.cycle_us
    yield (
        "rate",
        f"{status.rate_hz:.2f} Hz, asked for {1 / status.period_s:.2f}; jitter {_spread(jitter)}",
        "",
    )
    late = status.overruns + status.skipped
    yield (
        "cycle",
        f"{_spread(cycle)}; {status.overruns} of {status.cycles} cycles overran, "
        f"{status.skipped} periods skipped",
        "yellow" if late else "",
    )


def _episode(snapshot: Snapshot) -> Iterator[Row]:
    episode = snapshot.episode
    if snapshot.uploads is None:
        yield "episode", _UNKNOWN, ""
    if episode is None:
        return
    ended = episode.ended or ("running" if snapshot.life is Life.RUNNING else "left open")
    yield "episode", f"{episode.number} ({episode.mode}): {episode.steps} steps, {ended}", ""
    if not episode.limited:
        yield "limits", f"none hit in the last {episode.looked_at} steps", ""
        return
    shown = list(episode.limits.items())[:_LIMITS_SHOWN]
    told = ", ".join(f"{reason} ×{count}" for reason, count in shown)
    more = len(episode.limits) - len(shown)
    rest = f", {more} others" if more else ""
    text = f"hit in {episode.limited} of the last {episode.looked_at} steps: {told}{rest}"
    yield "limits", text, "yellow"


def _trainer(status: Status) -> tuple[str, str]:
    if status.trainer is None:
        return "none: this robot works alone", ""
    if not status.connected:
        return f"{status.trainer}: NOT CONNECTED", "yellow"
    clock = ""
    if status.clock_ns is not None:
        offset, uncertainty = status.clock_ns
        clock = f", its clock {offset / 1e9:+.6f} s ± {uncertainty / 1e6:.3f} ms"
    return f"{status.trainer}: connected{clock}", ""


def _uploads(uploads: dict[str, int] | None) -> tuple[str, str]:
    if uploads is None:
        return _UNKNOWN, ""
    text = f"{uploads['pending']} pending, {uploads['acknowledged']} acknowledged"
    rejected = uploads["rejected"]
    more = f", {rejected} refused by the trainer (see its log)" if rejected else ""
    return text + more, "yellow" if rejected else ""


def _journal(snapshot: Snapshot) -> str:
    quota = "" if snapshot.quota_bytes is None else f" of {snapshot.quota_bytes / 1e6:g} MB"
    free = f"{_bytes(snapshot.disk_free_bytes, 1e9, 'GB')} free on its disk"
    waiting = ""
    if snapshot.status is not None and snapshot.life is Life.RUNNING:
        waiting = f", {snapshot.status.waiting_steps} steps wait to be written"
    return f"{_bytes(snapshot.journal_bytes, 1e6, 'MB')}{quota}, {free}{waiting}"


def _bytes(size: int | None, unit: float, name: str) -> str:
    return _UNKNOWN if size is None else f"{size / unit:.1f} {name}"


def _spread(us: dict[str, float]) -> str:
    return ", ".join(f"{name} {us[name] / 1e3:.2f}" for name in ("p50", "p99", "max")) + " ms"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.1f} s"
