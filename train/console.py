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
    """Progress as lines: one every `LINE_EVERY_S`, one at the end, and one at once where the first
    call says by a note what is waited for."""

    def __init__(self, console: Console, title: str, unit: str) -> None:
        self._console, self._title, self._unit = console, title, unit
        self._started = self._last = time.monotonic()
        self._first: int | None = None
        self._since: tuple[int, float] | None = None  # when it was seen to move, and from where

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now, is_first = time.monotonic(), self._first is None
        if self._first is None:
            self._first = done
        elif self._since is None and done > self._first:
            # Its pace is that of what it does, without what it loaded or waited for before.
            self._since = done, now
        due = now - self._last >= LINE_EVERY_S or (is_first and bool(note))
        if done < total and not due:
            return
        if done >= total and self._last == float("inf"):
            return
        self._last = float("inf") if done >= total else now
        text = f"{self._title} {done}/{total} {self._unit}, {_clock(now - self._started)} passed"
        text = f"{text}, {self._left(done, total, now)} left {note}".rstrip()
        self._console.print(text, highlight=False, soft_wrap=True)

    def _left(self, done: int, total: int, now: float) -> str:
        if self._since is None or done == self._since[0]:
            return "?" if done < total else "about 0:00"
        before, then = self._since
        return f"about {_clock((now - then) / (done - before) * (total - done))}"


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
