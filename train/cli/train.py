"""`fieldtune train`: its options and examples; the work is train/phases/offline.py's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fieldtune.errors import RESUMABLE, UserError, report_user_errors
from fieldtune.train.cli.options import Folder, Overrides, say_device


def train(
    run: Folder,
    overrides: Overrides = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="The run's YAML file.  \\[that of a run that is there]"),
    ] = None,
    updates: Annotated[
        int | None,
        typer.Option(min=1, help="End at this many in all, also beyond what the run was made for."),
    ] = None,
    until: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many updates; run again to go on.")
    ] = None,
    begin_from: Annotated[
        Path | None,
        typer.Option("--from", help="A run whose newest weights this one, a new one, begins with."),
    ] = None,
) -> None:
    """Phase 1: meta-train on the dataset. Run the same command again to resume.

    [bold]Examples[/bold]

      fieldtune train --config configs/reach.yaml --run runs/reach

      fieldtune train --run runs/reach --updates 20000

      fieldtune train --config more-tasks.yaml --run runs/more --from runs/reach
    """
    with report_user_errors(RESUMABLE):
        from fieldtune.train.console import progress
        from fieldtune.train.phases.offline import train_offline
        from fieldtune.train.runs.config_file import load_config
        from fieldtune.train.runs.longer import open_longer
        from fieldtune.train.runs.opening import open_run, settings_of
        from fieldtune.train.runs.warm_start import begin_with, require_start

        say_device()
        if config is not None:
            settings = load_config(config, overrides=overrides or [])
        elif overrides:
            raise UserError(f"{overrides[0]}: without --config, a run's own settings hold")
        else:
            settings = settings_of(run)
        if begin_from is not None:  # before anything is created or changed
            require_start(settings, run, begin_from)
        opened = open_run(settings, run) if updates is None else open_longer(settings, run, updates)
        if begin_from is not None:
            begin_with(opened, begin_from)
        total = opened.config.offline.updates
        with progress("training", "updates") as advance:
            train_offline(opened, until=until, on_update=lambda done: advance(done, total))
    typer.echo(f"checkpoint: {opened.offline_checkpoint}")
