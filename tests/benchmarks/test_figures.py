"""Ratios are of the same round, and a goal that was not measured is not met."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.figures import Goal, Ratio, Series, Table, spread


def test_a_ratio_is_of_pairs_in_one_round_and_its_median_is_what_counts(make_table):
    assert make_table().ratio("ours", "theirs") == Ratio(3.0, 2.5, 4.0)


def test_goals_are_judged_by_the_median_of_the_ratios(make_table):
    table = make_table()
    verdicts = [table.verdict(goal) for goal in table.goals]
    assert verdicts == ["met", "missed", "not measured"]


def test_a_bound_from_above_holds_for_what_should_be_small(make_table):
    series = [Series("ours", "ours", [0.2, 0.25]), Series("floor", "floor", [0.1, 0.1])]
    table = make_table(series=series, unit="s", higher_is_better=False)
    assert table.verdict(Goal("< 0.3 s", "ours", at_most=0.3)) == "met"
    assert table.verdict(Goal("< 0.2 s", "ours", at_most=0.2)) == "missed"
    assert table.verdict(Goal("≤ 2× the floor", "ours", "floor", at_most=2.0)) == "missed"


@pytest.mark.parametrize("bounds", [{}, {"at_least": 1.0, "at_most": 2.0}])
def test_a_goal_has_one_bound(bounds):
    with pytest.raises(ValueError, match="set one of at_least and at_most"):
        Goal("both or none", "ours", **bounds)


def test_one_round_is_its_own_median_and_quartiles():
    assert spread([3.0]) == Ratio(3.0, 3.0, 3.0)


def test_tables_come_back_from_json_as_they_were(make_table):
    table = make_table()
    assert msgspec.json.decode(msgspec.json.encode(table), type=Table) == table
