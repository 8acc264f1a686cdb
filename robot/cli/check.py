"""`fieldtune-robot check`: config, bundle and robot held against each other, before an episode.

Reads settings and prints. Imports what the command needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.robot.cli.options import Bundle, Config, Overrides, load_settings

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig
    from fieldtune.robot.loop.episode_runner import EpisodeRunner


def check(
    config: Config,
    overrides: Overrides = None,
    bundle: Bundle = None,
    connect: Annotated[
        bool,
        typer.Option(
            "--connect",
            help="Without --bundle: try the driver, home and hold still. With it: read once, and "
            "dry-run the policy on that; nothing moves.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before homing; its way is clear.")
    ] = False,
    still: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="The action that leaves the robot where it is."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="What trying the driver showed, as JSON.")
    ] = False,
) -> None:
    """Print the limits that would be in force, and what does not fit.

    With --connect and no --bundle the driver is tried: looked at, homed (after asking, which moves
    the robot) and held still for 100 cycles. What is wrong is said, and the exit status is not 0.

    With --connect and --bundle nothing moves, and the observation is printed field by field: push
    the robot by hand, and see that the right number changes in the right direction.
    """
    with report_user_errors():
        settings = load_settings(config, overrides)
        if connect and bundle is None:
            from fieldtune.robot.cli.check_connect import try_driver

            _require_undriven(settings)
            try_driver(settings, config, still=still or [], yes=yes, as_json=as_json)
        elif yes or still or as_json:
            raise typer.BadParameter(
                "--yes, --still and --json go with --connect, without --bundle"
            )
        else:
            _check_bundle(settings, config, bundle, connect)


def _check_bundle(settings: RobotConfig, config: Path, bundle: Path | None, connect: bool) -> None:
    from fieldtune.robot.drivers.lookup import create_driver
    from fieldtune.robot.journal.recorder import Recorder
    from fieldtune.robot.loop.bundle_fit import newest_bundle
    from fieldtune.robot.loop.episode_runner import EpisodeRunner
    from fieldtune.robot.safety.build import describe
    from fieldtune.robot.safety.latch import latched

    driver = create_driver(settings, config)  # first: what is wrong with it, no bundle mends
    path = bundle or newest_bundle(settings)
    runner = EpisodeRunner(settings, driver, Recorder(settings.journal))
    found, limits = runner.check(path)
    manifest = found.manifest
    typer.echo(
        f"bundle {found.id[:12]} fits robot {settings.name!r}: {manifest.family}, "
        f"{1 / manifest.period_s:g} Hz, {manifest.horizon} steps an episode"
    )
    if not connect:
        for line in describe(limits, settings.limits.max_run_s):
            typer.echo(line)
    reason = latched(settings.latch)
    if reason is not None:
        typer.echo(f"the robot is in fault: {reason}")
    if connect:
        _require_undriven(settings)
        try:
            runner.connect()
            runner.take(path)
            _show_observation(runner)
        finally:
            runner.close()


def _require_undriven(settings: RobotConfig) -> None:
    from fieldtune.robot.drivers.driver import DriverFault
    from fieldtune.robot.journal.file import writer

    driving = writer(settings.journal)
    if driving is not None:
        raise DriverFault(f"process {driving} drives robot {settings.name!r}: stop it first")


def _show_observation(runner: EpisodeRunner) -> None:
    values = iter(runner.driver.read().values)
    for field in runner.driver.observation_fields:
        numbers = " ".join(f"{next(values):.4g}" for _ in range(field.width))
        typer.echo(f"observation {field.name}: {numbers} {field.unit}")
