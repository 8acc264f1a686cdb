"""`fieldtune-robot doctor`: whether this computer is fit to run a robot, and the cures.

Reads settings and prints; what is looked at stands in robot/computer.py.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.robot.cli.options import Overrides

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig


def doctor(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Look also at this robot's disk, trainer and server."),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Look at this computer: libraries, extras, real time, clock, disk and ports; nothing moves.

    Each line is `ok`, `note` (a robot runs without, less well) or `mend`, with the cure below.
    The exit status is 1 where something has to be mended.

    [bold]Examples[/bold]

      fieldtune-robot doctor

      fieldtune-robot doctor --config configs/reach.yaml
    """
    with report_user_errors():
        from fieldtune.findings import tell_findings
        from fieldtune.robot.computer import look
        from fieldtune.robot.config import RobotConfig
        from fieldtune.settings import load

        if config is None and overrides:
            raise typer.BadParameter(f"{overrides[0]!r} needs --config, whose settings it replaces")
        settings = (
            None
            if config is None
            else load(RobotConfig, config, section="robot", overrides=overrides or [])
        )
        status = tell_findings(look(settings, partial(_require_driver, source=str(config))))
    raise typer.Exit(status)


def _require_driver(settings: RobotConfig, source: str) -> None:
    from fieldtune.robot.drivers.lookup import require_driver  # loads what may be broken

    require_driver(settings, source)
