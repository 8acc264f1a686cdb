"""`fieldtune doctor`: whether this machine is fit to train, and the cures.

Reads settings and prints; what is looked at stands in train/workstation.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fieldtune.errors import report_user_errors


def doctor(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Look also at this run's device, disk and port."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the file's."),
    ] = None,
) -> None:
    """Look at this machine: libraries, extras, GPU, pictures, clock, disk, ports; changes nothing.

    Each line is `ok`, `note` (training works without, less well) or `mend`, with the cure below.
    The exit status is 1 where something has to be mended.

    [bold]Examples[/bold]

      fieldtune doctor

      fieldtune doctor --config configs/reach.yaml device=cuda
    """
    with report_user_errors():
        from fieldtune.findings import tell_findings
        from fieldtune.train.workstation import look

        if config is None and overrides:
            raise typer.BadParameter(f"{overrides[0]!r} needs --config, whose settings it replaces")
        settings = None
        if config is not None:
            try:
                from fieldtune.train.runs.config_file import load_config
            except ImportError as error:  # a library is missing or broken: a finding, below
                typer.echo(f"{config} cannot be looked at: {error}", err=True)
            else:
                settings = load_config(config, overrides=overrides or [])
        status = tell_findings(look(settings))
    raise typer.Exit(status)
