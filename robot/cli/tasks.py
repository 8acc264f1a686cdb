"""`fieldtune-robot tasks`: the tasks that this robot has adapted to.

Reads settings and prints; the files are robot/policy/saved_tasks.py's. Imports what a command needs
when it runs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldtune.errors import report_user_errors
from fieldtune.robot.cli.options import Bundle, Config, Overrides

if TYPE_CHECKING:
    from fieldtune.robot.policy.saved_tasks import SavedTasks
    from fieldtune.robot.policy.task_records import SavedTask

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
            told = [_facts(name, task) | _z(name, task, tasks) for name, task in known]
            typer.echo(json.dumps(told, indent=1))
            return
        print_table(
            ("task", "family", "saved", "rewarded", "by", "bundle", "particles"),
            [
                (
                    name,
                    task.family,
                    task.saved,
                    str(task.transitions),
                    task.rewards,
                    task.bundle_id[:12],
                    _particles(task),
                )
                for name, task in known
            ],
        )
        for name, task in known:
            if task.familiarity is not None and task.familiarity.unlike:
                typer.echo(f"warning: task {name!r}: {task.familiarity.warning}", err=True)


@app.command()
def show(name: Name, config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """One task: its posterior, and where it is from."""
    with report_user_errors():
        tasks = _tasks(config, overrides)
        task = tasks.read(name)
        facts = _facts(name, task) | _z(name, task, tasks)
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


def _tasks(config: Any, overrides: list[str] | None) -> SavedTasks:
    from fieldtune.robot.cli.options import load_settings
    from fieldtune.robot.policy.saved_tasks import SavedTasks

    return SavedTasks(load_settings(config, overrides).tasks)


def _particles(task: SavedTask) -> str:
    """How many still count, and of how many, for a table."""
    known = task.familiarity
    return "–" if known is None else f"{known.effective:.1f} of {known.particles}"


def _facts(name: str, task: SavedTask) -> dict[str, Any]:
    """All that stands in the file itself."""
    what, sha256 = task.made_with
    found = {
        "task": name,
        "robot": task.robot,
        "family": task.family,
        "saved": task.saved,
        "bundle": task.bundle_id,
        what: sha256,
        "rewarded": task.transitions,
        "rewards_by": task.rewards,
        "episodes": list(task.episodes),
    }
    return found if task.familiarity is None else found | task.familiarity.facts()


def _z(name: str, task: SavedTask, tasks: SavedTasks) -> dict[str, Any]:
    """Mean and deviation of z, and the likeliest one, whose particles are in the task's bundle."""
    import numpy as np

    from fieldtune.export.bundle import read_bundle
    from fieldtune.robot.policy.saved_tasks import TaskError
    from fieldtune.robot.policy.task_records import GaussianTask, fits

    if isinstance(task, GaussianTask):
        known = task.posterior
        return {"mean": known.mean.tolist(), "deviation": (known.variance**0.5).tolist()}
    manifest = read_bundle(tasks.bundle(task), task.bundle_id).manifest
    if manifest.likelihood is None or not fits(task, manifest):
        raise TaskError(f"{tasks.path(name)}: its bundle beside it has not made it: adapt again")
    weighed = task.over(np.array(manifest.likelihood.particles))
    return {
        "mean": weighed.mean.tolist(),
        "deviation": (weighed.variance**0.5).tolist(),
        "likeliest": weighed.likeliest.tolist(),
    }
