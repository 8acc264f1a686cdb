"""`fieldtune view`: a run's curves, robots and what is believed of their tasks, in Rerun's viewer.

Reads options; what is shown is train/view's. Imports what the command needs when it runs.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import report_user_errors, tell
from fieldtune.exit_status import MISTAKE
from fieldtune.robot.cli.view import Connect, Host, Port, Save, Web, WebPort

if TYPE_CHECKING:
    from fieldtune.export.bundle import Bundle
    from fieldtune.robot.view.belief_space import Space

log = logging.getLogger(__name__)


def view(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    save: Save = None,
    web: Web = False,
    host: Host = "127.0.0.1",
    port: Port = 9877,
    web_port: WebPort = 9090,
    connect: Connect = None,
) -> None:
    """Show a run: learning curves, its robots, their episodes, and what these say of the task.

    Goes on while the run does; with --save it writes what is there now. Needs
    `pip install "fieldtune\\[view]"`.

    [bold]Examples[/bold]

      fieldtune view runs/reach

      fieldtune view runs/reach --web

      fieldtune view runs/reach --save run.rrd
    """
    if not (run / "config.yaml").exists():
        tell(f"{run}: no run here: give its folder")
        raise typer.Exit(MISTAKE)
    with report_user_errors():
        from fieldtune.robot.view.target import Target, address, ended_by_signals, modest, opened
        from fieldtune.train.view.show import RunPicture, show_run

        logging.basicConfig(format="%(levelname)s %(message)s")
        target = Target(save, host if web else None, connect, port, web_port)
        modest()
        name = re.sub(r"\W+", "-", str(run.absolute())).strip("-")
        with ended_by_signals() as ended, opened(target, name) as recording:
            if target.web is not None:
                typer.echo(f"open {address(target)}")
            picture = RunPicture(recording, run, lambda bundle: _space(run, bundle))
            show_run(picture, ended, once=save is not None)
    if save is not None:
        typer.echo(f"{save}: open it with `rerun {save}`")


def _space(run: Path, bundle: Bundle) -> Space | None:
    """The task's own space, where family and data are here."""
    from fieldtune.errors import UserError
    from fieldtune.sim.registry import family
    from fieldtune.train.data.dataset import read_dataset
    from fieldtune.train.runs.opening import settings_of
    from fieldtune.train.view.task_space import task_space

    try:
        config = settings_of(run)
        known = family(config.family, **config.family_options)
        dataset = read_dataset(Path(config.data.path), known)
    except (UserError, OSError) as error:
        log.warning("beliefs are drawn over z, not over tasks: %s", error)
        return None
    return task_space(bundle.manifest, dataset.train_tasks, known.task_fields)
