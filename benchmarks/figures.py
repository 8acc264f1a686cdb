"""What a benchmark leaves behind: series of numbers, what they are compared with, and goals.

Holds types and arithmetic only, as written to JSON; it does not know how anything was timed, nor
what a page looks like.
"""

from __future__ import annotations

from statistics import median, quantiles
from typing import Literal

import msgspec

Role = Literal["ours", "theirs", "floor"]
Verdict = Literal["met", "missed", "not measured"]


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing's number in every round. `theirs` is what a user would pick instead; a `floor` is
    the same work without anybody's code around it."""

    label: str
    role: Role
    values: list[float]

    @property
    def median(self) -> float:
        return median(self.values)


class Goal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`subject` over `against`, round by round, must reach `at_least` or stay within `at_most`.

    Without `against` the number itself must. Exactly one of the two bounds is set.
    """

    says: str
    subject: str
    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"goal {self.says!r}: set one of at_least and at_most")


class Ratio(msgspec.Struct, frozen=True):
    """The median over rounds, and the quartiles."""

    middle: float
    low: float
    high: float


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the issue, or one curve over sizes.

    `conditions` says threads, sizes and versions of the other side; `checks` what was compared to
    show that both sides do the same work; `skipped` why something is not here, by label.
    """

    title: str
    unit: str
    conditions: str
    series: list[Series]
    higher_is_better: bool = True
    goals: list[Goal] = []
    checks: list[str] = []
    skipped: dict[str, str] = {}

    def find(self, label: str) -> Series | None:
        return next((one for one in self.series if one.label == label), None)

    def ratio(self, label: str, against: str | None) -> Ratio | None:
        """Of two series round by round, or of one to 1; None where either was not measured."""
        one = self.find(label)
        other = None if against is None else self.find(against)
        if one is None or (against is not None and other is None):
            return None
        below = [1.0] * len(one.values) if other is None else other.values
        return spread([a / b for a, b in zip(one.values, below, strict=True)])

    def verdict(self, goal: Goal) -> Verdict:
        """By the median of the rounds' ratios."""
        ratio = self.ratio(goal.subject, goal.against)
        if ratio is None:
            return "not measured"
        if goal.at_least is not None:
            return "met" if ratio.middle >= goal.at_least else "missed"
        assert goal.at_most is not None
        return "met" if ratio.middle <= goal.at_most else "missed"


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything of one run of `make bench`: each benchmark's tables, by its name.

    `failed` says why a whole benchmark is not here.
    """

    machine: dict[str, str]
    versions: dict[str, str]
    quick: bool
    results: dict[str, list[Table]]
    failed: dict[str, str] = {}

    @property
    def tables(self) -> list[Table]:
        """Of all of them."""
        return [table for tables in self.results.values() for table in tables]


def spread(values: list[float]) -> Ratio:
    """Median and quartiles; one value is all three."""
    if len(values) == 1:
        return Ratio(values[0], values[0], values[0])
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return Ratio(middle, low, high)
