"""`fieldtune-robot adapt` and `act`: learn a task from rewards, and do one that is known.

Reads settings, starts the program, shows what came of it. Imports what a command needs when it
runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.exit_status import MISTAKE
from fieldtune.robot.cli.options import Bundle, Config, Output, Overrides, load_to_drive, write_line
from fieldtune.robot.cli.record import Parameters, told_task
from fieldtune.robot.cli.signals import end, stop_on_signals

if TYPE_CHECKING:
    from fieldtune.robot.policy.familiarity import Familiarity
    from fieldtune.robot.policy.task_records import SavedTask
    from fieldtune.robot.programs.adapt import AdaptedEpisode

CONTEXT_EPISODES = 2


def adapt(
    config: Config,
    overrides: Overrides = None,
    bundle: Bundle = None,
    context_episodes: Annotated[
        int | None,
        typer.Option(min=0, help="Episodes with rewards.  \\[2, or 0 with --continuous]"),
    ] = None,
    episodes: Annotated[int, typer.Option(min=0, help="Episodes on the task, after them.")] = 1,
    continuous: Annotated[
        bool,
        typer.Option("--continuous", help="Follow the rewards within each episode on the task."),
    ] = False,
    rewards: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who gives rewards: driver, keys, command, or a plug-in's name.  "
            "\\[robot.rewards.source, else the driver]",
        ),
    ] = None,
    save: Annotated[
        str | None, typer.Option("--save", help="Keep the task by this name, for `act --task`.")
    ] = None,
    parameters: Parameters = None,
    summary: Output = None,
) -> None:
    """Adapt to the task from a few episodes with rewards, then do it.

    [bold]Examples[/bold]

      fieldtune-robot adapt --config FILE --save left-shelf

      fieldtune-robot adapt --config FILE --rewards keys 'robot.rewards.keys={s: 0, f: -1}'

      fieldtune-robot adapt --config FILE --continuous --save left-shelf

      fieldtune-robot adapt --config FILE --rewards command 'robot.rewards.command=\\[python,
      judge.py]'
    """
    with report_user_errors():
        from fieldtune.file_errors import require_writable
        from fieldtune.robot.drivers.lookup import create_driver
        from fieldtune.robot.loop.bundle_fit import newest_bundle
        from fieldtune.robot.policy.saved_tasks import SavedTasks
        from fieldtune.robot.programs.adapt import Adaptation
        from fieldtune.robot.rewards.lookup import reward_stream

        chosen = [] if rewards is None else [f"robot.rewards.source={rewards}"]
        settings = load_to_drive(config, [*(overrides or []), *chosen], summary)
        called = told_task(save, parameters)
        tasks = SavedTasks(settings.tasks)
        if context_episodes is None:
            context_episodes = 0 if continuous else CONTEXT_EPISODES
        if save is not None:  # what is wrong with it is said before anything moves
            require_writable(tasks.path(save))
            if not (context_episodes or (continuous and episodes)):
                raise typer.BadParameter("--save needs a context: --context-episodes 1 or more")

        used = bundle or newest_bundle(settings)

        def keep(task: SavedTask) -> None:
            if save is not None:
                instead = ", in place of the one of before" if save in tasks.names() else ""
                tasks.write(save, task, used)
                many = f"{task.transitions} rewarded transitions"
                typer.echo(f"task {save!r} is kept{instead}: {many}")

        driver = create_driver(settings, config)
        adaptation = Adaptation(
            settings,
            driver,
            reward_stream(settings.rewards, driver),
            bundle=used,
            context_episodes=context_episodes,
            episodes=episodes,
            continuous=continuous,
            save=keep,
            task=called,
        )
        stop_on_signals(adaptation.robot.request_stop, adaptation.robot.estop)
        done: list[AdaptedEpisode] = []
        try:
            for episode in adaptation.run():
                done.append(episode)
        finally:
            _show(done, adaptation.familiarity)
        within = adaptation.within
        if summary is not None:
            returns = {
                "context": [one.total_reward for one in done if not one.acting],
                "adapted": [one.total_reward for one in done if one.acting],
            }
            told = {"returns": returns, "fault": adaptation.robot.fault}
            if within is not None:
                told |= {"within_episode": within.summary()}
            if (known := adaptation.familiarity) is not None:
                told |= {"inference": known.facts()}
            write_line(summary, told | {"cycles": adaptation.robot.cycles})
    trouble = within is not None and within.trouble
    if trouble and not adaptation.robot.fault:
        raise typer.Exit(MISTAKE)
    reasons = [one.reason for one in done]
    end(reasons, context_episodes + episodes, adaptation.robot.fault)


def act(
    config: Config,
    task: Annotated[str, typer.Option("--task", help="A task that `adapt --save` has kept.")],
    overrides: Overrides = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Instead of the one that the task was learned with."),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many; else go on until stopped.")
    ] = None,
    summary: Output = None,
) -> None:
    """Do a task that is known, without exploring."""
    with report_user_errors():
        from fieldtune.robot.drivers.lookup import create_driver
        from fieldtune.robot.policy.saved_tasks import SavedTasks
        from fieldtune.robot.programs.act import Acting

        settings = load_to_drive(config, overrides, summary)
        tasks = SavedTasks(settings.tasks)
        known = tasks.read(task)
        acting = Acting(
            settings,
            create_driver(settings, config),
            task,
            known,
            bundle=bundle or tasks.bundle(known),
            episodes=episodes,
        )
        stop_on_signals(acting.robot.request_stop, acting.robot.estop)
        reasons = []
        for episode in acting.run():
            reasons.append(episode.reason)
            typer.echo(f"episode {episode.number}: {episode.steps} steps, {episode.reason}")
        if summary is not None:
            told = {
                "episodes": len(reasons),
                "fault": acting.robot.fault,
                "cycles": acting.robot.cycles,
            }
            write_line(summary, told)
    end(reasons, episodes, acting.robot.fault)


def _show(done: list[AdaptedEpisode], known: Familiarity | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("episode", "for", "steps", "rewarded", "return", "ended")
    if known is not None:
        table.caption = f"{known.effective:.1f} of {known.particles} particles still count"
    for one in done:
        table.add_row(
            str(one.number),
            "the task" if one.acting else "the context",
            str(one.steps),
            str(one.rewarded),
            f"{one.total_reward:.2f}",
            str(one.reason),
        )
    if done:
        Console().print(table)
    if known is not None and known.unlike:
        typer.echo(f"warning: {known.warning}", err=True)
