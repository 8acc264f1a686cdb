"""A journal's entries in words: tables for people, flat facts for programs.

Knows what an entry holds and how a terminal prints; reads nothing itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from fieldtune.robot.journal.entry import Entry
    from fieldtune.robot.journal.summary import StepSummary


def started(entry: Entry) -> str:
    """The robot's wall clock at the start, in local time; its monotonic one where that is all."""
    if entry.wall_ns is None:
        return f"{entry.header.started_ns / 1e9:.1f} s after boot"
    return datetime.fromtimestamp(entry.wall_ns / 1e9).strftime("%Y-%m-%d %H:%M:%S")


def facts(entry: Entry) -> dict[str, Any]:
    """All that is known of an episode without its steps, in names for programs and people."""
    from msgspec import UNSET, UnsetType  # here: `doctor` starts where this library is broken

    header, footer = entry.header, entry.footer
    task = None if isinstance(header.task, UnsetType) else header.task
    wall = None if entry.wall_ns is None else datetime.fromtimestamp(entry.wall_ns / 1e9)
    return {
        "episode": entry.number,
        "started": None if wall is None else wall.astimezone().isoformat(timespec="milliseconds"),
        "started_monotonic_ns": header.started_ns,
        "robot": header.robot,
        "family": header.family,
        "mode": str(header.mode),
        "trial": header.trial,
        "seed": header.seed,
        "period_s": header.period_s,
        "boot_session": header.boot_session,
        "bundle": header.bundle_id,
        "by": None if header.by is UNSET else header.by,
        "task": None if task is None else task.name,
        "task_parameters": None if task is None else task.parameters,
        "steps": entry.steps,
        "ended": None if footer is None else str(footer.end_reason),
        "fault": None if footer is None else footer.fault,
        "clock_offset_ns": None if footer is None else footer.clock_offset_ns,
        "clock_uncertainty_ns": None if footer is None else footer.clock_uncertainty_ns,
        "upload": str(entry.state),
        "upload_reason": entry.reason,
        "sha256": entry.sha256,
    }


def print_summary(summary: StepSummary) -> None:
    """What `show` says about the steps."""
    typer.echo(f"{'overruns':<22} {summary.overruns} of {summary.steps} steps")
    typer.echo(f"{'clamped':<22} {summary.clamped} of {summary.steps} steps")
    for reason, count in summary.reasons.items():
        typer.echo(f"{'':<22} {count:>6}  {reason}")
    print_table(
        ("ms", "p50", "p99", "max"),
        [
            (name, *(f"{value:.3f}" for value in (spread.p50_ms, spread.p99_ms, spread.max_ms)))
            for name, spread in summary.spreads.items()
        ],
    )


def print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Whole lines, also into a pipe: rich would cut them at 80 columns there."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    width = None if Console().is_terminal else 200
    Console(width=width, markup=False, highlight=False).print(table)
