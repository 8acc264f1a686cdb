"""`fieldtune-robot monitor`: what the robot does, live in the terminal or once for a script.

Reads settings and shows; what is known is robot/monitor/snapshot.py's. Imports what the command
needs when it runs.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.exit_status import FAULT, NOBODY
from fieldtune.robot.cli.options import Config, Overrides

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig


def monitor(
    config: Config,
    overrides: Overrides = None,
    once: Annotated[bool, typer.Option("--once", help="Print one look and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One look, as JSON.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 1.0,
) -> None:
    """Show what the robot does, and what to do about what is wrong. Changes nothing.

    With --once or --json it ends with 0 when the robot's process is alive and well, 3 when the
    robot is in fault, 4 when no process drives it, the one that does is silent, or that cannot be
    known.
    """
    with report_user_errors():
        from fieldtune.robot.config import RobotConfig
        from fieldtune.robot.monitor.driving import hint
        from fieldtune.robot.monitor.snapshot import Life, look
        from fieldtune.robot.monitor.text import facts, lines
        from fieldtune.settings import load

        settings = load(RobotConfig, config, section="robot", overrides=overrides or [])
        if not (once or as_json):
            with contextlib.suppress(KeyboardInterrupt):
                _live(settings, config, every)
            return
        snapshot = look(settings, config)
        typer.echo(json.dumps(facts(snapshot), indent=1) if as_json else lines(snapshot))
    if snapshot.fault:
        raise typer.Exit(FAULT)
    if snapshot.life is not Life.RUNNING or snapshot.fault is None:
        if snapshot.life not in (Life.RUNNING, Life.SILENT, Life.UNKNOWN):
            where = f"no process drives a robot in {settings.state_dir}{hint(settings)}"
            typer.echo(where, err=True)
        raise typer.Exit(NOBODY)


def _live(settings: RobotConfig, config: Path, every_s: float) -> None:
    from rich.live import Live

    from fieldtune.robot.monitor.snapshot import look
    from fieldtune.robot.monitor.text import table

    with Live(table(look(settings, config)), auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(every_s)
            live.update(table(look(settings, config)), refresh=True)
