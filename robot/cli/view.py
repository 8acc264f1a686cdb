"""`fieldtune-robot view`: a picture of what the robot does, now or afterwards, in Rerun's viewer.

Reads options; what is shown is robot/view's. Imports what the command needs when it runs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.robot.cli.options import Overrides, driver_of, episode_range

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig
    from fieldtune.robot.view.target import Target

Save = Annotated[Path | None, typer.Option("--save", help="Write a .rrd file; opens no viewer.")]
Web = Annotated[bool, typer.Option("--web", help="Serve a browser, until Ctrl-C.")]
Host = Annotated[
    str, typer.Option(help="Where --web listens; 0.0.0.0 lets everybody in who reaches it.")
]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Of --web's data.")]
WebPort = Annotated[int, typer.Option(min=1, max=65535, help="Of --web's page.")]
Connect = Annotated[
    str | None,
    typer.Option(help="A viewer elsewhere, at HOST:9876 (there: `rerun`)."),
]


def view(
    config: Annotated[
        Path | None, typer.Option("--config", help="A run's YAML file: that robot, as it runs.")
    ] = None,
    overrides: Overrides = None,
    journal: Annotated[
        Path | None, typer.Option(help="A journal's file, afterwards; --config adds the model.")
    ] = None,
    episodes: Annotated[
        str | None, typer.Option(help="A-B, or one number, afterwards; all of a --journal if not.")
    ] = None,
    bundles: Annotated[
        list[Path] | None,
        typer.Option(help="Folders with bundles; `bundles` and `tasks` beside the journal."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="MJCF or URDF to show; robot.limits.model if not given."),
    ] = None,
    save: Save = None,
    web: Web = False,
    host: Host = "127.0.0.1",
    port: Port = 9877,
    web_port: WebPort = 9090,
    connect: Connect = None,
) -> None:
    """Show what the robot does, in 3-D and in curves. Changes nothing, and slows nothing.

    Live from its state folder, as `monitor` reads it; or from a journal, to be scrubbed. Needs
    `pip install "fieldtune\\[view]"`.

    [bold]Examples[/bold]

      fieldtune-robot view --config configs/reach.yaml

      fieldtune-robot view --config configs/reach.yaml --web

      fieldtune-robot view --journal runs/robot-reach/journal.sqlite --episodes 3-7 --save trial.rrd
    """
    if config is None and journal is None:
        raise typer.BadParameter("give --config (a robot as it runs) or --journal (afterwards)")
    if config is None and overrides:
        raise typer.BadParameter(f"{overrides[0]!r} is a setting, and needs --config")
    chosen = episode_range(episodes)
    with report_user_errors():
        from fieldtune.robot.config import RobotConfig
        from fieldtune.robot.view.target import Target
        from fieldtune.settings import load

        target = Target(save, host if web else None, connect, port, web_port)
        settings = None
        if config is not None:
            settings = load(RobotConfig, config, section="robot", overrides=overrides or [])
        afterwards = None if journal is None and episodes is None else chosen
        _show(target, settings, config, journal, afterwards, bundles or [], model)


def _show(
    target: Target,
    settings: RobotConfig | None,
    config: Path | None,
    journal: Path | None,
    afterwards: tuple[int, int | None] | None,
    bundles: list[Path],
    model: str | None,
) -> None:
    """The episodes from and to `afterwards`; None: live."""
    import logging

    from fieldtune.robot.bundles.store import kept_beside
    from fieldtune.robot.view.show import robot_picture, show_live, show_recorded
    from fieldtune.robot.view.target import address, ended_by_signals, modest, opened

    logging.basicConfig(format="%(levelname)s %(message)s")
    modest()
    where = journal
    if where is None:
        assert settings is not None
        where = settings.journal
    name = re.sub(r"\W+", "-", str(where.absolute())).strip("-")
    with ended_by_signals() as ended, opened(target, name) as recording:
        if target.web is not None:
            typer.echo(f"open {address(target)}")
        picture = robot_picture(
            recording,
            folders=[*bundles, *kept_beside(where)],
            config=settings,
            driver=lambda: driver_of(settings, config),
            model=model,
            live=afterwards is None,
        )
        if afterwards is None:
            assert settings is not None
            assert config is not None
            show_live(
                recording, settings, config, picture, ended, until_end=target.save is not None
            )
        else:
            first, last = afterwards
            count = show_recorded(recording, where, picture, first=first, last=last, ended=ended)
            typer.echo(f"{where}: {count} episodes shown")
            if target.stays:
                ended.wait()
    if target.save is not None:
        typer.echo(f"{target.save}: open it with `rerun {target.save}`")
