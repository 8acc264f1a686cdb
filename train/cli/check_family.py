"""`fieldtune check-family`: its options, its table and its exit status; checks are sim's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldtune.errors import report_user_errors
from fieldtune.exit_status import MISTAKE

if TYPE_CHECKING:
    from fieldtune.sim.checks.finding import Finding

SHOWN = {"ok": "ok", "failed": "[red]FAILED[/red]", "not checked": "not checked"}


def check_family(
    name: Annotated[str, typer.Argument(help="The task family, e.g. reach, or its YAML file.")],
    option: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE of the family's options; may be repeated."),
    ] = None,
) -> None:
    """Check what a task family promises, by name, with what was found and the cure.

    Fields, tasks, seeds, batches, threads, terminal states, the single robot, the reward, the
    script and the speed (docs/families.md). Ends with 1 where something failed.

    [bold]Examples[/bold]

      fieldtune check-family reach --option robot=panda

    After `pip install -e my-arm`, which offers a family of its own:

      fieldtune check-family swing-arm --option damping=0.2
    """
    with report_user_errors("stopped"):
        from rich.console import Console
        from rich.table import Table

        from fieldtune.sim.checks.check_family import check_family as check
        from fieldtune.sim.registry import family, is_file

        made = family(name, **_options(option or []))
        found: list[Finding] = []
        console = Console()
        with console.status("checking") as status:
            for finding in check(made, None if is_file(name) else name):
                found.append(finding)
                status.update(f"checked {finding.name}")
        table = Table("check", "", "found")
        for finding in found:
            # As text: what a package says of itself is no markup.
            table.add_row(finding.name, SHOWN[finding.state], _plain(finding.text))
        Console(width=None if console.is_terminal else 160).print(table)
        failed = [finding.name for finding in found if finding.state == "failed"]
        typer.echo(
            f"{name}: {len(failed)} of {len(found)} checks failed" if failed else f"{name}: ok"
        )
    if failed:
        raise typer.Exit(MISTAKE)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def _options(given: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` texts, values read as YAML. Raises `ConfigError`."""
    import yaml

    from fieldtune import plain_yaml
    from fieldtune.settings import ConfigError

    found: dict[str, Any] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise ConfigError(f"--option {one!r}: expected KEY=VALUE, e.g. robot=panda")
        try:
            found[key] = plain_yaml.parse(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"--option {one!r}: the value cannot be read: {error}") from error
    return found
