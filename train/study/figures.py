"""A study's figures: adaptation, return and success by reward-free steps, decoder, posterior shift.

Pure functions of results and cells; the look is `fieldtune.train.reports`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from fieldtune.train.charts import (
    AFTER,
    BEFORE,
    INK,
    MUTED,
    OFFLINE,
    ORACLE,
    SURFACE,
    bare_figure,
    legend_above,
    number,
)
from fieldtune.train.evaluation.calibration import Calibration
from fieldtune.train.evaluation.protocol import QUOTED
from fieldtune.train.evaluation.results import Inference, PhaseResult
from fieldtune.train.evaluation.statistics import Estimate, shift
from fieldtune.train.reports.adaptation import (
    PHASES,
    Level,
    Line,
    adaptation_panel,
    by_second_panel,
    points,
)
from fieldtune.train.reports.figures import embedding_panel, principal_plane, task_colours
from fieldtune.train.study.cells import Cells, Metrics
from fieldtune.train.study.plan import Method
from fieldtune.train.study.results import Results
from fieldtune.train.study.summary import BOTH, Curve, Table, table_of

DRAWN: dict[Method, tuple[str, str, str]] = {
    "trained": ("self-labelled", AFTER, "s"),
    "frozen": ("self-labelled, encoder frozen (the paper's)", BEFORE, "o"),
    "oracle": ("oracle: true rewards", ORACLE, "^"),
}
PHASE_OF: dict[str, Method] = {"before": "offline", "after": "trained"}
DPI = 160
LINE = 0.05  # share of variance of a second component that there is nothing to see on


def adaptation(metrics: Metrics) -> Figure:
    """Return by episodes of own exploration, from the first on, by both inferences, before and
    after phase 2; beside it success, where the family has it."""
    sparse = metrics.cells[0].successes is not None
    panels = 2 if sparse else 1
    figure, axes = bare_figure(8.4 if panels == 1 else 11.4, 4.6, panels)
    handles = adaptation_axes(axes[0], metrics)
    if sparse:
        adaptation_axes(axes[1], metrics, success=True)
    legend_above(figure, handles)
    return figure


def adaptation_axes(axes: Axes, metrics: Metrics, *, success: bool = False) -> list:
    """Draw one study's adaptation; gives handles for a legend.

    Args:
        axes: what to draw on.
        metrics: whose cells.
        success: whether success is drawn, which the family must have, and not returns.
    """
    table = table_of(metrics.cells)
    lines = []
    for phase, inference, cells in _lines(table):
        first, by_episodes = cells.first_episode, cells.returns
        if success:
            assert cells.successes is not None
            first, by_episodes = cells.first_successes, cells.successes
        lines.append(Line(phase, inference, points(first, by_episodes)))
    return adaptation_panel(axes, lines, _levels(metrics, table, success), success=success)


def first_episode(metrics: Metrics) -> Figure:
    """Reward by second within the first episode, by both inferences, before and after phase 2."""
    figure, (axes,) = bare_figure(8.4, 4.2)
    legend_above(figure, first_episode_axes(axes, metrics))
    return figure


def first_episode_axes(axes: Axes, metrics: Metrics) -> list:
    """Draw one study's; gives handles for a legend."""
    lines = [
        (Line(phase, inference, []), cells.rewards)
        for phase, inference, cells in _lines(table_of(metrics.cells))
        if cells.rewards is not None
    ]
    return by_second_panel(axes, lines, metrics.period_s)


def _lines(table: Table) -> list[tuple[str, Inference, Cells]]:
    """Phase, inference and cells of each line that there is."""
    return [
        (phase, inference, table[PHASE_OF[phase], inference])
        for phase in PHASES
        for inference in BOTH
        if (PHASE_OF[phase], inference) in table
    ]


def _levels(metrics: Metrics, table: Table, success: bool) -> list[Level]:
    """What adaptation is compared with: offline contexts, the oracle by the encoder, and what was
    told the task."""
    offline = next(one for one in metrics.offline_context if one.method == "offline")
    cells = offline.successes if success and offline.successes else offline.returns
    value = float(np.mean(cells))
    found = [Level("offline context, before phase 2", value, OFFLINE)]
    for one in metrics.told:
        cells = one.successes if success and one.successes else one.returns
        found.append(Level("cloning, told the task", float(np.mean(cells)), MUTED))
    oracle = table.get(("oracle", "encoder"))
    if oracle is not None:
        k = min(QUOTED, oracle.episodes)
        reached = oracle.successes[k] if success and oracle.successes else oracle.returns[k]
        label = f"true rewards in phase 2, by the encoder, after {k}"
        found.append(Level(label, float(np.mean(reached)), ORACLE))
    return found


