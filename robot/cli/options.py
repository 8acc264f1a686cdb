"""What the robot's commands share: options and settings.

Holds no command. Imports what is needed when it is.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig
    from fieldtune.robot.drivers.driver import Driver

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


def write_line(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as one JSON line. Raises `OSError` with the path."""
    from fieldtune.files import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(content) + "\n").encode())


def driver_of(settings: RobotConfig | None, config: Path | None) -> Driver | None:
    """The disconnected driver of a robot, for its fields; None without settings, or where it cannot
    be made here."""
    from fieldtune.robot.drivers.driver import DriverFault
    from fieldtune.robot.drivers.lookup import create_driver
    from fieldtune.settings import ConfigError

    if settings is None or config is None:
        return None
    try:
        return create_driver(settings, config)
    except (ConfigError, DriverFault):
        return None


def episode_range(text: str | None) -> tuple[int, int | None]:
    """The first and last of `--episodes A-B`; all that there are where nothing is given."""
    if text is None:
        return 1, None
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if last < first:
        raise typer.BadParameter(
            f"--episodes is {text!r}: expected A-B with A up to B, or a number"
        )
    return first, last
