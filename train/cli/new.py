"""`fieldtune new`: its arguments and what it says next; the package is `train.new_package`'s."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.train.new_package.make import Kind

Named = Annotated[str, typer.Argument(help="Of package, folder and entry points, e.g. my-arm.")]


def new(
    kind: Annotated[
        Kind,
        typer.Argument(help="family: tasks and a simulator. driver: hardware. robot: both."),
    ],
    name: Named,
    into: Annotated[Path, typer.Option(help="The folder that the package's is made in.")] = Path(),
) -> None:
    """Make a package of your own: a family, a driver, or a robot, which is both.

    A planar arm of two joints that works as it stands, with a config, tests that pass, and comments
    that say what to replace (docs/families.md, docs/drivers.md). `driver` needs no simulator.

    [bold]Examples[/bold]

      fieldtune new robot my-arm && cd my-arm && make test

      fieldtune new driver my-arm --into ~/robots
    """
    with report_user_errors("stopped"):
        from fieldtune.train.new_package.make import make
        from fieldtune.train.new_package.name import PackageName

        made = make(kind, PackageName(name), into)
    for file in made.files:
        typer.echo(f"  {made.folder / file}")
    typer.echo(f"next: cd {shlex.quote(str(made.folder))} && make test{_interpreter()}")


def _interpreter() -> str:
    """What tells the Makefile of an environment that is not the shell's."""
    found = shutil.which("python3")
    here = Path(sys.executable)
    if found is not None and Path(found).parent == here.parent:
        return ""
    return f" PYTHON={shlex.quote(str(here))}"
