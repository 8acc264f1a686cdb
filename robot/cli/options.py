"""What the robot's commands share: options and settings.

Holds no command. Imports what is needed when it is.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig

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
