"""Where on the screen what stands: the robot on the left, curves on the right, the log below.

Knows Rerun's blueprints and the entities' names; not what is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fieldtune.robot.view.recording import path, rerun

BACKGROUND = (24, 26, 31)


@dataclass(frozen=True)
class Shown:
    """What there is to show. `belief` is in how many dimensions beliefs are, None without any."""

    actions: Sequence[str]
    observations: Sequence[str]
    space: bool
    belief: int | None
    belief_axes: str
    live: bool


def layout(shown: Shown) -> Any:
    """The blueprint of one robot's picture."""
    rerun()
    import rerun.blueprint as b

    left = [_space(b) if shown.space else b.TextDocumentView(origin="numbers", name="numbers")]
    if shown.belief is not None:
        left.append(beliefs(shown.belief, "belief", f"tasks believed ({shown.belief_axes})"))
    curves = [
        b.Tabs(
            *[_curves(b, path("action", name), name) for name in shown.actions],
            name="action, requested and applied",
        ),
        b.Tabs(*[_curves(b, path("observation", name), name) for name in shown.observations]),
        b.Horizontal(
            _curves(b, "reward", "reward"),
            *([_curves(b, "belief/known", "narrowing")] if shown.belief is not None else []),
        ),
        b.Horizontal(
            _curves(b, "limits", "limits touched", legend=False),
            _curves(b, "timing", "timing, ms"),
        ),
    ]
    pages = [b.TextDocumentView(origin="status", name="status" if shown.live else "episodes")]
    if shown.space:
        pages.append(b.TextDocumentView(origin="numbers", name="numbers"))
    if shown.live:
        pages.append(_curves(b, "loop", "the loop, ms"))
        pages.append(_curves(b, "uploads", "uploads"))
    return b.Blueprint(
        b.Vertical(
            b.Horizontal(
                b.Vertical(*left, row_shares=[3, 2][: len(left)]),
                b.Vertical(*curves, row_shares=[3, 3, 2, 2]),
                column_shares=[5, 6],
            ),
            b.Horizontal(
                b.TextLogView(origin="events", name="what happened"),
                b.Tabs(*pages),
                column_shares=[5, 6],
            ),
            row_shares=[7, 3],
        ),
        b.BlueprintPanel(state="collapsed"),
        b.SelectionPanel(state="collapsed"),
        b.TimePanel(state="collapsed"),
        auto_views=False,
    )


def beliefs(dimensions: int, origin: str, name: str) -> Any:
    """A view of particles in two or three dimensions; how many are known has a curve elsewhere."""
    import rerun.blueprint as b

    contents = [f"{origin}/tasks", f"{origin}/acted_on"]
    if dimensions == 2:
        return b.Spatial2DView(
            origin=origin, contents=contents, name=name, background=list(BACKGROUND)
        )
    grid = b.archetypes.LineGrid3D(visible=False)
    return b.Spatial3DView(
        origin=origin, contents=contents, name=name, background=list(BACKGROUND), line_grid=grid
    )


def _space(b: Any) -> Any:
    return b.Spatial3DView(origin="world", name="the robot", background=list(BACKGROUND))


def _curves(b: Any, origin: str, name: str, *, legend: bool = True) -> Any:
    """Curves under a name; a legend, which lies upon them, where the name does not say it all."""
    return b.TimeSeriesView(
        origin=origin,
        name=name,
        plot_legend=b.PlotLegend(corner=b.Corner2D.LeftTop, visible=legend),
    )
