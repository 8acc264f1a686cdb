"""Methods compared: what each returns after own exploration, and from an offline context.

The figure and the page's words on it, pure functions of a study's table. The look is that of
`fieldtune.train.charts`.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from fieldtune.train.charts import AFTER, BEFORE, INK, OFFLINE, SURFACE, bare_figure, legend_above
from fieldtune.train.evaluation.results import Inference
from fieldtune.train.evaluation.statistics import Estimate
from fieldtune.train.study import tables
from fieldtune.train.study.plan import Method
from fieldtune.train.study.summary import Ceiling, Row

APART = 0.22  # of one method's marks, where methods are 1 apart
STYLES: dict[Inference, tuple[str, str]] = {"likelihood": (AFTER, "s"), "encoder": (BEFORE, "o")}
OFFLINE_CONTEXT = "an offline context, by the encoder"


def methods_figure(table: Sequence[Row], scale: Sequence[Ceiling]) -> Figure:
    """A line a method: its return, by each inference, as tables quote it, with the intervals; and
    its return from an offline context. Beside it success, where the family has it.

    Args:
        table: of one study.
        scale: its offline contexts.
    """
    order: list[Method] = list(dict.fromkeys(row.method for row in table))
    sparse = table[0].successes is not None
    figure, panels = bare_figure(8.4 if not sparse else 11.4, 1.4 + 0.5 * len(order), 1 + sparse)
    for axes, success in zip(panels, (False, True), strict=False):
        _panel(axes, table, scale, order, success=success)
    for axes in panels[1:]:
        axes.set_yticklabels([])
    k = table[0].quoted
    handles = [
        Line2D([], [], color=colour, marker=marker, ls="", label=f"by {inference}, K = {k}")
        for inference, (colour, marker) in STYLES.items()
        if any(row.inference == inference for row in table)
    ]
    handles.append(
        Line2D([], [], color=OFFLINE, marker="D", mfc=SURFACE, ls="", label=OFFLINE_CONTEXT)
    )
    legend_above(figure, handles)
    return figure


def section(own: str, figure: str) -> list[str]:
    """The page's lines, with the study's own algorithm and the figure's file."""
    return [
        f"A row that names no algorithm is of the study's own, `{own}`. An algorithm that learns "
        "no decoder was given one afterwards, and is asked by likelihood too.",
        "",
        f"![What each method returns]({figure})",
        "",
    ]


def _panel(
    axes: Axes,
    table: Sequence[Row],
    scale: Sequence[Ceiling],
    order: Sequence[Method],
    *,
    success: bool,
) -> None:
    place = {method: len(order) - 1 - index for index, method in enumerate(order)}
    for row in table:
        known = row.successes if success else row.returns
        if known is not None:
            colour, marker = STYLES[row.inference]
            above = APART if row.inference == "likelihood" else 0.0
            _mark(axes, known[str(row.quoted)], place[row.method] + above, colour, marker)
    for one in scale:
        found = one.success if success else one.value
        if found is not None and one.method in place:
            _mark(axes, found, place[one.method] - APART, OFFLINE, "D", filled=False)
    axes.set_yticks(list(place.values()), [tables.named(one, lean=False) for one in place])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_xlabel("success on held-out tasks" if success else "return on held-out tasks")
    if success:
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))


def _mark(
    axes: Axes, found: Estimate, y: float, colour: str, marker: str, *, filled: bool = True
) -> None:
    axes.plot([found.low, found.high], [y, y], color=colour, lw=1.6, alpha=0.6)
    inside = colour if filled else SURFACE
    axes.plot([found.value], [y], color=colour, marker=marker, mfc=inside, ms=6, ls="")
