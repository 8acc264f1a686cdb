"""`fieldtune-robot keys`: this robot's key.

Reads settings and prints; the file is robot/curve_keys.py's. Imports what a command needs when it
runs.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fieldtune.errors import report_user_errors
from fieldtune.robot.cli.options import Config, Overrides

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig

app = typer.Typer(
    no_args_is_help=True,
    help="""This robot's key: what the trainer knows it by.

    It lies in robot.keys.secret, or as robot.key in robot.state_dir.
    """,
)


@app.command()
def new(config: Config, overrides: Overrides = None) -> None:
    """Make this robot's key."""
    with report_user_errors():
        from fieldtune.robot.curve_keys import new_pair, write_secret

        settings, pair = _load(config, overrides), new_pair()
        write_secret(settings.secret_key, pair)
    typer.echo(f"{settings.secret_key}: this robot's key is made; nobody else may read it")
    _for_trainer(settings, pair.public)


@app.command()
def show(config: Config, overrides: Overrides = None) -> None:
    """Print this robot's public key, for the trainer."""
    with report_user_errors():
        from fieldtune.robot.curve_keys import read_secret

        settings = _load(config, overrides)
        pair = read_secret(settings.secret_key, f"fieldtune-robot keys new --config {config}")
    _for_trainer(settings, pair.public)


def _load(path: Path, overrides: list[str] | None) -> RobotConfig:
    from fieldtune.robot.config import RobotConfig
    from fieldtune.settings import load

    return load(RobotConfig, path, section="robot", overrides=overrides or [])


def _for_trainer(settings: RobotConfig, public: str) -> None:
    typer.echo(f"on the trainer: fieldtune keys allow {shlex.quote(settings.name)} {public}")
    if settings.keys.trainer is None:
        typer.echo("then here: set robot.keys.trainer to what `fieldtune keys show` prints there")
