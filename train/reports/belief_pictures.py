"""What a run believes of a few tasks, as a picture: opened, simulated, read and drawn.

The tasks are training tasks of the run, or any others that are named by their parameters: held-out
ones are for `fieldtune evaluate`. Knows runs; what is measured is
`fieldtune.train.evaluation.beliefs`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from fieldtune.errors import UserError
from fieldtune.sim.family import Array, Field, width
from fieldtune.train.agent.actor import Acting
from fieldtune.train.evaluation.beliefs import (
    EPISODES,
    Reader,
    after_episodes,
    moments,
    within_first_episode,
)
from fieldtune.train.evaluation.task_map import TaskMap
from fieldtune.train.reports.beliefs import COLOURS, Space, belief_figure
from fieldtune.train.reports.filmstrip import FilmedRobot
from fieldtune.train.runs.added_decoder import decoded
from fieldtune.train.runs.inference import by_likelihood
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import after_offline, averaged

Show = Literal["episodes", "first-episode", "film"]
Phase = Literal["before", "after"]

FILM = (0.0, 0.06, 0.12, 0.25, 0.5, 1.0)  # shares of an episode
SIZE = 240  # pixels of a frame


class NoSuchTask(UserError):
    """A task was asked for that cannot be. The message says which can."""


@dataclass(frozen=True)
class Picture:
    """A figure, and how far off the map is that it is drawn by.

    Attributes:
        figure: of the beliefs.
        map_error: `TaskMap.error`, in `unit`.
        unit: of the task's parameters.
    """

    figure: Figure
    map_error: float
    unit: str


def belief_picture(run: Run, show: Show, phase: Phase, tasks: Array) -> Picture:
    """Draw what the encoder and the likelihood believe of `tasks` `(task, parameter)`.

    Args:
        run: trained.
        show: after whole episodes of exploration, within the first one, or that one filmed.
        phase: before or after phase 2.
        tasks: at most three; the first is filmed.

    Raises:
        NoPictureOfTasks: they have too many parameters.
        NoPicture: this machine cannot render, where it is filmed.
        RunError: the run's algorithm has no reward decoder, and none can be given to it.
        CheckpointError: the phase is not trained.
    """
    family, seed = run.family, run.config.seed
    space = Space.of(family.name, family.task_fields)
    trained = after_offline(run) if phase == "before" else averaged(run, run.finetune_checkpoint)
    agent, offline = decoded(run, trained).agent, offline_replay(run, trained)
    place = TaskMap.of(agent, offline, run.dataset.train_tasks, family.task_fields, seed)
    reader = Reader(agent, by_likelihood(run, agent, offline), place, seed)
    heading = f"{family.name}, {phase} phase 2"
    if show == "film":
        figure = _filmed(run, reader, space, tasks[:1], heading)
    else:
        simulator = family.simulator(len(tasks))
        try:
            if show == "episodes":
                exploring = Acting.like_the_robot(run.config.robot.exploration)
                found = after_episodes(reader, family, simulator, tasks, exploring, seed)
                columns = [_episodes(k) for k in EPISODES]
                heading += ": believed after own exploration (the same for both)"
            else:
                steps = moments(family)
                found = within_first_episode(reader, family, simulator, tasks, seed, steps=steps)
                columns = [_seconds(k, family.period_s) for k in steps]
                heading += ": believed within the first episode, and acted on (numbers: return)"
        finally:
            simulator.close()
        figure = belief_figure(found, space, columns, heading)
    units = {field.unit for field in family.task_fields}
    return Picture(figure, place.error(), units.pop() if len(units) == 1 else "of mixed units")


def chosen_tasks(run: Run, numbers: Sequence[int], places: Sequence[str]) -> Array:
    """The tasks that are asked for, `(task, parameter)`; if none, three training tasks apart.

    Args:
        run: whose training tasks are numbered.
        numbers: of training tasks.
        places: the parameters of others, each as text: `0.55,0.3,0.1`.

    Raises:
        NoSuchTask: there is no such number, a place is not one, or there are more than three.
    """
    trained = run.dataset.train_tasks
    if not numbers and not places:
        order = np.argsort(trained[:, 0])
        return trained[order[[len(order) // 6, len(order) // 2, (5 * len(order)) // 6]]]
    if len(numbers) + len(places) > len(COLOURS):
        raise NoSuchTask(
            f"{len(numbers) + len(places)} tasks: at most {len(COLOURS)} can be told apart in one "
            "picture; give fewer of --task and --at"
        )
    for index in numbers:
        if not 0 <= index < len(trained):
            raise NoSuchTask(
                f"--task {index}: this run was trained on tasks 0 to {len(trained) - 1}; any other "
                "task is given by its parameters, with --at"
            )
    given = [_place(text, run.family.task_fields) for text in places]
    return np.array([*(trained[index] for index in numbers), *given])


def _place(text: str, fields: tuple[Field, ...]) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != width(fields) or not np.isfinite(values).all():
        asked = ", ".join(f"{field.name} ({field.width}, {field.unit})" for field in fields)
        raise NoSuchTask(
            f"--at {text!r}: expected {width(fields)} numbers with commas between: {asked}"
        )
    return values


def _filmed(run: Run, reader: Reader, space: Space, task: Array, heading: str) -> Figure:
    family = run.family
    steps = moments(family, FILM)
    robot = family.single_robot()
    try:
        film = FilmedRobot(robot, SIZE, set(steps))
        found = within_first_episode(
            reader, family, film, task, run.config.seed, steps=steps, inferences=["likelihood"]
        )
    finally:
        robot.close()
    reel = film.reels[0]
    last = max(reel)
    return belief_figure(
        found,
        space,
        [_seconds(k, family.period_s) for k in steps],
        f"{heading}: the first episode, acting on what is believed of the task so far",
        [reel.get(k, reel[last]) for k in steps],
    )


def _episodes(count: int) -> str:
    return "before any" if count == 0 else f"after {count} episode{'s' if count > 1 else ''}"


def _seconds(step: int, period_s: float) -> str:
    return f"step {step} ({step * period_s:.2g} s)"
