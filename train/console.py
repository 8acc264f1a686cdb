"""What a person sees in the terminal while something runs: progress bars and tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

LINE_EVERY_S = 15.0


class Advance(Protocol):
    def __call__(self, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress(title: str, unit: str) -> Iterator[Advance]:
    """A bar with elapsed and remaining time; a line now and then where there is no terminal."""
    console = Console()
    if not console.is_terminal:
        yield _Lines(console, title, unit)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=2) as bars:
        bar = bars.add_task(title, total=None, note="")

        def advance(done: int, total: int, note: str = "") -> None:
            bars.update(bar, completed=done, total=total, note=note)

        yield advance


class _Lines:
    """Progress as lines: one every `LINE_EVERY_S`, and one at the end."""

    def __init__(self, console: Console, title: str, unit: str) -> None:
        self._console, self._title, self._unit = console, title, unit
        self._started = self._last = self._began = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if self._first is None:
            # A resumed run's pace is that of what it still has to do, without what came before it.
            self._first, self._began = done, now
        if done < total and now - self._last < LINE_EVERY_S:
            return
        if done >= total and self._last == float("inf"):
            return
        self._last = float("inf") if done >= total else now
        gained = done - self._first
        pace = (now - self._began) / gained if gained else 0.0
        left = f"about {_clock(pace * (total - done))}" if gained else "?"
        passed = _clock(now - self._started)
        text = f"{self._title} {done}/{total} {self._unit}, {passed} passed, {left} left"
        self._console.print(f"{text} {note}".rstrip(), highlight=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def print_returns(
    returns: Mapping[str, float | None], success: Mapping[str, float] | None = None
) -> None:
    """The table that every evaluation ends with; with shares of success, where there are any."""
    table = Table("held-out tasks", "return", *([] if success is None else ["success"]))
    for name, value in returns.items():
        row = [name.replace("_", " "), "–" if value is None else f"{value:.2f}"]
        if success is not None:
            row.append(f"{success[name]:.0%}" if name in success else "–")
        table.add_row(*row)
    Console().print(table)
