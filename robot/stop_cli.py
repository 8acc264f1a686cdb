"""`fieldtune-robot stop`: the emergency stop, from another terminal.

Latches, then waits for the process that drives the robot to say that it holds. It needs neither the
network nor that process's help, and works where the disk is full. Imports when it runs.
"""

from __future__ import annotations

import getpass
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

_LOOK_S = 0.01


def stop(
    config: Annotated[
        Path, typer.Option("--config", help="A run's YAML file; its `robot:` section is read.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the file's."),
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0.0, help="How long to wait until the robot holds.")
    ] = 2.0,
    reason: Annotated[
        str, typer.Option("--reason", help="What you saw; kept with the fault.")
    ] = "",
) -> None:
    """Emergency stop: hold the robot now, and keep it in fault until `rearm`.

    Ends with 0 when the robot holds, or nothing drives it; with 1 when that is not certain. It is
    no replacement for a button that cuts the power.
    """
    from robot.config import RobotConfig
    from robot.safety.latch import latch, latched
    from robot.settings import ConfigError, load

    try:
        settings = load(RobotConfig, config, section="robot", overrides=overrides or [])
        text = f"emergency stop by {_user()}" + (f": {reason}" if reason else "")
        latch(settings.latch, text.replace("\n", " "))
        told = latched(settings.latch)
        driving = _wait(settings.latch, settings.journal, wait_s)
    except (ConfigError, OSError) as error:
        print(f"error: NOT STOPPED: {error}: use the robot's own button", file=sys.stderr)
        raise typer.Exit(1) from None
    if driving:
        print(
            f"error: process {driving} has not said within {wait_s:g} s that the robot "
            f"{settings.name!r} holds: use the robot's own button",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    typer.echo(
        f"robot {settings.name!r} is stopped, and stays in fault until it is re-armed: {told}"
    )


def _wait(latch_path: Path, journal: Path, wait_s: float) -> str:
    """Wait until somebody holds the robot, or nobody drives it; else name who still does."""
    from robot.journal_file import writer
    from robot.safety.latch import held_by

    deadline = time.monotonic() + wait_s
    while True:
        driving = writer(journal)
        if driving is None or held_by(latch_path) is not None:
            return ""
        if time.monotonic() >= deadline:
            return driving
        time.sleep(_LOOK_S)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user, as in many containers
        return "an unnamed user"
