"""`fieldtune-robot stop`: the emergency stop, from another terminal.

Latches, then waits for the process that drives the robot to say that it holds. It needs neither the
network nor that process's help, and works where the disk is full. Imports when it runs.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import tell
from fieldtune.exit_status import MISTAKE, NOBODY
from fieldtune.robot.cli.options import Config, Overrides

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig
    from fieldtune.robot.monitor.driving import Driving

_LOOK_S = 0.01


def stop(
    config: Config,
    overrides: Overrides = None,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0.0, help="How long to wait until the robot holds.")
    ] = 2.0,
    reason: Annotated[
        str, typer.Option("--reason", help="What you saw; kept with the fault.")
    ] = "",
) -> None:
    """Emergency stop: hold the robot now, and keep it in fault until `rearm`.

    Processes that drive a robot of this name in other folders of this machine are stopped too.

    Ends with 0 when the robot holds, with 1 when that is not certain, with 4 when no process drives
    it: it is latched all the same, so that none begins to. It is no replacement for a button that
    cuts the power.
    """
    from fieldtune.file_errors import sentence
    from fieldtune.robot.config import RobotConfig
    from fieldtune.robot.safety.latch import latched
    from fieldtune.settings import ConfigError, load

    process = None
    try:
        settings = load(RobotConfig, config, section="robot", overrides=overrides or [])
        process = _driver_of(settings)
        text = f"emergency stop by {_user()}" + (f": {reason}" if reason else "")
        text = text.replace("\n", " ")
        driven, others = _latch_driven(settings, text)
        silent = [who for one in driven if (who := _wait(one, time.monotonic() + wait_s))]
        reasons = {one.state_dir: latched(one.latch) for one in driven or [settings]}
    except (ConfigError, OSError) as error:
        why = f"NOT STOPPED: {error}"
        if isinstance(error, OSError):
            why = f"NOT STOPPED: {sentence(error)}{_signalled(process)}"
        _complain(f"{why}: use the robot's own button")
        raise typer.Exit(MISTAKE) from None
    for unsaid in silent:
        _complain(f"{unsaid} that the robot {settings.name!r} holds: use the robot's own button")
    if silent:
        raise typer.Exit(MISTAKE)
    for folder, told in reasons.items():
        done = "is stopped, and stays" if driven else "stays"
        where = "" if folder == settings.state_dir else f", driven in {folder},"
        typer.echo(f"robot {settings.name!r}{where} {done} in fault until it is re-armed: {told}")
    if not driven:
        _complain(f"no process drives a robot in {settings.state_dir}")
        for other in others:
            print(f"{other}, not {settings.name!r}: it goes on", file=sys.stderr)
        raise typer.Exit(NOBODY)


def _latch_driven(settings: RobotConfig, text: str) -> tuple[list[RobotConfig], list[Driving]]:
    """Latch wherever this robot is driven, and in its own state folder in any case.

    Returns each that is driven, and what processes drive in other folders where this one's own is
    not. Raises `OSError` where nothing was reached.
    """
    from fieldtune.robot.monitor.driving import driving

    trouble: OSError | None = None
    driven: list[RobotConfig] = []
    try:
        if _latch(settings, text):
            driven.append(settings)
    except OSError as error:  # it may still be driven elsewhere
        trouble = error
    others = driving(settings)
    for one in others:
        if one.robot == settings.name:
            _latch(one.config, text)
            driven.append(one.config)
    if trouble is not None and not driven:
        raise trouble
    return driven, others


def _latch(settings: RobotConfig, text: str) -> bool:
    """Latch; whether a process drives the robot. Raises `OSError`."""
    from fieldtune.robot.journal.file import writer
    from fieldtune.robot.safety.latch import latch

    before = None
    with contextlib.suppress(OSError):  # latching comes first
        before = writer(settings.journal)  # that one may end as soon as it is latched
    latch(settings.latch, text)
    return before is not None or writer(settings.journal) is not None


def _driver_of(settings: RobotConfig) -> int | None:
    """The process that drives the robot, where one is known."""
    from fieldtune.robot.journal.file import writer

    with contextlib.suppress(OSError, ValueError):
        return int(writer(settings.journal) or "")
    return None


def _signalled(process: int | None) -> str:
    """Tell the process that drives the robot by a signal too, where its folder took no latch."""
    from fieldtune.robot.safety.estop import SIGNAL

    with contextlib.suppress(PermissionError):  # another user's
        if process is not None:
            with contextlib.suppress(ProcessLookupError):  # what is latched elsewhere was faster
                os.kill(process, SIGNAL)
            return f"; process {process} was told by signal, and what it does is not known"
    return ""


def _wait(settings: RobotConfig, deadline: float) -> str:
    """Wait until the process that drives the robot has said that it holds; else what is known."""
    from fieldtune.robot.journal.file import writer
    from fieldtune.robot.safety.latch import held_by

    while True:
        process = writer(settings.journal)
        if held_by(settings.latch) is not None:
            return ""
        if process is None:
            return "the process that drove it has ended without saying"
        if time.monotonic() >= deadline:
            return f"process {process} has not said in time"
        time.sleep(_LOOK_S)


def _complain(text: str) -> None:
    tell(text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user, as in many containers
        return "an unnamed user"
