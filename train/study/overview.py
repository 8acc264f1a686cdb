"""Several studies side by side: adaptation, and the first episode by second.

Pure functions of their `metrics.json`; success is drawn where a family has it, and returns else.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from fieldtune.train.charts import INK, bare_figure, legend_above
from fieldtune.train.study.cells import Metrics
from fieldtune.train.study.figures import adaptation_axes, first_episode_axes

WIDTH = 4.6  # of a panel, in inches


def adaptations(studies: Sequence[Metrics]) -> Figure:
    """Return or success by episodes of own exploration, from the first on: a panel a study."""
    figure, panels = bare_figure(WIDTH * len(studies), 4.4, len(studies))
    handles: list = []
    for axes, study in zip(panels, studies, strict=True):
        handles += adaptation_axes(axes, study, success=study.cells[0].successes is not None)
        axes.set_title(_title(study), color=INK, fontsize=11.5, loc="left")
    legend_above(figure, _one_of_each(handles))
    return figure


def first_episodes(studies: Sequence[Metrics]) -> Figure:
    """Reward by second within the first episode: a panel a study."""
    figure, panels = bare_figure(WIDTH * len(studies), 4.0, len(studies))
    handles: list = []
    for axes, study in zip(panels, studies, strict=True):
        handles += first_episode_axes(axes, study)
        axes.set_title(_title(study), color=INK, fontsize=11.5, loc="left")
    legend_above(figure, _one_of_each(handles))
    return figure


def _title(study: Metrics) -> str:
    return f"{study.family}, {study.seeds} seed{'s' if study.seeds > 1 else ''}"


def _one_of_each(handles: list) -> list:
    """The first handle of each label: a study may have what others lack."""
    found: dict = {}
    for handle in handles:
        found.setdefault(handle.get_label(), handle)
    return list(found.values())
