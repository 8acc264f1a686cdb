"""`fieldtune-robot tasks`: the tasks that this robot has adapted to.

Reads settings and prints; the files are robot/policy/saved_tasks.py's. Imports what a command needs
when it runs.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from fieldtune.errors import report_user_errors
from fieldtune.robot.cli.options import Bundle, Config, Overrides

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""The tasks that this robot knows: what `adapt --save NAME` has kept.

    [bold]Examples[/bold]

      fieldtune-robot tasks list --config configs/reach.yaml

      fieldtune-robot tasks recompute left-shelf --config configs/reach.yaml --bundle new.bundle
    """,
)

Name = Annotated[str, typer.Argument(help="The task's name.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.command("list")
def list_tasks(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Every task, by name."""
    with report_user_errors():
        from fieldtune.robot.cli.journal_text import print_table

        tasks = _tasks(config, overrides)
        known = [(name, tasks.read(name)) for name in tasks.names()]
        if as_json:
            typer.echo(json.dumps([_facts(name, task) for name, task in known], indent=1))
            return
        print_table(
            ("task", "family", "saved", "rewarded", "by", "bundle"),
            [
                (
                    name,
                    task.family,
                    task.saved,
                    str(task.transitions),
                    task.rewards,
                    task.bundle_id[:12],
                )
                for name, task in known
            ],
        )


@app.command()
def show(name: Name, config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """One task: its posterior, and where it is from."""
    with report_user_errors():
        facts = _facts(name, _tasks(config, overrides).read(name))
        if as_json:
            typer.echo(json.dumps(facts, indent=1))
            return
        for key, value in facts.items():
            told = " ".join(f"{one:.4g}" for one in value) if isinstance(value, list) else value
            typer.echo(f"{key:<16} {told}")


@app.command()
def remove(name: Name, config: Config, overrides: Overrides = None) -> None:
    """Forget a task."""
    with report_user_errors():
        _tasks(config, overrides).remove(name)
    typer.echo(f"task {name!r} is forgotten")


@app.command()
def recompute(
    name: Name, config: Config, overrides: Overrides = None, bundle: Bundle = None
) -> None:
    """Make a task's posterior again for another bundle, from what the journal holds of it."""
    with report_user_errors():
        from fieldtune.export.bundle import read_bundle
        from fieldtune.robot.cli.options import load_settings
        from fieldtune.robot.journal.journal import Journal
        from fieldtune.robot.loop.bundle_fit import newest_bundle
        from fieldtune.robot.policy.policy import Policy
        from fieldtune.robot.policy.saved_tasks import SavedTasks
        from fieldtune.robot.policy.saved_tasks import recompute as again

        settings = load_settings(config, overrides)
        tasks = SavedTasks(settings.tasks)
        used = bundle or newest_bundle(settings)
        policy = Policy(read_bundle(used))
        with Journal.read(settings.journal) as journal, journal.snapshot():
            tasks.write(name, again(tasks.read(name), journal, policy), used)
    typer.echo(f"task {name!r} is now for bundle {policy.bundle_id[:12]}")


def _tasks(config: Any, overrides: list[str] | None) -> Any:
    from fieldtune.robot.cli.options import load_settings
    from fieldtune.robot.policy.saved_tasks import SavedTasks

    return SavedTasks(load_settings(config, overrides).tasks)


def _facts(name: str, task: Any) -> dict[str, Any]:
    posterior = task.posterior
    return {
        "task": name,
        "robot": task.robot,
        "family": task.family,
        "saved": task.saved,
        "bundle": task.bundle_id,
        "encoder": task.encoder_sha256,
        "rewarded": task.transitions,
        "rewards_by": task.rewards,
        "episodes": list(task.episodes),
        "mean": posterior.mean.tolist(),
        "deviation": (posterior.variance**0.5).tolist(),
    }