def by_steps(
    curves: Mapping[Inference, Mapping[Method, Curve]],
    levels: Mapping[str, float],
    *,
    success: bool = False,
) -> Figure:
    """Return or success by reward-free steps, with bootstrap intervals.

    Args:
        curves: by inference and method; solid by likelihood, dashed by the encoder.
        levels: what needs no such steps, by name, drawn across.
        success: whether success is drawn, and not returns.
    """
    figure, (axes,) = bare_figure(8.4, 4.8)
    furthest = 0.0
    for method, (label, colour, marker) in DRAWN.items():
        for inference in BOTH:
            curve = curves[inference].get(method)
            if curve is None:
                continue
            found = curve.success if success else curve.returns
            assert found is not None
            furthest = max(furthest, curve.steps[-1] / 1000)
            named = f"{label}, by {inference}"
            _line(axes, curve.steps, found, named, colour, marker, inference)
    colours = dict(zip(levels, (OFFLINE, MUTED, INK), strict=False))
    dashes = dict(zip(levels, ((5, 3), (1, 2), (3, 1, 1, 1)), strict=False))
    for label, value in levels.items():
        axes.axhline(value, color=colours[label], lw=1.5, ls=(0, dashes[label]), label=label)
    axes.set_xlim(0, furthest * 1.02)
    axes.set_xlabel("reward-free steps, thousands (the oracle's have rewards)")
    axes.set_ylabel("success on held-out tasks" if success else "return on held-out tasks")
    if success:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    legend_above(figure, axes.get_legend_handles_labels()[0])
    return figure


def reliability(judged: Sequence[Calibration]) -> Figure:
    """How often what a sparse family's decoder expects comes true, a line a seed."""
    figure, (axes, below) = bare_figure(8.4, 4.2, 2)
    for seed, one in enumerate(judged):
        predicted, observed, counts = (
            [getattr(each, name) for each in one.bins]
            for name in ("predicted", "observed", "count")
        )
        alpha = 1.0 - 0.7 * seed / len(judged)
        label = f"seed {seed}, expected error {one.expected_error:.3f}"
        axes.plot(predicted, observed, marker="o", lw=1.6, color=AFTER, alpha=alpha, label=label)
        below.plot(predicted, counts, marker="o", lw=1.6, color=AFTER, alpha=alpha)
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1.3, ls=(0, (4, 3)), label="as expected")
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel("probability of success that the decoder gives")
    axes.set_ylabel("share that was success")
    below.set_yscale("log")
    below.set_xlabel("probability of success that the decoder gives")
    below.set_ylabel("predictions")
    legend_above(figure, axes.get_legend_handles_labels()[0])
    return figure


def posterior_shift(results: Results, seed: int = 0) -> Figure:
    """Posterior means of offline contexts and of own exploration: before, frozen, trained.

    On the principal plane; against each other where all tasks lie on a line.
    """
    known: dict[Method, str] = {
        "offline": "before phase 2",
        "frozen": "after, encoder frozen",
        "trained": "after, encoder trained",
    }
    shown: list[Method] = [method for method in known if method in results]
    titles = [known[method] for method in shown]
    phases = [results[method][seed].final for method in shown]
    figure, panels = bare_figure(3.8 * len(shown), 4.6, len(shown))
    colours = task_colours(phases[0])
    on_a_line = principal_plane(phases[0])[2][1] < LINE
    for axes, phase, title in zip(panels, phases, titles, strict=True):
        if on_a_line:
            _line_panel(axes, phase, colours)
        else:
            embedding_panel(axes, phase, colours)
        axes.set_title(
            f"{title}: shift {number(shift(phase).relative)} × spread",
            color=INK,
            fontsize=10.5,
            loc="left",
        )

    if on_a_line:
        same = Line2D([], [], color=MUTED, lw=1.3, ls=(0, (4, 3)), label="no shift")
        dots = Line2D([], [], color=MUTED, marker="o", ls="", label="a task, and its repeats")
        legend_above(figure, [dots, same])
        return figure

    def mark(marker: str, label: str) -> Line2D:
        return Line2D([], [], color=MUTED, marker=marker, ls="", markersize=7, label=label)

    line = Line2D([], [], color=MUTED, lw=1.3, label="the same task")
    legend_above(figure, [mark("o", "offline context"), mark("^", "own exploration"), line])
    return figure


def _line(
    axes: Axes,
    steps: Sequence[float],
    found: Sequence[Estimate],
    label: str,
    colour: str,
    marker: str,
    inference: Inference,
) -> None:
    """Estimates by steps, with their intervals."""
    x = np.array(steps) / 1000
    low, high = ([getattr(e, side) for e in found] for side in ("low", "high"))
    axes.fill_between(x, low, high, color=colour, alpha=0.1, lw=0)
    values = [estimate.value for estimate in found]
    solid = inference == "likelihood"
    axes.plot(
        x,
        values,
        color=colour,
        marker=marker,
        ms=5.5,
        mfc=colour if solid else SURFACE,
        lw=2.0 if solid else 1.5,
        ls="-" if solid else (0, (4, 2)),
        label=label,
    )


def _line_panel(axes: Axes, phase: PhaseResult, colours: NDArray[np.float64]) -> None:
    """Where tasks lie on a line in z-space: each task's two kinds of context against each other."""
    along, across = (points[..., 0] for points in principal_plane(phase)[:2])
    for task, colour in enumerate(colours):
        axes.scatter(
            np.full_like(across[task], along[task].mean()),
            across[task],
            s=15,
            color=colour,
            alpha=0.4,
            linewidths=0,
        )
        axes.plot(along[task].mean(), across[task].mean(), "o", ms=8, color=colour, mec=SURFACE)
    ends = [min(along.min(), across.min()), max(along.max(), across.max())]
    axes.plot(ends, ends, color=MUTED, lw=1.3, ls=(0, (4, 3)), zorder=0)
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel("posterior mean, offline context")
    axes.set_ylabel("posterior mean, own exploration")
