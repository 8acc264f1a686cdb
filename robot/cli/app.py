"""The robot's command line. Reads settings, starts one program, explains errors in one place.

Imports what a command needs when it runs, so that `--help` is there at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fieldtune.errors import UserError, report_user_errors
from fieldtune.exit_status import FAULT
from fieldtune.robot.cli.adapt import act, adapt
from fieldtune.robot.cli.bundle import app as bundle_app
from fieldtune.robot.cli.check import check
from fieldtune.robot.cli.describe import describe
from fieldtune.robot.cli.doctor import doctor
from fieldtune.robot.cli.journal import app as journal_app
from fieldtune.robot.cli.keys import app as keys_app
from fieldtune.robot.cli.monitor import monitor
from fieldtune.robot.cli.options import (
    Bundle,
    Config,
    Output,
    Overrides,
    load_settings,
    load_to_drive,
    write_line,
)
from fieldtune.robot.cli.record import record
from fieldtune.robot.cli.signals import stop_on_signals
from fieldtune.robot.cli.stop import stop
from fieldtune.robot.cli.tasks import app as tasks_app
from fieldtune.robot.cli.view import view
from fieldtune.versions import add_version

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""The robot's side of Fieldtune.

    [bold]Examples[/bold]

    Explore without rewards, with bundles from the trainer named in the config:

      fieldtune-robot run --config configs/reach.yaml

    Twenty episodes of one bundle, as fast as the simulated robot can:

      fieldtune-robot run --config configs/reach.yaml --bundle my.bundle --episodes 20 robot.driver.time_scale=.inf

    Adapt to a task from two episodes with rewards:

      fieldtune-robot adapt --config configs/reach.yaml --save left 'robot.driver.task=[0.6, 0.2, 0.2]'

    Do that task again, tomorrow:

      fieldtune-robot act --config configs/reach.yaml --task left

    Record episodes by hand, with rewards, as data for phase 1:

      fieldtune-robot record --config configs/reach.yaml --by hand --steps 50 --rewards driver --task left
    """,  # noqa: E501
)
add_version(app, ("numpy", "onnxruntime", "pyzmq", "msgspec", "pydantic"))
app.command()(adapt)
app.command()(act)
app.command()(check)
app.command()(describe)
app.command()(doctor)
app.command()(monitor)
app.command()(record)
app.command()(stop)
app.command()(view)
app.add_typer(bundle_app, name="bundle")
app.add_typer(journal_app, name="journal")
app.add_typer(keys_app, name="keys")
app.add_typer(tasks_app, name="tasks")


@app.command()
def run(
    config: Config,
    overrides: Overrides = None,
    bundle: Bundle = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many; else explore until stopped.")
    ] = None,
    summary: Output = None,
) -> None:
    """Explore without rewards, record everything, and swap bundles between episodes."""
    with report_user_errors():
        from dataclasses import asdict

        from fieldtune.robot.bundles.judge import BundleJudge
        from fieldtune.robot.bundles.store import stored_bundles

        settings = load_to_drive(config, overrides, summary)
        judge = BundleJudge(settings.bundle_record, settings.probation_episodes)
        for first in [bundle] if bundle is not None else stored_bundles(settings.bundles)[:1]:
            judge.expect(first)  # its trial goes on while the rest is loaded

        from fieldtune.robot.drivers.lookup import create_driver
        from fieldtune.robot.programs.explore import Daemon

        driver = create_driver(settings, config)
        daemon = Daemon(settings, driver, bundle=bundle, episodes=episodes, judge=judge)
        stop_on_signals(daemon.robot.request_stop, daemon.robot.estop)
        result = daemon.run()
        if summary is not None:
            write_line(summary, asdict(result))
    if result.fault:
        raise typer.Exit(FAULT)


@app.command()
def rearm(
    config: Config,
    overrides: Overrides = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; you have looked.")] = False,
) -> None:
    """Clear a latched fault, after a person has looked at the robot."""
    with report_user_errors():
        from fieldtune.robot.monitor.driving import hint
        from fieldtune.robot.safety.history import remember, since
        from fieldtune.robot.safety.latch import latched, release

        settings = load_settings(config, overrides)
        reason = latched(settings.latch)
        if reason is None:
            where = f"{settings.state_dir}{hint(settings)}"
            typer.echo(f"robot {settings.name!r} is not in fault in {where}")
            return
        typer.echo(f"robot {settings.name!r} is in fault in {settings.state_dir}: {reason}")
        if not yes:
            _ask_whether_it_may_move()
        faulted_at = since(settings.latch)
        release(settings.latch)
        remember(settings.faults, reason, faulted_at)
        typer.echo("re-armed")


def _ask_whether_it_may_move() -> None:
    """Return once a person says so. Raises `UserError` where there is no terminal to ask at."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise UserError(
            "it stays in fault: there is no terminal here to ask at whether it may move; look at "
            "the robot, then say --yes"
        )
    typer.confirm("Have you looked at the robot, and is it safe to move?", abort=True)
