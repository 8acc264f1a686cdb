"""The report's figures, each a pure function of an `Evaluation`.

Knows matplotlib and the evaluation's numbers. Keeps no figure and touches no global state, so it
can be called from any program; `fieldtune.train.charts.THEME` names colours, for a page to restyle.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib import colormaps
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
from fieldtune.train.evaluation.results import Adapted, Evaluation, Inference, PhaseResult
from fieldtune.train.evaluation.statistics import returns_by_task, shift
from fieldtune.train.reports.adaptation import (
    PHASES,
    Level,
    Line,
    adaptation_panel,
    by_second_panel,
    points,
)

Floats = NDArray[np.float64]

BARS = {
    "offline_context": ("offline\ncontext", OFFLINE),
    "likelihood_before": ("by\nlikelihood,\nbefore", BEFORE),
    "likelihood_after": ("by\nlikelihood,\nafter", AFTER),
    "online_before": ("by\nencoder,\nbefore", BEFORE),
    "online_after": ("by\nencoder,\nafter", AFTER),
    "oracle": ("by\nencoder,\noracle", ORACLE),
    "random": ("random\nactions", REFERENCE),
    "scripted": ("scripted,\ntask known", REFERENCE),
}
MOST_LABELS = 12  # tasks that can be numbered in a panel and still be read


def return_bars(evaluation: Evaluation) -> Figure:
    """Mean return on the held-out tasks by source of context; a dot for each task."""
    figure, (axes,) = bare_figure(7.6, 3.7)
    dots = {name: found for name, found in returns_by_task(evaluation).items() if name in BARS}
    returns = evaluation.returns
    bars = [(name, value) for name in BARS if (value := returns.get(name)) is not None]
    jitter = np.random.default_rng(0)
    for place, (name, value) in enumerate(bars):
        colour = BARS[name][1]
        axes.bar(
            place,
            value,
            width=0.62,
            facecolor=colour,
            edgecolor=SURFACE,
            hatch="///" if name == "random" else None,
            alpha=0.85,
            linewidth=0,
        )
        if name in dots:
            x = place + jitter.uniform(-0.2, 0.2, len(dots[name]))
            axes.scatter(
                x, dots[name], s=20, color=INK, edgecolors=SURFACE, linewidths=0.7, zorder=3
            )
    everything = np.concatenate([[0.0], [v for _, v in bars], *dots.values()])
    low, high = everything.min(), everything.max()
    room = 0.14 * (high - low or 1.0)
    axes.set_ylim(low - (room if low < 0 else 0), high + room)
    for place, (name, value) in enumerate(bars):
        # On the far side of zero from the bar, where nothing else is drawn.
        above = value < 0
        clear = max([0.0, *dots.get(name, [])]) if above else min([0.0, *dots.get(name, [])])
        axes.annotate(
            number(value),
            (place, clear),
            xytext=(0, 5 if above else -5),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            color=INK,
            fontsize=11,
            fontweight="bold",
        )
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xticks(range(len(bars)), [BARS[name][0] for name, _ in bars], color=INK)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("return of an episode (up is better)")
    return figure


def adaptation_curve(evaluation: Evaluation) -> Figure:
    """Return by episodes of own exploration, from the first on, by encoder and by likelihood, with
    the bootstrap interval of the mean over tasks."""
    figure, (axes,) = bare_figure(7.6, 4.4)
    lines = [
        Line(name, inference, points(_first(adapted), adapted.returns))
        for name, inference, adapted in _drawn(evaluation)
    ]
    legend_above(figure, adaptation_panel(axes, lines, _levels(evaluation)))
    return figure


def first_episode(evaluation: Evaluation) -> Figure:
    """Reward by second within the first episode, by encoder and by likelihood."""
    figure, (axes,) = bare_figure(7.6, 4.0)
    lines = [
        (Line(name, inference, []), adapted.first_episode.rewards)
        for name, inference, adapted in _drawn(evaluation)
        if adapted.first_episode is not None
    ]
    legend_above(figure, by_second_panel(axes, lines, evaluation.period_s))
    return figure


def _drawn(evaluation: Evaluation) -> Iterator[tuple[str, Inference, Adapted]]:
    """Phase, inference and result of each line; by likelihood first."""
    for name in PHASES:
        if name in evaluation.phases:
            for inference, adapted in reversed(list(evaluation.phases[name].inferences)):
                yield name, inference, adapted


def _first(adapted: Adapted) -> list[list[float]] | None:
    return None if adapted.first_episode is None else adapted.first_episode.returns


def _levels(evaluation: Evaluation) -> list[Level]:
    """What adaptation is compared with."""
    returns, episodes = evaluation.returns, evaluation.phases["before"].encoder.quoted
    known = {
        "offline_context": ("offline context, before phase 2", OFFLINE),
        "oracle": (f"true rewards in phase 2, by the encoder, after {episodes}", ORACLE),
    }
    found = ((label, returns[name], colour) for name, (label, colour) in known.items())
    return [Level(label, value, colour) for label, value, colour in found if value is not None]


def embeddings(evaluation: Evaluation) -> Figure:
    """Posterior means of offline contexts and of contexts from own exploration, task by task."""
    names = [name for name in ("before", "after") if name in evaluation.phases]
    figure, panels = bare_figure(7.6, 4.3 if len(names) == 2 else 4.8, len(names))
    colours = task_colours(evaluation.phases["before"])
    for axes, name in zip(panels, names, strict=True):
        phase = evaluation.phases[name]
        embedding_panel(axes, phase, colours)
        axes.set_title(
            f"{PHASES[name][0]}: shift {number(shift(phase).relative)} × spread of tasks",
            color=INK,
            fontsize=10.5,
            loc="left",
        )

    def mark(marker: str, label: str) -> Line2D:
        return Line2D([], [], color=MUTED, marker=marker, ls="", markersize=7, label=label)

    line = Line2D([], [], color=MUTED, lw=1.3, label="the same task")
    legend_above(figure, [mark("o", "offline context"), mark("^", "own exploration"), line])
    return figure


def task_colours(phase: PhaseResult) -> Floats:
    """A colour for each task, `(task, 4)`, in the order in which the posteriors lie."""
    order = _along_first_component(phase)
    return colormaps["viridis"](np.linspace(0.18, 0.92, len(order)))[np.argsort(order)]


def embedding_panel(axes: Axes, phase: PhaseResult, colours: Floats) -> None:
    """Draw one phase's posterior means on their principal plane, a line between a task's centroids.

    Args:
        axes: what to draw on.
        phase: posterior means of offline contexts and of contexts from own exploration.
        colours: one a task, `(task, 4)` (`task_colours`).
    """
    offline, online, shares = principal_plane(phase)
    for task, colour in enumerate(colours):
        for means, marker in ((offline[task], "o"), (online[task], "^")):
            axes.scatter(
                means[:, 0],
                means[:, 1],
                s=15,
                marker=marker,
                color=colour,
                alpha=0.4,
                linewidths=0,
            )
        start, end = offline[task].mean(axis=0), online[task].mean(axis=0)
        axes.plot(*np.stack([start, end]).T, color=colour, lw=1.3, alpha=0.9)
        for centre, marker in ((start, "o"), (end, "^")):
            axes.plot(*centre, marker=marker, ms=8, color=colour, mec=SURFACE, mew=0.8, zorder=3)
        if len(colours) <= MOST_LABELS:
            axes.annotate(
                str(task), start, xytext=(5, 4), textcoords="offset points", fontsize=8, color=INK
            )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"first component ({100 * shares[0]:.0f} % of variance)")
    axes.set_ylabel(f"second component ({100 * shares[1]:.0f} %)")


def principal_plane(phase: PhaseResult) -> tuple[Floats, Floats, Floats]:
    """Both kinds of posterior means on their common first two principal components.

    Returns:
        Offline and online points, `(task, repeat, 2)`, and the share of variance of each component.
    """
    offline, online = np.asarray(phase.offline_embeddings), np.asarray(phase.encoder.embeddings)
    latent = offline.shape[-1]
    together = np.concatenate([offline.reshape(-1, latent), online.reshape(-1, latent)])
    centre = together.mean(axis=0)
    _, values, components = np.linalg.svd(together - centre, full_matrices=False)
    plane = np.zeros((latent, 2))
    plane[:, : min(2, latent)] = components[:2].T
    plane *= np.where(plane.sum(axis=0) < 0, -1.0, 1.0)  # the sign of a component is arbitrary
    power = np.append(np.square(values), 0.0)
    shares = power[:2] / max(power.sum(), np.finfo(float).tiny)
    return (offline - centre) @ plane, (online - centre) @ plane, shares


def _along_first_component(phase: PhaseResult) -> NDArray[np.int64]:
    """Tasks in the order of their offline centroids on the first component."""
    offline, _, _ = principal_plane(phase)
    return np.argsort(offline[..., 0].mean(axis=1))
