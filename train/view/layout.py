"""Where on the screen a run's curves, robots and beliefs stand. Knows Rerun's blueprints alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fieldtune.robot.view.layout import beliefs as _beliefs
from fieldtune.robot.view.recording import path, rerun


def layout(curves: Mapping[str, Sequence[str]], beliefs: Mapping[str, tuple[int, str]]) -> Any:
    """The blueprint.

    Args:
        curves: their names, by phase.
        beliefs: by robot, in how many dimensions they are drawn, and what the axes are.
    """
    rerun()
    import rerun.blueprint as b

    pages = [
        b.Grid(
            *[b.TimeSeriesView(origin=path("curves", phase, name), name=name) for name in names],
            name=phase,
        )
        for phase, names in curves.items()
    ]
    rows: list[Any] = [b.Tabs(*pages)] if pages else []
    robots = []
    for robot, (dimensions, axes) in beliefs.items():
        robots.append(
            b.Vertical(
                _beliefs(
                    dimensions,
                    path("robots", robot, "belief"),
                    f"{robot}: tasks believed ({axes})",
                ),
                b.TimeSeriesView(origin=path("robots", robot, "reward"), name="rewards"),
                row_shares=[3, 1],
                name=robot,
            )
        )
    if robots:
        rows.append(b.Tabs(*robots))
    top = b.Horizontal(*rows, column_shares=[3, 2][: len(rows)]) if rows else None
    below = b.Horizontal(
        b.TextDocumentView(origin="fleet", name="robots"),
        b.TextLogView(origin="events", name="what happened"),
    )
    return b.Blueprint(
        below if top is None else b.Vertical(top, below, row_shares=[3, 1]),
        b.BlueprintPanel(state="collapsed"),
        b.SelectionPanel(state="collapsed"),
        b.TimePanel(state="collapsed"),
        auto_views=False,
    )
