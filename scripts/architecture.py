"""Draws docs/architecture.svg from the imports: `python -m scripts.architecture`.

Rooms stand in their layers, a line where one imports from another; a test holds the picture against
the code. It must not hold a layer itself: those are in tests/test_imports.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from tests.test_imports import LAYERS, edges, room_of

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"

_WIDTH, _HEIGHT, _GAP, _LAYER = 128, 30, 14, 60  # of a room, between rooms, from layer to layer
_MARGIN, _TITLE, _FONT = 24, 46, "font-family='system-ui, sans-serif'"
_COLUMNS = (("train",), ("robot",), ("sim", "export", "fieldtune"))
_COLOURS = {
    "train": "#2f6f9f",
    "robot": "#9a4a2e",
    "sim": "#4d7a3a",
    "export": "#7a5a9a",
    "fieldtune": "#5c6066",
}


@dataclass(frozen=True)
class Box:
    """A room as drawn: its upper left corner, in pixels."""

    x: float
    y: float

    def top(self) -> tuple[float, float]:
        return self.x + _WIDTH / 2, self.y

    def bottom(self) -> tuple[float, float]:
        return self.x + _WIDTH / 2, self.y + _HEIGHT


def draw() -> str:
    """The whole picture as SVG; the same code gives the same text."""
    boxes: dict[tuple[str, str], Box] = {}
    titles: list[str] = []
    left = float(_MARGIN)
    lowest = 0.0
    for column in _COLUMNS:
        y = float(_MARGIN)
        wide = max(len(layer) for half in column for layer in LAYERS[half])
        width = wide * (_WIDTH + _GAP) - _GAP
        for half in column:
            titles.append(
                f"<text x='{left:g}' y='{y + 18:g}' {_FONT} font-size='17' font-weight='600' "
                f"fill='{_COLOURS[half]}'>fieldtune.{half}</text>".replace(".fieldtune", "")
            )
            y += _TITLE
            for layer in LAYERS[half]:
                start = left + (width - len(layer) * (_WIDTH + _GAP) + _GAP) / 2
                for place, room in enumerate(sorted(layer)):
                    boxes[half, room] = Box(start + place * (_WIDTH + _GAP), y)
                y += _LAYER
            y += _MARGIN
        lowest = max(lowest, y)
        left += width + 3 * _MARGIN
    lines = [_line(boxes[a], boxes[b], a[0]) for a, b in sorted(_links())]
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{left - _MARGIN:g}' "
            f"height='{lowest:g}' viewBox='0 0 {left - _MARGIN:g} {lowest:g}' role='img'>",
            "<title>The rooms of Fieldtune, each layer above what it may import</title>",
            "<rect width='100%' height='100%' fill='#ffffff'/>",
            *titles,
            *lines,
            *(_room(half, room, box) for (half, room), box in sorted(boxes.items())),
            "</svg>",
            "",
        ]
    )


def _links() -> set[tuple[tuple[str, str], tuple[str, str]]]:
    """Which room of a half imports from which; imports between halves are the halves' own."""
    found: set[tuple[tuple[str, str], tuple[str, str]]] = set()
    for item, path in edges():
        here, there = _place(item.path), _place(path)
        if here and there and here[0] == there[0] and here != there:
            found.add((here, there))
    return found


def _place(path: str) -> tuple[str, str] | None:
    """The half and the room of a file; None for a package's own docstring."""
    half = path.partition("/")[0]
    room = room_of(path, half)
    return None if room in (None, "__init__") else (half, room)


def _line(above: Box, below: Box, half: str) -> str:
    (x1, y1), (x2, y2) = above.bottom(), below.top()
    bend = (y2 - y1) / 2
    return (
        f"<path d='M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}' "
        f"fill='none' stroke='{_COLOURS[half]}' stroke-opacity='0.28' "
        "stroke-width='1.5'/>"
    )


def _room(half: str, room: str, box: Box) -> str:
    x, y = box.top()
    return (
        f"<rect x='{box.x:g}' y='{box.y:g}' width='{_WIDTH}' height='{_HEIGHT}' rx='6' "
        f"fill='#ffffff' stroke='{_COLOURS[half]}' stroke-width='1.4'/>"
        f"<text x='{x:g}' y='{y + 19:g}' {_FONT} font-size='12.5' text-anchor='middle' "
        f"fill='#1b1b1b'>{escape(room)}</text>"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw())
    print(PICTURE.relative_to(ROOT))
