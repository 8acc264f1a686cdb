"""What a study's results come to: means with their intervals, and shares of the gap.

Pure functions of cells. One statistic everywhere: the mean over seeds and tasks, its interval by
`fieldtune.train.evaluation.statistics`; methods are compared cell by cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.train.evaluation.protocol import QUOTED
from fieldtune.train.evaluation.results import Inference
from fieldtune.train.evaluation.statistics import (
    Estimate,
    Gap,
    difference,
    gap,
    mean,
    over_tasks,
    shift,
)
from fieldtune.train.study.cells import Cells, OfflineCells
from fieldtune.train.study.plan import AFTER_OFFLINE, PHASE_2, PHASES, Method
from fieldtune.train.study.results import Results

Floats = NDArray[np.float64]
Table = dict[tuple[Method, Inference], Cells]

BOTH: tuple[Inference, ...] = ("likelihood", "encoder")
FIRST = "first"  # the column of the first episode
RETURNS, SUCCESSES = (1, 2), (1, 2, 4, 8)  # context episodes that tables have a column for
CLOSED = 0.9  # of the gap: what minutes are counted to


@dataclass(frozen=True)
class Row:
    """One line of the table: a method by an inference.

    Attributes:
        algorithm: whose method it is, or the method itself.
        quoted: the number of context episodes that one number is of, where there is one alone.
        returns: by column, `first` or the number of context episodes.
        by_seed: mean return of each seed, after `quoted`.
        gap: what it closed of the way from before phase 2 to the oracle, both by the same inference
            and after `quoted`; None where it is not there to close it, or there is no oracle.
        successes: as `returns`, the share; None where the family has none.
    """

    method: Method
    algorithm: str
    inference: Inference
    quoted: int
    returns: dict[str, Estimate]
    by_seed: list[float]
    gap: Gap | None = None
    successes: dict[str, Estimate] | None = None


@dataclass(frozen=True)
class Ceiling:
    """A method with offline contexts, or told the task."""

    method: Method
    value: Estimate
    by_seed: list[float]
    success: Estimate | None = None


@dataclass(frozen=True)
class Worth:
    """What it is worth to know the task: return, or success if the family has it, as `row` quotes.

    Attributes:
        own: by what was explored in the task itself.
        another: by what was explored in another held-out task.
        nothing: before any exploration.
        over_another, over_nothing: own less these, task by task.
        success: whether these are shares of successes.
    """

    row: Row
    own: Estimate
    another: Estimate
    nothing: Estimate
    over_another: Estimate
    over_nothing: Estimate
    success: bool


@dataclass(frozen=True)
class Curve:
    """By reward-free steps, from before phase 2 on: what one inference reached.

    `steps` are means over seeds. `gap_closed` is None where there is no gap, or no oracle; a
    `success` of None means that the family has none.
    """

    steps: list[float]
    returns: list[Estimate]
    gap_closed: list[Estimate | None]
    success: list[Estimate] | None = None

    def minutes(self, period_s: float) -> float | None:
        """Of a robot, without rewards, at the first point with `CLOSED` of the gap; None where none
        has it."""
        for steps, closed in zip(self.steps, self.gap_closed, strict=True):
            if closed is not None and closed.value >= CLOSED:
                return steps * period_s / 60
        return None


def table_of(cells: Sequence[Cells]) -> Table:
    """Cells by method and inference."""
    return {(one.method, one.inference): one for one in cells}


def quoted(cells: Cells) -> Floats:
    """Return after as many context episodes as tables quote, `(seed, task)`."""
    return over_tasks(cells.returns[min(QUOTED, cells.episodes)])


def rows(table: Table, own: str) -> list[Row]:
    """The table's lines, method by method, by likelihood first.

    Args:
        table: a study's cells.
        own: its configured algorithm, whose phases some methods are.
    """
    order: list[Method] = list(dict.fromkeys(method for method, _ in table))
    return [
        _row(table, table[method, inference], own if method in PHASES else method)
        for method in order
        for inference in BOTH
        if (method, inference) in table
    ]


def ceilings(cells: Sequence[OfflineCells]) -> list[Ceiling]:
    """What offline contexts give before phase 2, and to what learns from the static data alone; and
    what was told the task."""
    return [
        Ceiling(
            one.method,
            mean(over_tasks(one.returns)),
            over_tasks(one.returns).mean(axis=1).tolist(),
            None if one.successes is None else mean(over_tasks(one.successes)),
        )
        for one in cells
        if one.method not in AFTER_OFFLINE
    ]


def worths(table: Table, lines: Sequence[Row]) -> list[Worth]:
    """In the order of `lines`, which are of `table`; of the cells that were measured for it."""
    found = []
    for row in lines:
        cells = table[row.method, row.inference]
        if cells.successes is not None and cells.swapped_successes is not None:
            found.append(_worth(row, cells.successes, cells.swapped_successes, success=True))
        elif cells.swapped is not None:
            found.append(_worth(row, cells.returns, cells.swapped, success=False))
    return found


def curves(results: Results, table: Table, inference: Inference) -> dict[Method, Curve]:
    """Every phase 2 by reward-free steps, as this inference has it."""
    return {
        method: _curve(results, table, method, inference)
        for method in PHASE_2
        if (method, inference) in table
    }


def shifts(results: Results) -> dict[Method, float]:
    """By method: how far own contexts land from offline ones, in spreads of tasks, over seeds; of
    those that know tasks in numbers."""
    return {
        method: float(np.mean([shift(result.final).relative for result in found]))
        for method, found in results.items()
        if all(result.final.placed for result in found)
    }


def gap_of(table: Table, inference: Inference, reached: Floats) -> Gap | None:
    """What `reached`, `(seed, task)`, closed of the way from before phase 2 to the oracle, both by
    `inference`; None without an oracle."""
    before, oracle = table.get(("offline", inference)), table.get(("oracle", inference))
    if before is None or oracle is None:
        return None
    return gap(quoted(before), reached, quoted(oracle))


def _row(table: Table, cells: Cells, algorithm: str) -> Row:
    closes = cells.method in AFTER_OFFLINE and cells.method != "oracle"
    return Row(
        cells.method,
        algorithm,
        cells.inference,
        min(QUOTED, cells.episodes),
        _columns(cells.first_episode, cells.returns, RETURNS),
        quoted(cells).mean(axis=1).tolist(),
        gap_of(table, cells.inference, quoted(cells)) if closes else None,
        None
        if cells.successes is None
        else _columns(cells.first_successes, cells.successes, SUCCESSES),
    )


def _worth(row: Row, by_episodes: Sequence[list], swapped: list, *, success: bool) -> Worth:
    own, nothing = over_tasks(by_episodes[row.quoted]), over_tasks(by_episodes[0])
    another = over_tasks(swapped)
    return Worth(
        row,
        mean(own),
        mean(another),
        mean(nothing),
        difference(own, another),
        difference(own, nothing),
        success,
    )


def _columns(
    first: list | None, by_episodes: Sequence[list], shown: Sequence[int]
) -> dict[str, Estimate]:
    found = {} if first is None else {FIRST: mean(over_tasks(first))}
    return found | {str(k): mean(over_tasks(by_episodes[k])) for k in shown if k < len(by_episodes)}


def _curve(results: Results, table: Table, method: Method, inference: Inference) -> Curve:
    before = table["offline", inference]
    steps, returns = [0.0], [quoted(before)]
    k = min(QUOTED, before.episodes)
    successes = [] if before.successes is None else [over_tasks(before.successes[k])]
    points = [result.points for result in results[method]]
    fewest = min(len(each) for each in points)
    for column in zip(*(each[len(each) - fewest :] for each in points), strict=True):
        reached = [point.reached[inference] for point in column]
        steps.append(float(np.mean([point.steps for point in column])))
        returns.append(np.stack([over_tasks(one.returns) for one in reached]))
        known = [over_tasks(one.successes) for one in reached if one.successes is not None]
        if known:
            successes.append(np.stack(known))
    gaps = [gap_of(table, inference, cells) for cells in returns]
    return Curve(
        steps,
        [mean(cells) for cells in returns],
        [None if one is None else one.closed for one in gaps],
        [mean(cells) for cells in successes] or None,
    )
