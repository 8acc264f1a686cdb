"""`fieldtune fleet`: the trainer's robots, live in the terminal or once for a script.

Reads a run's folder and shows; what is known is train/bridge/fleet.py's. Imports what the command
needs when it runs.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import tell
from fieldtune.exit_status import MISTAKE

if TYPE_CHECKING:
    from rich.table import Table

    from fieldtune.train.bridge.fleet import FleetView, RobotLine, Watcher


def fleet(
    run: Annotated[Path, typer.Option("--run", help="The run's folder.")],
    once: Annotated[bool, typer.Option("--once", help="Print one look and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One look, as JSON.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 1.0,
) -> None:
    """Every robot of a run: when it was last heard of, what it does, and what has come from it."""
    from rich.console import Console

    from fieldtune.train.bridge.fleet import Watcher

    if not (run / "config.yaml").exists():
        tell(f"{run}: no run here: give --run its folder")
        raise typer.Exit(MISTAKE)
    watcher = Watcher(run)
    if as_json:
        typer.echo(json.dumps(_facts(watcher.look()), indent=1))
    elif once:
        width = None if Console().is_terminal else 200
        Console(width=width).print(table(watcher.look()))
    else:
        with contextlib.suppress(KeyboardInterrupt):
            _live(watcher, every)


def _facts(view: FleetView) -> dict[str, object]:
    """For programs: the same names, and null for what nobody told."""
    told = asdict(view)
    for line in told["robots"]:
        if line["silent_s"] == float("inf"):  # before the machine was started
            line["silent_s"] = None
    return told


def table(view: FleetView) -> Table:
    """For a terminal."""
    from rich.table import Table
    from rich.text import Text

    from fieldtune.robot.rationed_log import printable

    unknown = view.damaged - sum(len(line.damaged) for line in view.robots)
    nobodys = f"damaged episodes of no known robot: {unknown}" if unknown else ""
    made = Table(
        *("robot", "state", "heard of", "bundle", "pending", "ingested", "steps", "clock offset"),
        *("latest fault", "quarantined", "damaged here"),
        box=None,
        pad_edge=False,
        title=f"trainer: {view.trainer}" + (f"; {nobodys}" if nobodys else ""),
        title_style="" if view.running else "yellow",
        title_justify="left",
    )
    for line in view.robots:
        # Names, states and faults are a robot's own words.
        made.add_row(*(Text(printable(text), style) for text, style in _cells(line)))
    return made


def _cells(line: RobotLine) -> list[tuple[str, str]]:
    heard = "" if line.silent_s in (None, float("inf")) else f"{line.silent_s:.1f} s ago"
    state = (line.state or "not connected") if line.present else "silent"
    bad = not line.present or line.state == "fault"
    clock = ""
    if line.clock_ns is not None:
        clock = f"{line.clock_ns[0] / 1e9:+.6f} s ± {line.clock_ns[1] / 1e6:.3f} ms"
    aside = f"{line.quarantined}; {line.quarantine_reason}" if line.quarantined else ""
    lost = (
        f"{len(line.damaged)}; episode {', '.join(map(str, line.damaged))}" if line.damaged else ""
    )
    fault = f"{line.fault} ({line.faulted_ago} episodes ago)" if line.fault else ""
    return [
        (line.robot, "bold"),
        (state, "red" if bad else "green"),
        (heard, ""),
        (line.bundle_id[:12], ""),
        ("" if line.pending is None else str(line.pending), ""),
        (str(line.episodes), ""),
        (str(line.steps), ""),
        (clock, ""),
        (fault, "yellow"),
        (aside, "yellow"),
        (lost, "red"),
    ]


def _live(watcher: Watcher, every_s: float) -> None:
    from rich.live import Live

    with Live(table(watcher.look()), auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(every_s)
            live.update(table(watcher.look()), refresh=True)
