"""`--version`: the program, Python, and the libraries whose versions matter to it.

Read from what is installed beside each library; must not import any of them.
"""

import platform
from collections.abc import Sequence
from importlib import metadata

import typer


def add_version(app: typer.Typer, libraries: Sequence[str]) -> None:
    """Give a command line the option `--version`, which prints `report(libraries)`."""

    def show(asked: bool) -> None:
        if asked:
            typer.echo(report(libraries))
            raise typer.Exit

    @app.callback()
    def options(
        version: bool = typer.Option(
            False, "--version", is_eager=True, callback=show, help="Show versions and exit."
        ),
    ) -> None:
        pass


def report(libraries: Sequence[str]) -> str:
    """One line each: fieldtune, Python with its platform, then `libraries` (distributions)."""
    lines = [
        f"fieldtune {installed('fieldtune') or '(a checkout that was never installed)'}",
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
    ]
    lines += [f"{name} {installed(name) or '(not installed)'}" for name in libraries]
    return "\n".join(lines)


def installed(distribution: str) -> str | None:
    """Its version; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
