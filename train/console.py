"""What a person sees in the terminal while something runs: progress bars and tables."""

from __future__ import annotations

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


class Advance(Protocol):
    def __call__(self, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress(title: str, unit: str) -> Iterator[Advance]:
    """A bar with elapsed and remaining time; where there is no terminal, a line at its end."""
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
    with Progress(*columns, refresh_per_second=2) as bars:
        bar = bars.add_task(title, total=None, note="")

        def advance(done: int, total: int, note: str = "") -> None:
            bars.update(bar, completed=done, total=total, note=note)

        yield advance


def print_returns(returns: Mapping[str, float | None]) -> None:
    """The table that every evaluation ends with."""
    table = Table("held-out tasks", "return")
    for name, value in returns.items():
        table.add_row(name.replace("_", " "), "–" if value is None else f"{value:.2f}")
    Console().print(table)
