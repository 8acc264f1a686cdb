"""What the robot's commands share: options, settings and signals.

Holds no command. Imports what is needed when it is.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig
    from fieldtune.robot.safety.estop import EStop

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


def load_settings(path: Path, overrides: list[str] | None) -> RobotConfig:
    """The robot's settings, with its log on.

    Raises `fieldtune.settings.ConfigError`.
    """
    from fieldtune.robot.config import RobotConfig
    from fieldtune.settings import load

    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("fieldtune.robot").setLevel(logging.INFO)
    return load(RobotConfig, path, section="robot", overrides=overrides or [])


def load_to_drive(path: Path, overrides: list[str] | None, summary: Path | None) -> RobotConfig:
    """As `load_settings`, for a command that is going to drive the robot.

    Args:
        path: the YAML file.
        overrides: `a.b=value`, which replace the file's.
        summary: where the command is going to write what came of it, if anywhere.

    Raises:
        fieldtune.settings.ConfigError: the file or an override is wrong.
        fieldtune.open_files.TooFewFiles, OSError: what would only be missed when the robot has
            moved: too few files may be open, or `summary` cannot be written.
    """
    from fieldtune.file_errors import require_writable
    from fieldtune.open_files import require_open_files

    settings = load_settings(path, overrides)
    require_open_files()
    if summary is not None:
        require_writable(summary)
    return settings


def stop_on_signals(request_stop: Callable[[str], None], estop: EStop) -> None:
    """Prepare this process to drive a robot.

    Every signal that would end or stop it ends the run safely instead, those of Ctrl-Z and Ctrl-\\
    too; one that is ignored stays so, as SIGHUP under nohup. Once the robot is released, a second
    SIGINT ends the process at once. SIGUSR1 is an emergency stop. Output waits for no reader.
    """
    from fieldtune.robot.outlet import never_wait_for_readers
    from fieldtune.robot.safety.rest import ENDING, signal_name

    asked = False

    def stop(number: int, frame: Any) -> None:  # noqa: ARG001
        nonlocal asked
        name = signal_name(number)
        if asked and number == signal.SIGINT and not estop.watching:
            raise KeyboardInterrupt
        asked = True
        request_stop(name)
        estop.leave(name)

    for number in ENDING:
        if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)
    for number in (signal.SIGTTIN, signal.SIGTTOU):  # a terminal must not stop who is behind
        signal.signal(number, signal.SIG_IGN)
    estop.listen_to_signal()
    never_wait_for_readers()


def write_line(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as one JSON line. Raises `OSError` with the path."""
    from fieldtune.files import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(content) + "\n").encode())
