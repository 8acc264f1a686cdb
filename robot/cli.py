"""The robot's command line. Reads settings, starts one program, explains errors in one place.

Imports what a command needs when it runs, so that `--help` is there at once.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot.describe_cli import describe
from robot.journal_cli import app as journal_app
from robot.keys_cli import app as keys_app
from robot.stop_cli import stop

if TYPE_CHECKING:
    from robot.config import RobotConfig
    from robot.safety.estop import EStop

FAULT_EXIT = 3

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    help="""The robot's side of Fieldtune.

    [bold]Examples[/bold]

    Explore without rewards, with bundles from the trainer named in the config:

      fieldtune-robot run --config configs/reach.yaml

    Twenty episodes of one bundle, as fast as the simulated robot can:

      fieldtune-robot run --config configs/reach.yaml --bundle my.bundle --episodes 20 robot.driver.time_scale=.inf

    Adapt to a task from two episodes with rewards:

      fieldtune-robot adapt --config configs/reach.yaml 'robot.driver.task=[0.6, 0.2, 0.2]'
    """,  # noqa: E501
)
app.command()(describe)
app.command()(stop)
app.add_typer(journal_app, name="journal")
app.add_typer(keys_app, name="keys")

Config = Annotated[
    Path, typer.Option("--config", help="A run's YAML file; its `robot:` section is read.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the file's."),
]
Bundle = Annotated[
    Path | None, typer.Option("--bundle", help="Start with this bundle, not the newest one here.")
]
Output = Annotated[
    Path | None, typer.Option("--summary", help="Write what came of it there, as one JSON line.")
]


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
    with _explained():
        from dataclasses import asdict

        from robot.daemon import Daemon
        from robot.drivers.lookup import create_driver

        settings = _load(config, overrides)
        driver = create_driver(settings, config)
        daemon = Daemon(settings, driver, bundle=bundle, episodes=episodes)
        _stop_on_signals(daemon.request_stop, daemon.estop)
        result = daemon.run()
        if summary is not None:
            _write_line(summary, asdict(result))
    if result.fault:
        raise typer.Exit(FAULT_EXIT)


@app.command()
def adapt(
    config: Config,
    overrides: Overrides = None,
    bundle: Bundle = None,
    context_episodes: Annotated[int, typer.Option(min=0, help="Episodes with rewards.")] = 2,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes on the task, after them.")] = 1,
    summary: Output = None,
) -> None:
    """Adapt to the task from a few episodes with rewards, then do it."""
    with _explained():
        from rich.console import Console
        from rich.table import Table

        from robot.adapt import Adaptation, reward_source
        from robot.drivers.lookup import create_driver
        from robot.station import newest_bundle

        settings = _load(config, overrides)
        driver = create_driver(settings, config)
        adaptation = Adaptation(
            settings,
            driver,
            reward_source(driver),
            bundle=bundle or newest_bundle(settings),
            context_episodes=context_episodes,
            episodes=episodes,
        )
        _stop_on_signals(adaptation.request_stop, adaptation.estop)
        table = Table("episode", "z from", "steps", "return", "ended")
        returns: dict[str, list[float]] = {"context": [], "adapted": []}
        for episode in adaptation.run():
            source = "posterior" if episode.acting else "prior"
            returns["adapted" if episode.acting else "context"].append(episode.total_reward)
            table.add_row(
                str(episode.number),
                source,
                str(episode.steps),
                f"{episode.total_reward:.2f}",
                str(episode.reason),
            )
        Console().print(table)
        if summary is not None:
            told = {"returns": returns, "fault": adaptation.fault}
            _write_line(summary, told | {"cycles": adaptation.cycles})
    if adaptation.fault:
        raise typer.Exit(FAULT_EXIT)


@app.command()
def rearm(
    config: Config,
    overrides: Overrides = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; you have looked.")] = False,
) -> None:
    """Clear a latched fault, after a person has looked at the robot."""
    with _explained():
        from robot.safety.latch import latched, release

        settings = _load(config, overrides)
        reason = latched(settings.latch)
        if reason is None:
            typer.echo(f"robot {settings.name!r} is not in fault")
            return
        typer.echo(f"robot {settings.name!r} is in fault: {reason}")
        if not yes:
            typer.confirm("Have you looked at the robot, and is it safe to move?", abort=True)
        release(settings.latch)
        typer.echo("re-armed")


def _load(path: Path, overrides: list[str] | None) -> RobotConfig:
    from robot.config import RobotConfig
    from robot.settings import load

    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("robot").setLevel(logging.INFO)
    return load(RobotConfig, path, section="robot", overrides=overrides or [])


def _stop_on_signals(request_stop: Callable[[str], None], estop: EStop) -> None:
    """SIGINT and SIGTERM end the run safely; the second SIGINT ends it the hard way.

    SIGUSR1 is an emergency stop.
    """

    def stop(number: int, frame: Any) -> None:  # noqa: ARG001
        request_stop(signal.Signals(number).name)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    estop.listen_to_signal()


def _write_line(path: Path, content: dict[str, Any]) -> None:
    from export.atomic import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(content) + "\n").encode())


@contextmanager
def _explained() -> Iterator[None]:
    """Turn every error that has a cure into its message and exit status 1."""
    from export.bundle import BundleError
    from robot.adapt import NoRewards
    from robot.bundle_record import BundleRecordError
    from robot.drivers.driver import DriverFault
    from robot.journal_file import JournalError
    from robot.keys import KeysError
    from robot.safety.limits import LimitFault
    from robot.settings import ConfigError
    from robot.station import BundleRefused, Latched
    from robot.wire import WireError

    known = (
        BundleError,
        BundleRecordError,
        BundleRefused,
        ConfigError,
        DriverFault,
        JournalError,
        KeysError,
        Latched,
        LimitFault,
        NoRewards,
        WireError,
    )
    try:
        yield
    except known as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
