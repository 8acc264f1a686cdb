"""Colours, number formats and the look of every figure. Draws nothing of its own."""

from __future__ import annotations

import io
import re

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


def number(value: float) -> str:
    """A return for people: a true minus sign, and no digits that mean nothing; – for none."""
    if not np.isfinite(value):  # e.g. a shift by the spread of one task
        return "–"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:z.{digits}f}".replace("-", "−")


def percent(share: float) -> str:
    return f"{100 * share:z.0f}\N{NO-BREAK SPACE}%".replace("-", "−")


INK, MUTED, GRID, SURFACE = "#1c2026", "#5f6b7a", "#d5dae1", "#fefefe"
# Okabe and Ito's palette: told apart with any colour vision.
OFFLINE, BEFORE, AFTER, ORACLE, REFERENCE = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#98a1ad"
THEME = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    SURFACE: "surface",
    OFFLINE: "offline",
    BEFORE: "before",
    AFTER: "after",
    ORACLE: "oracle",
    REFERENCE: "reference",
}
"""Colour → the name of the CSS variable that stands for it in `to_svg`."""


def to_svg(figure: Figure, name: str, description: str) -> str:
    """An `<svg>` element for a page: colours of `THEME` as CSS variables, text as text.

    Args:
        name: prefix of every id inside, so that several figures can share a page.
        description: what a reader who cannot see it is told; plain text without quotes or markup.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in THEME.items():
        text = text.replace(colour, f"var(--{variable})")
    size = r' width="[^"]+pt"| height="[^"]+pt"'
    opening, rest = text.split(">", 1)
    opening = re.sub(size, "", opening)
    return f'{opening} role="img" aria-label="{description}">{rest}'


def to_png(figure: Figure, dpi: int) -> bytes:
    """The figure as a PNG file, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def to_small_png(figure: Figure, dpi: int) -> bytes:
    """As `to_png`, of 255 colours at most: a third of the bytes where dots lie over dots."""
    buffer = io.BytesIO()
    whole = Image.open(io.BytesIO(to_png(figure, dpi))).convert("RGB")
    rare = Image.Quantize.MAXCOVERAGE  # colours are kept too: a target's few pixels
    whole.quantize(255, rare, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def bare_figure(width: float, height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in the house style, outside pyplot, and the axes of its panels.

    Args:
        width, height: in inches.
        panels: how many, side by side.
    """
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=SURFACE)
    FigureCanvasAgg(figure)
    grid = [figure.add_subplot(1, panels, index + 1) for index in range(panels)]
    for axes in grid:
        axes.set_facecolor("none")
        axes.set_axisbelow(True)
        axes.grid(color=GRID, linewidth=0.7)
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=MUTED, labelsize=9.5, length=0)
        axes.xaxis.label.set_color(MUTED)
        axes.yaxis.label.set_color(MUTED)
    return figure, grid


def legend_above(figure: Figure, handles: list) -> None:
    columns = len(handles) if len(handles) <= 3 else 2
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=10,
        labelcolor=INK,
    )
