"""Pages of the picture in Markdown: numbers by name, and the episodes of a journal.

Pure text; must not know the viewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.episodes.episode import Step
from fieldtune.robot.journal.entry import Entry
from fieldtune.robot.mcap.schemas import Names
from fieldtune.robot.monitor.snapshot import Snapshot
from fieldtune.robot.monitor.text import rows
from fieldtune.robot.rationed_log import printable

_SHOWN = 50  # episodes in a table


def joints(step: Step, names: Names) -> str:
    """Every number of a step by its field's name and unit."""
    lines = [f"step {step.index}", ""]
    lines += _table(names.observation, {"observed": step.observation})
    lines.append("")
    lines += _table(names.action, {"requested": step.requested, "applied": step.applied})
    return "\n".join(lines)


def recorded(episodes: Mapping[int, tuple[Entry, float | None]]) -> str:
    """Finished episodes, newest first, with their returns where they were rewarded."""
    lines = ["| episode | z from | steps | ended | return | upload |", "|---|---|---|---|---|---|"]
    for number in sorted(episodes, reverse=True)[:_SHOWN]:
        entry, worth = episodes[number]
        ended = "" if entry.footer is None else str(entry.footer.end_reason)
        returned = "" if worth is None else f"{worth:.2f}"
        lines.append(
            f"| {number} | {entry.header.mode} | {entry.steps} | {ended} | {returned} | "
            f"{entry.state} |"
        )
    return "\n".join(lines)


def status(snapshot: Snapshot) -> str:
    """What the monitor says, as a table."""
    lines = ["| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(text)} |" for name, text, _ in rows(snapshot)]
    return "\n".join(lines)


def _table(fields: Sequence[FieldSpec], columns: Mapping[str, Sequence[float]]) -> list[str]:
    width = len(next(iter(columns.values())))
    labels = [
        (f"{f.name}[{i}]" if f.width > 1 else f.name, f.unit)
        for f in fields
        for i in range(f.width)
    ]
    if len(labels) != width:
        labels = [(str(i), "") for i in range(width)]
    lines = [f"| | {' | '.join(columns)} | |", "|---|" + "---:|" * len(columns) + "---|"]
    for i, (name, unit) in enumerate(labels):
        numbers = " | ".join(f"{values[i]:.4g}" for values in columns.values())
        lines.append(f"| {_cell(name)} | {numbers} | {_cell(unit)} |")
    return lines


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|")
