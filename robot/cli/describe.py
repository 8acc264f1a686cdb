"""`fieldtune-robot describe`: writes down what a hardware server offers.

Reads settings, asks the server and prints; the file is robot/drivers/hardware/description.py's.
Imports what the command needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.robot.cli.options import Config, Overrides

if TYPE_CHECKING:
    from fieldtune.robot.drivers.hardware.description import HardwareDescription


def describe(
    config: Config,
    overrides: Overrides = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write over a description that differs.")
    ] = False,
) -> None:
    """Write what the hardware server offers to robot.driver.description, and show it.

    The driver `zmq` reads its fields there while disconnected, and refuses a server that offers
    anything else. Nothing moves.
    """
    with report_user_errors():
        from fieldtune.robot.config import RobotConfig
        from fieldtune.robot.drivers.hardware.description import (
            read_description,
            require_same,
            write_description,
        )
        from fieldtune.robot.drivers.hardware.options import ZmqOptions, served_description
        from fieldtune.settings import ConfigError, check, load

        settings = load(RobotConfig, config, section="robot", overrides=overrides or [])
        if settings.driver.name != "zmq":
            raise ConfigError(
                f"{config}: 'robot.driver.name' is {settings.driver.name!r}: only the driver 'zmq' "
                "has a server to ask"
            )
        options = check(ZmqOptions, settings.driver.options, source=str(config), key="robot.driver")
        served = served_description(options)
        if options.description.exists() and not replace:
            written = read_description(options.description, "--replace")
            require_same(written, served, options.address)
        else:
            write_description(options.description, served)
    _show(served, options.description)


def _show(served: HardwareDescription, path: Path) -> None:
    typer.echo(
        f"{served.robot}, {served.period_s:g} s a control period, no command acts for longer than "
        f"{served.max_lease_s:g} s"
    )
    for kind, fields in (
        ("observation", served.observation_fields),
        ("action", served.action_fields),
        ("signal", served.signal_fields),
    ):
        for field in fields:
            bounds = zip(field.low, field.high, strict=True)
            ranges = " ".join(f"[{low:g}, {high:g}]" for low, high in bounds)
            typer.echo(f"{kind} {field.name} ({field.unit or 'no unit'}): {ranges}")
    typer.echo(f"{path}: look at it before anything moves")
