"""The figure of beliefs: where each inference thinks that a task is, moment by moment.

One row an inference (two where a task is a place: from above and from the side), one column a
moment. Pure functions of numbers; knows no run. A task has at most three parameters, or there is no
picture of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.sim.family import Array, Field, bounds, width
from fieldtune.train.charts import AFTER, BEFORE, GRID, INK, MUTED, OFFLINE, SURFACE, number
from fieldtune.train.evaluation.beliefs import Belief, Believed
from fieldtune.train.evaluation.results import Inference
from fieldtune.train.evaluation.task_map import turns

Floats = NDArray[np.float64]

COLOURS = (OFFLINE, BEFORE, AFTER)  # of tasks
ROWS: dict[Inference, str] = {"encoder": "the encoder", "likelihood": "the likelihood"}
_SMOOTH = 0.015  # of a density, as a share of the range
_AXES = "xyz"


class NoPictureOfTasks(UserError):
    """A family's tasks are not to be drawn. The message says how wide they are."""


@dataclass(frozen=True)
class Space:
    """A task space that can be drawn.

    Attributes:
        low, high: its range, `(parameter,)`.
        names: what each parameter is, with its unit.
        turning: whether it is one direction.
    """

    low: Floats
    high: Floats
    names: tuple[str, ...]
    turning: bool

    @classmethod
    def of(cls, family: str, fields: tuple[Field, ...]) -> Space:
        """Raises `NoPictureOfTasks` where a task has more than three parameters."""
        wide = width(fields)
        if wide > len(_AXES):
            listed = ", ".join(f"{field.name} ({field.width})" for field in fields)
            raise NoPictureOfTasks(
                f"{family}: a task has {wide} parameters ({listed}), and at most {len(_AXES)} can "
                "be drawn: `fieldtune evaluate` shows what this family's inference is worth"
            )
        names = tuple(
            f"{field.name.replace('_', ' ')}{suffix}, {field.unit}"
            for field in fields
            for suffix in ([f" {axis}" for axis in _AXES[: field.width]] if wide > 1 else [""])
        )
        low, high = bounds(fields)
        return cls(low, high, names, wide == 1 and turns(fields[0]))

    @property
    def views(self) -> list[tuple[int, ...]]:
        """The parameters that each panel shows: from above first, then from the side."""
        wide = len(self.low)
        return [(0,)] if wide == 1 else [(0, 1)] if wide == 2 else [(0, 1), (0, 2)]

    def seen(self, view: tuple[int, ...]) -> str:
        """From where a view is, and what its vertical axis is."""
        if len(view) == 1:
            return ""
        side = "" if len(self.views) == 1 else (" from above", " from the side")[view[1] - 1]
        return f"{side}\n{self.names[view[1]]}"

    def with_tasks(self, tasks: Array) -> Space:
        """Wide enough for `tasks` `(task, parameter)` beyond the range."""
        low, high = (
            np.minimum(self.low, tasks.min(axis=0)),
            np.maximum(self.high, tasks.max(axis=0)),
        )
        return Space(low, high, self.names, self.turning)


