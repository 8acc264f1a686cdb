"""A study's figures: return and success by reward-free steps, the decoder, the posterior shift.

Pure functions of results; the look is `fieldtune.train.reports.figures`'.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from fieldtune.train.charts import (
    AFTER,
    BEFORE,
    INK,
    MUTED,
    OFFLINE,
    ORACLE,
    REFERENCE,
    SURFACE,
    bare_figure,
    legend_above,
    number,
)
from fieldtune.train.evaluation.calibration import Calibration
from fieldtune.train.evaluation.results import PhaseResult
from fieldtune.train.evaluation.statistics import shift
from fieldtune.train.reports.figures import embedding_panel, principal_plane, task_colours
from fieldtune.train.study.plan import Method
from fieldtune.train.study.summary import (
    Estimate,
    Results,
    curve,
    iqm,
    offline,
    offline_success,
    online,
    online_success,
)

DRAWN = {
    "trained": ("self-labelled, encoder trained", AFTER, "s"),
    "frozen": ("self-labelled, encoder frozen (the paper's)", BEFORE, "o"),
    "oracle": ("oracle: true rewards", ORACLE, "^"),
}
DPI = 160
LINE = 0.05  # share of variance of a second component that there is nothing to see on


def returns_by_steps(results: Results, random: float) -> Figure:
    """IQM of the return by reward-free steps for each method, with bootstrap intervals.

    Args:
        random: return of random actions, drawn for scale where it is not far below everything.
    """
    figure, (axes,) = bare_figure(8.4, 4.6)
    furthest = 0.0
    for method, (label, colour, marker) in DRAWN.items():
        found = curve(results, method)  # type: ignore[arg-type]
        furthest = max(furthest, found.steps[-1] / 1000)
        _line(axes, found.steps, found.iqm, label, colour, marker)
    levels = {
        "offline context, before phase 2": (
            iqm(offline(results["offline"])).value,
            OFFLINE,
            (5, 3),
        ),
        "meta-behaviour cloning": (iqm(online(results["meta-bc"])).value, MUTED, (1, 2)),
        "PEARL on the static data": (iqm(online(results["pearl"])).value, INK, (3, 1, 1, 1)),
        "random actions": (random, REFERENCE, (1, 4)),
    }
    for label, (value, colour, dashes) in levels.items():
        axes.axhline(value, color=colour, lw=1.5, ls=(0, dashes), label=label)
    axes.set_xlim(0, furthest * 1.02)
    axes.set_xlabel("reward-free steps, thousands (the oracle's have rewards)")
    axes.set_ylabel("return on held-out tasks, IQM")
    legend_above(figure, axes.get_legend_handles_labels()[0])
    return figure


def success_by_steps(results: Results) -> Figure:
    """Share of successes by reward-free steps for each method, with bootstrap intervals.

    For families that have success.
    """
    figure, (axes,) = bare_figure(8.4, 4.6)
    for method, (label, colour, marker) in DRAWN.items():
        found = curve(results, method)  # type: ignore[arg-type]
        assert found.success is not None
        _line(axes, found.steps, found.success, label, colour, marker)
    levels = {
        "offline context, before phase 2": (offline_success(results["offline"]), OFFLINE, (5, 3)),
        "meta-behaviour cloning": (online_success(results["meta-bc"]), MUTED, (1, 2)),
        "PEARL on the static data": (online_success(results["pearl"]), INK, (3, 1, 1, 1)),
    }
    for label, (cells, colour, dashes) in levels.items():
        assert cells is not None
        axes.axhline(cells.mean(), color=colour, lw=1.5, ls=(0, dashes), label=label)
    axes.set_ylim(0, 1)
    axes.set_xlim(left=0)
    axes.set_xlabel("reward-free steps, thousands (the oracle's have rewards)")
    axes.set_ylabel("success on held-out tasks")
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
    shown: tuple[Method, ...] = ("offline", "frozen", "trained")
    titles = ("before phase 2", "after, encoder frozen", "after, encoder trained")
    phases = [results[method][seed].final for method in shown]
    figure, panels = bare_figure(11.4, 4.6, len(shown))
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
) -> None:
    """Estimates by steps, with their intervals."""
    x = np.array(steps) / 1000
    low, high = ([getattr(e, side) for e in found] for side in ("low", "high"))
    axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    values = [estimate.value for estimate in found]
    axes.plot(x, values, color=colour, marker=marker, markersize=6, lw=2, label=label)


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
