"""From a report to docs/benchmarks.md, and from one table to lines on a terminal.

Knows figures only; does not know how anything was timed.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Goal, Ratio, Report, Series, Table

_ROLES = {"ours": "ours", "theirs": "instead", "floor": "floor"}
_SIGNS = {"met": "met", "missed": "**missed**", "not measured": "not measured"}


def page(report: Report) -> str:
    """The whole page, in Markdown."""
    return "\n".join(_lines(report)) + "\n"


def plain(table: Table) -> str:
    """One table for a terminal."""
    wide = max((len(series.label) for series in table.series), default=0)
    lines = [f"{table.title} ({table.unit}; {table.conditions})"]
    for series in table.series:
        lines.append(
            f"  {series.label:{wide}}  {number(series.median):>12}  "
            f"{_share(table, series):>8}  {_ROLES[series.role]}"
        )
    lines += [f"  = {check}" for check in table.checks]
    lines += [f"  - {label}: {why}" for label, why in table.skipped.items()]
    for goal in table.goals:
        lines.append(f"  goal {goal.says}: {_reached(table, goal)}, {table.verdict(goal)}")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that mean something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _lines(report: Report) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield (
        "Made by `make bench`; every round's numbers are in [benchmarks.json](benchmarks.json)."
        " Both sides of a comparison do the same work, which is checked before they are timed, in "
        "turns. Figures are medians over the rounds, ratios the median of the rounds' own ratios, "
        "with quartiles in brackets. A floor is the same work with nobody's code around it. "
        "Absolute figures are this machine's; ratios travel better."
    )
    if report.quick:
        yield ""
        yield "**Made with `--quick`: these numbers mean nothing.**"
    yield ""
    yield from _list(report.machine)
    yield ""
    yield "Versions: " + ", ".join(f"{name} {v}" for name, v in report.versions.items()) + "."
    yield ""
    yield "## Goals"
    yield ""
    yield "| what | goal | reached | |"
    yield "|---|---|---|---|"
    for table in report.tables:
        for goal in table.goals:
            verdict = _SIGNS[table.verdict(goal)]
            yield f"| {table.title} | {goal.says} | {_reached(table, goal)} | {verdict} |"
    for name, why in report.failed.items():
        yield f"| `benchmarks.{name}` | – | {_cell(why)} | not measured |"
    for table in report.tables:
        yield ""
        yield from _section(table)


def _section(table: Table) -> Iterator[str]:
    yield f"## {table.title}"
    yield ""
    yield f"{table.conditions[0].upper()}{table.conditions[1:]}."
    yield ""
    if table.series:
        yield f"| | {table.unit} | quartiles | to ours | |"
        yield "|---|---|---|---|---|"
    for series in table.series:
        spread = table.ratio(series.label, None)
        assert spread is not None
        yield (
            f"| {series.label} | {number(spread.middle)} | "
            f"{number(spread.low)} – {number(spread.high)} | {_share(table, series)} | "
            f"{_ROLES[series.role]} |"
        )
    for check in table.checks:
        yield ""
        yield f"Checked: {check}."
    for label, why in table.skipped.items():
        yield ""
        yield f"Not here: {label}. {why}"


def _share(table: Table, series: Series) -> str:
    """How a series compares with the first of ours."""
    first = next((one for one in table.series if one.role == "ours"), None)
    if first is None:
        return ""
    ratio = table.ratio(series.label, first.label)
    assert ratio is not None
    return f"{ratio.middle:.2f}×"


def _reached(table: Table, goal: Goal) -> str:
    ratio = table.ratio(goal.subject, goal.against)
    if ratio is None:
        if not table.series and table.skipped:  # nothing of it can be had here
            return _cell(next(iter(table.skipped.values())))
        missing = goal.against if table.find(goal.subject) else goal.subject
        return f"no {missing}"
    return _bracketed(ratio, "×" if goal.against else f" {table.unit}")


def _bracketed(ratio: Ratio, unit: str) -> str:
    return f"{ratio.middle:.3g}{unit} ({ratio.low:.3g} – {ratio.high:.3g})"


def _list(facts: dict[str, str]) -> Iterator[str]:
    for name, value in facts.items():
        yield f"- {name}: {value}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
