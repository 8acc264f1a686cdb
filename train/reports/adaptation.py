"""The figures of adaptation: return or success by episodes of own exploration, from the first on,
and reward by second within the first.

Pure functions of numbers, for a run's report, a study and several studies side by side. Knows no
evaluation and no study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from fieldtune.train.charts import AFTER, BEFORE, SURFACE
from fieldtune.train.evaluation.results import Inference
from fieldtune.train.evaluation.statistics import Estimate, mean, over_tasks

Floats = NDArray[np.float64]

PHASES = {"before": ("before phase 2", BEFORE), "after": ("after phase 2", AFTER)}
INFERENCES: dict[Inference, str] = {
    "likelihood": "by the decoder's likelihood",
    "encoder": "by the encoder",
}
SMOOTHED_S = 0.5  # of a moving mean over rewards


@dataclass(frozen=True)
class Line:
    """How one inference adapts in one phase: `points[k]` is the episode after k others.

    `points[0]` is the first episode of all, in which what is inferred follows every step; None
    where it was not measured.
    """

    phase: str
    inference: Inference
    points: list[Estimate | None]

    @property
    def label(self) -> str:
        return f"{PHASES[self.phase][0]}, {INFERENCES[self.inference]}"

    @property
    def style(self) -> dict[str, Any]:
        """Colour by phase; filled and solid by likelihood, hollow and dashed by the encoder."""
        colour = PHASES[self.phase][1]
        if self.inference == "likelihood":
            return {"color": colour, "ls": "-", "lw": 2.2, "marker": "o", "ms": 6.5}
        return {"color": colour, "ls": (0, (4, 2)), "lw": 1.6, "marker": "s", "ms": 5.5} | {
            "mfc": SURFACE
        }


@dataclass(frozen=True)
class Level:
    """A number to compare with, drawn across."""

    label: str
    value: float
    colour: str


def points(first: ArrayLike | None, by_episodes: Sequence[ArrayLike]) -> list[Estimate | None]:
    """A line's points.

    Args:
        first: of the first episode, followed step by step, `([seed,] task, repeat)`.
        by_episodes: after 0 to K episodes, likewise. What is done after none, with nothing known
            and nothing followed, is no point of the line.
    """
    begun = None if first is None else mean(over_tasks(first))
    return [begun, *(mean(over_tasks(each)) for each in by_episodes[1:])]


def adaptation_panel(
    axes: Axes, lines: Sequence[Line], levels: Sequence[Level], *, success: bool = False
) -> list:
    """Draw lines with their intervals, and levels across.

    Args:
        axes: what to draw on.
        lines, levels: what to draw; numbers are shares where `success`.
        success: whether they are shares of success, and not returns.

    Returns:
        Handles for a legend.
    """
    handles = []
    for line in lines:
        known = [(k, point) for k, point in enumerate(line.points) if point is not None]
        x = [k for k, _ in known]
        low, high = ([getattr(point, side) for _, point in known] for side in ("low", "high"))
        axes.fill_between(x, low, high, color=line.style["color"], alpha=0.13, lw=0)
        values = [point.value for _, point in known]
        handles += axes.plot(x, values, label=line.label, **line.style)
    for level in levels:
        dashes = (0, (6, 2, 1, 2))
        handles.append(
            axes.axhline(level.value, color=level.colour, lw=1.5, ls=dashes, label=level.label)
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.04, y=0.08)
    axes.set_xlabel("episodes before (0: the first, step by step)")
    axes.set_ylabel("success" if success else "return (up is better)")
    if success:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return handles


def by_second_panel(axes: Axes, lines: Sequence[tuple[Line, ArrayLike]], period_s: float) -> list:
    """Draw the reward of the first episode as it goes on, the mean over half a second.

    Args:
        axes: what to draw on.
        lines: each with its mean rewards by step, `(seed, step)`; the band is from the lowest to
            the highest seed.
        period_s: of a step.

    Returns:
        Handles for a legend.
    """
    handles = []
    width = max(1, round(SMOOTHED_S / period_s))
    for line, rewards in lines:
        seeds = np.stack([_smoothed(row, width) for row in np.atleast_2d(np.asarray(rewards))])
        seconds = (np.arange(seeds.shape[1]) + (width + 1) / 2) * period_s
        style = line.style
        axes.fill_between(
            seconds, seeds.min(axis=0), seeds.max(axis=0), color=style["color"], alpha=0.13, lw=0
        )
        (drawn,) = axes.plot(seconds, seeds.mean(axis=0), label=line.label, **style)
        drawn.set_marker("none")
        handles.append(drawn)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds of the first episode")
    axes.set_ylabel("reward of a step")
    return handles


def _smoothed(rewards: Floats, width: int) -> Floats:
    return np.convolve(rewards, np.ones(width) / width, mode="valid")
