"""The figure of beliefs: where each inference thinks that a task is, moment by moment.

One row an inference (two where a task is a place: from above and from the side), one column a
moment. Pure functions of numbers and images; knows no run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.sim.family import SEED, Array, Field, bounds, width
from fieldtune.train.charts import AFTER, BEFORE, GRID, INK, MUTED, OFFLINE, SURFACE, number
from fieldtune.train.evaluation.beliefs import Belief, Believed
from fieldtune.train.evaluation.results import Inference
from fieldtune.train.evaluation.task_map import turns
from fieldtune.train.reports.filmstrip import Image

Floats = NDArray[np.float64]

COLOURS = (OFFLINE, BEFORE, AFTER)  # of tasks: there are no more in a picture
ROWS: dict[Inference, str] = {"encoder": "the encoder", "likelihood": "the likelihood"}
_SMOOTH = 0.015  # of a density, as a share of the range
_AXES = "xyz"
_COLUMN = 2.05  # inches


class NoPictureOfTasks(UserError):
    """A family's tasks cannot be drawn. The message says what of their parameters is in the way."""


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
        """Of a family's `task_fields`. Raises `NoPictureOfTasks` where they are more than three
        parameters, or a seed."""
        for field in fields:
            if field.unit == SEED:
                raise NoPictureOfTasks(
                    f"{family}: a task's {field.name!r} is a seed, and near seeds are no near "
                    "tasks: `fieldtune evaluate` says what each inference is worth on this family"
                )
        wide = width(fields)
        if wide > len(_AXES):
            listed = ", ".join(f"{field.name} ({field.width})" for field in fields)
            raise NoPictureOfTasks(
                f"{family}: a task has {wide} parameters ({listed}), and at most {len(_AXES)} can "
                "be drawn: `fieldtune evaluate` says what each inference is worth on this family"
            )
        names = tuple(
            f"{name}, {field.unit}"
            for field in fields
            for name in (_AXES[: field.width] if field.width > 1 else [field.name])
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
        side = "" if len(self.views) == 1 else (", from above", ", from the side")[view[1] - 1]
        return f"{side}\n{self.names[view[1]]}"

    def with_tasks(self, tasks: Array) -> Space:
        """Wide enough for `tasks` `(task, parameter)` beyond the range."""
        low = np.minimum(self.low, tasks.min(axis=0))
        return replace(self, low=low, high=np.maximum(self.high, tasks.max(axis=0)))


def belief_figure(
    believed: Believed,
    space: Space,
    moments: Sequence[str],
    title: str,
    pictures: Sequence[Image] = (),
) -> Figure:
    """What is believed at each moment: a row an inference and view, a column a moment.

    Args:
        believed: of at most three tasks.
        space: of the tasks.
        moments: what each column is called.
        title: of the whole.
        pictures: of the robot, one a moment, for a row of their own at the top.
    """
    space = space.with_tasks(believed.tasks)
    shown: list[tuple[Inference, tuple[int, ...]]] = [
        (name, view) for name in ROWS if name in believed.by for view in space.views
    ]
    flat = len(space.low) == 1 and not space.turning
    height = 0.55 + 0.35 * len(believed.tasks) if flat else 1.85
    heights = [*([_COLUMN] if len(pictures) else []), *(height for _ in shown)]
    figure = Figure((_COLUMN * len(moments) + 0.6, sum(heights) + 0.75), facecolor=SURFACE)
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    grid = figure.add_gridspec(len(heights), len(moments), height_ratios=heights)
    for column, picture in enumerate(pictures):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(picture)
        axes.set_axis_off()
        axes.set_title(moments[column], fontsize=10, color=INK)
    for row, (name, view) in enumerate(shown, start=len(heights) - len(shown)):
        for column, beliefs in enumerate(believed.by[name]):
            projection = "polar" if space.turning else None
            axes = figure.add_subplot(grid[row, column], projection=projection)
            draw(axes, space, view, beliefs, believed.tasks)
            if view == space.views[0]:
                _returns(axes, space, beliefs, believed.tasks)
            if row == 0:
                above = not flat and beliefs[0].episode_return is not None
                axes.set_title(moments[column], fontsize=10, color=INK, pad=18 if above else 6)
            if column == 0:
                pad = 24 if space.turning else 8
                label = ROWS[name] + space.seen(view)
                axes.set_ylabel(label, fontsize=9.5, color=INK, labelpad=pad)
            if row == len(heights) - 1 and not space.turning:
                axes.set_xlabel(space.names[view[0]], fontsize=9, color=MUTED)
    return figure


def draw(
    axes: Axes, space: Space, view: tuple[int, ...], beliefs: Sequence[Belief], tasks: Array
) -> None:
    """One panel: beliefs in the colours of their tasks, the truth a black line or a cross.

    Args:
        axes: polar where the space turns.
        space: of the tasks.
        view: which of the parameters are shown.
        beliefs: one a task.
        tasks: the truth, `(task, parameter)`.
    """
    axes.set_facecolor("none")
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    margin = 0.04 * (space.high - space.low)
    low, high = space.low - margin, space.high + margin
    if isinstance(axes, PolarAxes):
        axes.set_ylim(0, len(tasks) + 1)
        axes.set_xticks(np.deg2rad([0, 90, 180, 270]), ["0°", "", "180°", "270°"])
        axes.spines[:].set_visible(False)
    else:
        axes.spines[:].set_color(GRID)
        axes.set_xlim(low[view[0]], high[view[0]])
    if len(view) == 1:
        axes.set_yticks([])
        for lane, (belief, task) in enumerate(zip(beliefs, tasks, strict=True)):
            _density(axes, space, lane, belief, task)
    else:
        axes.set_ylim(low[view[1]], high[view[1]])
        axes.set_aspect("equal", adjustable="box")
        _clouds(axes, view, beliefs, tasks)


def density(space: Space, belief: Belief) -> tuple[Floats, Floats]:
    """Of a task of one parameter: values `(n,)` across the range, and how likely each is, `(n,)`,
    the likeliest being 1."""
    reach = space.high[0] - space.low[0]
    values = np.linspace(space.low[0], space.high[0], 361)
    apart = np.abs(values[:, None] - belief.points[None, :, 0])
    if space.turning:
        apart = np.minimum(apart, reach - apart)
    likely = np.exp(-0.5 * np.square(apart / (_SMOOTH * reach))) @ belief.weights
    return values, likely / likely.max()


def _density(axes: Axes, space: Space, lane: int, belief: Belief, task: Floats) -> None:
    """In a lane of its own: the first task lowest, or innermost."""
    values, likely = density(space, belief)
    across, truth = (np.deg2rad(values), np.deg2rad(task)) if space.turning else (values, task)
    base = lane + (1.0 if space.turning else 0.06)
    axes.fill_between(across, base, base + 0.8 * likely, color=COLOURS[lane], alpha=0.55, lw=0)
    axes.plot(across, np.full_like(across, base), color=GRID, lw=0.8)
    axes.plot([truth[0]] * 2, [base, base + 0.9], color=INK, lw=1.8, solid_capstyle="butt")


def _clouds(axes: Axes, view: tuple[int, ...], beliefs: Sequence[Belief], tasks: Array) -> None:
    """A dot a point, as large as it is likely; tasks mixed, so that none lies over the others."""
    points = np.concatenate([belief.points[:, view] for belief in beliefs])
    area = np.clip(3000 * np.concatenate([belief.weights for belief in beliefs]), 0.0, 110.0)
    colours = np.repeat(COLOURS[: len(beliefs)], [len(belief.weights) for belief in beliefs])
    order = np.random.default_rng(0).permutation(np.flatnonzero(area > 0.1))
    x, y = points[order].T
    axes.scatter(x, y, s=area[order], c=colours[order].tolist(), alpha=0.4, lw=0)
    for task, colour in zip(tasks[:, view], COLOURS, strict=False):
        axes.plot(*task, marker="P", ms=9.5, mew=1.2, mec=INK, mfc=colour, ls="none")


def _returns(axes: Axes, space: Space, beliefs: Sequence[Belief], tasks: Array) -> None:
    """Of each task, the return so far, and whether what was seen is unlike any task trained on."""
    for lane, (belief, task) in enumerate(zip(beliefs, tasks, strict=True)):
        words = [] if belief.episode_return is None else [f"return {number(belief.episode_return)}"]
        words += ["unlike any"] if belief.unlike else []
        if len(space.low) == 1 and not space.turning:  # in its lane, away from the truth
            right = bool(task[0] < (space.low[0] + space.high[0]) / 2)
            x, y, side = (0.98 if right else 0.02), lane + 0.98, ("right" if right else "left")
            where, colour = axes.get_yaxis_transform(), INK
        else:
            if len(tasks) > 1:
                words = [word.removeprefix("return ").removesuffix(" any") for word in words]
            x, y, side = (lane + 0.5) / len(tasks), 1.03, "center"
            where, colour = axes.transAxes, COLOURS[lane]
        axes.text(
            x,
            y,
            "\n".join(words),
            transform=where,
            ha=side,
            va="top" if colour == INK else "bottom",
            fontsize=7.5 if colour == INK else 8.5,
            color=colour,
        )
