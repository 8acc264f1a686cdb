"""What several commands of the workstation take, and tell. Loads nothing heavy."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Phase(StrEnum):
    """Whose weights: before or after phase 2."""

    BEFORE = "before"
    AFTER = "after"


Config = Annotated[Path, typer.Option("--config", help="The run's YAML file.")]
Folder = Annotated[Path, typer.Option("--run", help="The run's folder.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the file's."),
]


def say_device() -> None:
    """Show which device was taken and why (`fieldtune.train.device`)."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("fieldtune.train.device").setLevel(logging.INFO)
