"""`fieldtune keys`: the trainer's key, and which robots may talk to it.

Reads and prints; the files are train/bridge/keys.py's. Imports what a command needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fieldtune.errors import report_user_errors

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Keys of the bridge: the trainer's own, and the robots that it listens to.

    [bold]Examples[/bold]

      fieldtune keys new                      # once, on the trainer

      fieldtune-robot keys new --config FILE  # once, on each robot; prints the next command

      fieldtune keys allow sawyer-1 3f9c...   # on the trainer; in force at once

      fieldtune finetune --run runs/reach --keys keys --address 'tcp://*:5780'
    """,
)

Folder = Annotated[Path, typer.Option("--keys", help="The folder with the trainer's keys.")]
Robot = Annotated[str, typer.Argument(help="The robot's name, robot.name in its config.")]
_DEFAULT = Path("keys")


@app.command()
def new(folder: Folder = _DEFAULT) -> None:
    """Make the trainer's key."""
    with report_user_errors():
        from fieldtune.train.bridge.keys import make_keys

        public = make_keys(folder).own.public
    typer.echo(f"{folder}: the trainer's key is made; nobody else may read this folder")
    _for_robots(public)


@app.command()
def show(folder: Folder = _DEFAULT) -> None:
    """Print the trainer's public key, for the robots' configs."""
    with report_user_errors():
        from fieldtune.train.bridge.keys import open_keys

        public = open_keys(folder).own.public
    _for_robots(public)


@app.command()
def allow(
    robot: Robot,
    key: Annotated[str, typer.Argument(help="What `fieldtune-robot keys show` prints there.")],
    folder: Folder = _DEFAULT,
) -> None:
    """Listen to a robot, known by its public key, under this name. In force at once."""
    with report_user_errors():
        from fieldtune.train.bridge.keys import open_keys

        open_keys(folder).allow(robot, key)
    typer.echo(f"robot {robot!r} is allowed")


@app.command()
def revoke(robot: Robot, folder: Folder = _DEFAULT) -> None:
    """Shut a robot out, in a running trainer too, from its next message on."""
    with report_user_errors():
        from fieldtune.train.bridge.keys import open_keys

        open_keys(folder).allowed.revoke(robot)
    typer.echo(f"robot {robot!r} is no longer allowed")


@app.command("list")
def list_robots(folder: Folder = _DEFAULT) -> None:
    """Print the robots that are allowed, each with its public key."""
    with report_user_errors():
        from fieldtune.train.bridge.keys import open_keys

        entries = open_keys(folder).allowed.entries()
    for name, key in entries.items():
        typer.echo(f"{name} {key}")
    if not entries:
        typer.echo("no robot is allowed", err=True)


def _for_robots(public: str) -> None:
    typer.echo(f"in every robot's config: robot.keys.trainer: {public}")
