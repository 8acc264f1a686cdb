"""Rows of what was measured: their JSON, and a table with each row's difference to the first.

Knows numbers by task and nothing of where they come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RETURN, SUCCESS = "return", "success, %"


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One variant.

    Attributes:
        name: of the variant.
        cells: by column, `cells[column][task][repeat]`; a column may be missing.
        facts: further numbers, by column.
    """

    name: str
    cells: dict[str, list[list[float]]]
    facts: dict[str, float] = {}

    @classmethod
    def of(
        cls, name: str, cells: Mapping[str, Floats], facts: Mapping[str, float] | None = None
    ) -> Row:
        """Of arrays `(task, repeat)`."""
        rounded = {column: values.round(4).tolist() for column, values in cells.items()}
        return cls(name, rounded, dict(facts or {}))


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ablation.

    Attributes:
        title, measure: what was changed, and what the cells are.
        rows: the first is what the others are compared with, if they have its tasks and repeats.
        paired: whether they do.
    """

    title: str
    measure: str
    rows: list[Row]
    paired: bool = True


def pooled(tables: Sequence[Table]) -> Table:
    """The same ablation of several runs as one, each run's tasks after another's."""
    rows = []
    for each in zip(*(table.rows for table in tables), strict=True):
        columns = each[0].cells
        cells = {name: [task for row in each for task in row.cells[name]] for name in columns}
        facts = {name: float(np.mean([row.facts[name] for row in each])) for name in each[0].facts}
        rows.append(Row(each[0].name, cells, facts))
    return msgspec.structs.replace(tables[0], rows=rows)


def markdown(table: Table) -> str:
    """The mean of each cell; behind it, where rows are paired, what it is above the first row's,
    with the standard error of that difference over tasks. Of returns the medians too, column by
    column: a few falls may make a mean."""
    columns = _names(row.cells for row in table.rows)
    facts = _names(row.facts for row in table.rows)
    count = max(len(values) for values in table.rows[0].cells.values())
    medians = ["medians"] if table.measure == RETURN else []
    head = [f"{table.measure}, {count} tasks", *columns, *medians, *facts]
    lines = [f"**{table.title}**", "", _line(head), _line(["---"] * len(head))]
    for row in table.rows:
        reference = table.rows[0] if table.paired else row
        cells = [_cell(reference, row, column) for column in columns]
        told = [_fact(row.facts[name]) if name in row.facts else "–" for name in facts]
        middle = [_medians(row, columns) for _ in medians]
        lines.append(_line([row.name, *cells, *middle, *told]))
    return "\n".join(lines)


def _cell(reference: Row, row: Row, column: str) -> str:
    if column not in row.cells:
        return "–"
    values = np.array(row.cells[column])
    if row is reference or column not in reference.cells:
        return _signed(f"{values.mean():.1f}")
    difference = (values - np.array(reference.cells[column])).mean(axis=1)
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return _signed(f"{values.mean():.1f} ({difference.mean():+.1f} ± {error:.1f})")


def _medians(row: Row, columns: Sequence[str]) -> str:
    return " / ".join(
        _signed(f"{np.median(row.cells[column]):.1f}") if column in row.cells else "–"
        for column in columns
    )


def _fact(value: float) -> str:
    return _signed(f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}")


def _signed(number: str) -> str:
    return number.replace("-", "−")


def _names(each: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(each)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
