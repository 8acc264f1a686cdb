"""`fieldtune plugins`: the families, drivers, rewards, algorithms and formats of data that there
are.

Lists and imports what packages offer; knows none of them. What a group is for, its room knows.
"""

from __future__ import annotations

import typer


def plugins() -> None:
    """List plug-ins by group and name, and say of each that cannot be used why.

    A package offers one by an entry point. What fieldtune brings is listed without being loaded;
    what others bring is loaded.

    [bold]Examples[/bold]

      fieldtune plugins

    After `pip install my-arm`, whose pyproject.toml says
    `\\[project.entry-points."fieldtune.drivers"]` and `arm = "my_arm:ArmDriver"`:

      fieldtune plugins | grep arm
    """
    from fieldtune.plugins import GROUPS, offered, problem

    problems = []
    for group in GROUPS:
        typer.echo(group)
        for plugin in offered(group):
            wrong = problem(plugin)
            state = "FAILED  " if wrong else ""
            typer.echo(f"  {plugin.name:<16}{state}{plugin.package}  {plugin.place}")
            problems += [wrong] if wrong else []
    for wrong in dict.fromkeys(problems):
        typer.echo(f"failed: {wrong}")