def belief_figure(believed: Believed, space: Space, moments: Sequence[str], title: str) -> Figure:
    """What is believed at each moment: a row an inference and view, a column a moment.

    Args:
        believed: at most three tasks.
        space: of the tasks.
        moments: what each column is called.
        title: of the whole.
    """
    space = space.with_tasks(believed.tasks)
    views = space.views
    height = 1.85 if len(space.low) > 1 or space.turning else 0.55 + 0.35 * len(believed.tasks)
    rows = len(believed.by) * len(views)
    figure = Figure(
        figsize=(2.05 * len(moments) + 0.6, height * rows + 0.75),
        layout="constrained",
        facecolor=SURFACE,
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    row = 0
    for name, label in ROWS.items():
        if name not in believed.by:
            continue
        for view in views:
            for column, beliefs in enumerate(believed.by[name]):
                index = row * len(moments) + column + 1
                projection = "polar" if space.turning else None
                axes = figure.add_subplot(rows, len(moments), index, projection=projection)
                draw(axes, space, view, beliefs, believed.tasks)
                if row == 0:
                    axes.set_title(moments[column], fontsize=10, color=INK)
                _tidy(axes, space, view)
                if column == 0:
                    axes.set_ylabel(label + space.seen(view), fontsize=9.5, color=INK, labelpad=8)
                if row == rows - 1 and not space.turning:
                    axes.set_xlabel(space.names[view[0]], fontsize=9, color=MUTED)
            row += 1
    return figure


def draw(
    axes: Axes, space: Space, view: tuple[int, ...], beliefs: Sequence[Belief], tasks: Array
) -> None:
    """One panel: beliefs filled, each truth a black-edged line or cross of the same colour.

    Args:
        axes: polar where the space turns.
        space: of the tasks.
        view: which of the parameters are shown.
        beliefs: one a task.
        tasks: the truth, `(task, parameter)`.
    """
    axes.set_facecolor("none")
    for lane, (belief, task, colour) in enumerate(zip(beliefs, tasks, COLOURS, strict=False)):
        if len(view) == 1:
            _density(axes, space, lane, belief, task, colour)
        else:
            _cloud(axes, view, belief, task, colour)
        _note(axes, space, lane, belief, task, colour)


def density(space: Space, belief: Belief) -> tuple[Floats, Floats]:
    """Of a task of one parameter: values `(n,)` across the range, and how likely each is, 1 at
    most."""
    reach = space.high[0] - space.low[0]
    values = np.linspace(space.low[0], space.high[0], 361)
    apart = np.abs(values[:, None] - belief.points[None, :, 0])
    if space.turning:
        apart = np.minimum(apart, reach - apart)
    likely = np.exp(-0.5 * np.square(apart / (_SMOOTH * reach))) @ belief.weights
    return values, likely / likely.max()


def _density(
    axes: Axes, space: Space, lane: int, belief: Belief, task: Floats, colour: str
) -> None:
    """In a lane of its own: the first task lowest, or innermost."""
    values, likely = density(space, belief)
    base = lane + 1.0 if space.turning else float(lane)
    across = np.deg2rad(values) if space.turning else values
    truth = np.deg2rad(task[0]) if space.turning else task[0]
    axes.fill_between(across, base, base + 0.8 * likely, color=colour, alpha=0.55, lw=0)
    axes.plot(across, np.full_like(across, base), color=GRID, lw=0.8)
    axes.plot([truth, truth], [base, base + 0.92], color=INK, lw=1.8, solid_capstyle="butt")


def _cloud(axes: Axes, view: tuple[int, ...], belief: Belief, task: Floats, colour: str) -> None:
    """A dot a point, as large as it is likely."""
    x, y = belief.points[:, view].T
    area = np.clip(3000 * belief.weights, 0.0, 110.0)
    shown = area > 0.1
    axes.scatter(x[shown], y[shown], s=area[shown], color=colour, alpha=0.4, lw=0)
    axes.plot(*task[list(view)], marker="P", ms=9.5, mew=1.2, mec=INK, mfc=colour, ls="none")


def _note(axes: Axes, space: Space, lane: int, belief: Belief, task: Floats, colour: str) -> None:
    """The return so far, and a warning where the context is unlike any task trained on."""
    words = [] if belief.episode_return is None else [f"return {number(belief.episode_return)}"]
    words += ["unlike any"] if belief.unlike else []
    place = {"ha": "left", "va": "top", "transform": axes.transAxes, "fontsize": 7.5}
    if space.turning:
        place |= {"x": -0.1, "y": 1.12 - 0.11 * lane, "color": colour}
    elif len(space.low) == 1:  # in the task's own lane, away from the truth
        right = task[0] < (space.low[0] + space.high[0]) / 2
        place |= {"x": 0.98 if right else 0.02, "y": lane + 0.95, "color": INK}
        place |= {"ha": "right" if right else "left", "transform": axes.get_yaxis_transform()}
    else:
        place |= {"x": 0.03, "y": 0.97 - 0.1 * lane, "color": colour}
    axes.text(s=", ".join(words), **place)


def _tidy(axes: Axes, space: Space, view: tuple[int, ...]) -> None:
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    if isinstance(axes, PolarAxes):
        axes.set_yticks([])
        axes.set_ylim(0, len(COLOURS) + 1)
        axes.set_xticks(np.deg2rad([0, 90, 180, 270]))
        axes.spines[:].set_visible(False)
        return
    axes.spines[:].set_color(GRID)
    margin = 0.04 * (space.high - space.low)
    low, high = space.low - margin, space.high + margin
    axes.set_xlim(low[view[0]], high[view[0]])
    if len(view) == 1:
        axes.set_yticks([])
        axes.set_ylim(-0.06, None)
    else:
        axes.set_ylim(low[view[1]], high[view[1]])
        axes.set_aspect("equal", adjustable="box")
