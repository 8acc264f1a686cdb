"""`fieldtune-robot record`: episodes for phase 1, acted by a person or a script.

Reads settings, starts the program, shows what came of it. Imports what a command needs when it
runs.
"""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.robot.cli.options import Config, Output, Overrides, load_to_drive, write_line
from fieldtune.robot.cli.signals import end, stop_on_signals

if TYPE_CHECKING:
    import msgspec

    from fieldtune.robot.actions.sources import ActionSource
    from fieldtune.robot.drivers.driver import Driver
    from fieldtune.robot.episodes.episode import ToldTask
    from fieldtune.robot.programs.record import RecordedEpisode

PAUSE_S = 3.0
HAND, TELEOPERATION = "hand", "teleoperation"

Parameters = Annotated[
    str | None,
    typer.Option(help="The task's parameters in the family's units, as A,B,C: for `import`."),
]


def record(
    config: Config,
    steps: Annotated[
        int, typer.Option(min=1, help="Control periods an episode: the family's horizon, or less.")
    ],
    overrides: Overrides = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who acts: hand, teleoperation (by the driver), or a script's name.",
        ),
    ] = None,
    program: Annotated[
        str | None, typer.Option(help="In place of --by: a program that prints actions.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    rewards: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who gives rewards: driver, keys, command, or a plug-in's name.  \\[nobody]",
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="What the task is called: for `import`.")
    ] = None,
    parameters: Parameters = None,
    pause: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds before each episode.  \\[3 for a person, 0 for a script]"
        ),
    ] = None,
    summary: Output = None,
) -> None:
    """Record episodes that a person or a script acts, as data for phase 1 (docs/record.md).

    Guided by hand, the robot is commanded nothing, and not homed either.

    [bold]Examples[/bold]

      fieldtune-robot record --config FILE --by hand --steps 100 --episodes 10 --task left-shelf
      --rewards keys 'robot.rewards.keys={s: 0, f: -1}'

      fieldtune-robot record --config FILE --by teleoperation --steps 100 --parameters 0.6,0.3,0.2

      fieldtune-robot record --config FILE --program 'python sweep.py' --steps 100 --rewards driver
    """
    with report_user_errors():
        from fieldtune.robot.drivers.lookup import create_driver
        from fieldtune.robot.programs.record import Recording
        from fieldtune.robot.rewards.lookup import reward_stream

        chosen = [] if rewards is None else [f"robot.rewards.source={rewards}"]
        settings = load_to_drive(config, [*(overrides or []), *chosen], summary)
        told = told_task(task, parameters)
        driver = create_driver(settings, config)
        actions = _actions(by, program, driver)
        waits = actions is None or actions.in_driver
        recording = Recording(
            settings,
            driver,
            actions,
            steps=steps,
            rewards=None if rewards is None else reward_stream(settings.rewards, driver),
            episodes=episodes,
            task=told,
            pause_s=PAUSE_S * waits if pause is None else pause,
        )
        stop_on_signals(recording.robot.request_stop, recording.robot.estop)
        done: list[RecordedEpisode] = []
        try:
            for episode in recording.run():
                done.append(episode)
                _tell(episode, rewarded=rewards is not None)
        finally:
            kept = sum(episode.steps for episode in done)
            typer.echo(f"{len(done)} episodes of {kept} steps are in {settings.journal}")
        if summary is not None:
            facts: dict[str, object] = {
                "episodes": [episode.number for episode in done],
                "steps": kept,
                "fault": recording.robot.fault,
                "cycles": recording.robot.cycles,
            }
            if rewards is not None:
                facts["returns"] = [episode.total_reward for episode in done]
            write_line(summary, facts)
    end([episode.reason for episode in done], episodes, recording.robot.fault)


def told_task(name: str | None, parameters: str | None) -> ToldTask | msgspec.UnsetType:
    """What the command line says of the task; unset where it says nothing."""
    import msgspec

    from fieldtune.robot.episodes.episode import ToldTask

    if name is None and parameters is None:
        return msgspec.UNSET
    numbers = []
    for text in filter(None, (parameters or "").split(",")):
        try:
            numbers.append(float(text))
        except ValueError:
            numbers.append(math.nan)
    if parameters is not None and not (numbers and all(map(math.isfinite, numbers))):
        raise typer.BadParameter(
            f"--parameters is {parameters!r}: expected numbers with commas between, as 0.6,0.3,0.2"
        )
    if name is not None and not 0 < len(name) <= 1024:
        raise typer.BadParameter(f"--task has {len(name)} letters: expected 1 to 1024")
    return ToldTask(name or "", numbers)


def _actions(by: str | None, program: str | None, driver: Driver) -> ActionSource | None:
    """Who acts; None for a person's hand."""
    from fieldtune.robot.actions.program import ProgramActions
    from fieldtune.robot.actions.script import ScriptedActions
    from fieldtune.robot.actions.teleoperation import Teleoperation

    if (by is None) == (program is None):
        given = "neither" if by is None else "both"
        raise typer.BadParameter(f"--by and --program: {given} given, expected one: who acts?")
    if program is not None:
        return ProgramActions(shlex.split(program), driver.period_s, driver.time_scale)
    if by == HAND:
        return None
    if by == TELEOPERATION:
        return Teleoperation(driver)
    assert by is not None
    return ScriptedActions(by, driver)


def _tell(episode: RecordedEpisode, *, rewarded: bool) -> None:
    text = f"episode {episode.number}: {episode.steps} steps, {episode.reason}"
    if rewarded:
        text += f", {episode.rewarded} rewarded, return {episode.total_reward:.2f}"
    typer.echo(text)
    if episode.beyond:
        typer.echo(
            f"warning: in {episode.beyond} of them the hand was faster than the robot's actions "
            "can be: `fieldtune import` leaves this episode out; move slower",
            err=True,
        )
