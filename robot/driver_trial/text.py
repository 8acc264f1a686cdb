"""What a trial of a driver showed, for a person.

Makes text. It must not know how anything was measured.
"""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.table import Table

from fieldtune.robot.driver_trial.report import Seen, Spread, TrialReport

_WIDE = 200  # also into a pipe, where rich would cut lines at 80 columns


def lines(found: TrialReport) -> list[str]:
    """The observation as a table, figures, and what should be known. Not what is wrong."""
    command = found.commanded
    rows = [
        ("driver", f"{found.driver}, robot {found.robot!r}"),
        ("homed", "no" if found.homed_s is None else f"in {found.homed_s:.2f} s"),
        ("held still", f"{found.cycles} cycles, after {found.readings} readings at rest"),
        ("commanded", "nothing" if command is None else " ".join(f"{one:.4g}" for one in command)),
        ("rate", _rate(found)),
        ("jitter", _times(found.jitter_ms)),
        ("age", _times(found.age_ms)),
        ("read", _times(found.read_ms)),
        ("apply", _times(found.apply_ms)),
        ("arrays", f"reused by {', '.join(found.reuses)}" if found.reuses else "its own"),
    ]
    return [
        *_table(found.observation),
        *(f"{name:<12}{text}" for name, text in rows),
        *(f"note: {note}" for note in found.notes),
        *([] if found.wrong else [_well(found)]),
    ]


def _well(found: TrialReport) -> str:
    return "nothing is wrong" + ", but apply was not tried" * (found.commanded is None)


def _table(observation: tuple[Seen, ...]) -> list[str]:
    table = Table("observation", "unit", "bounds", "seen", "", box=None, pad_edge=False)
    for one in observation:
        bounds = f"[{_number(one.low, '-inf')}, {_number(one.high, 'inf')}]"
        seen = f"[{_number(one.seen_low)}, {_number(one.seen_high)}]"
        table.add_row(one.name, one.unit, bounds, seen, _remarks(one))
    console = Console(file=StringIO(), width=_WIDE, markup=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def _remarks(one: Seen) -> str:
    remarks = {
        "constant": one.constant,
        "jumps by a turn": one.jumps,
        "bounds are a turn apart": one.full_turn,
    }
    return ", ".join(text for text, true in remarks.items() if true)


def _rate(found: TrialReport) -> str:
    asked = "as fast as it can" if found.asked_hz is None else f"asked for {found.asked_hz:.2f}"
    return "unknown" if found.rate_hz is None else f"{found.rate_hz:.2f} Hz, {asked}"


def _number(value: float | None, without: str = "no number") -> str:
    return without if value is None else f"{value:.4g}"


def _times(spread: Spread | None) -> str:
    return "not tried" if spread is None else f"p50 {spread.p50:.3g}, max {spread.max:.3g} ms"
