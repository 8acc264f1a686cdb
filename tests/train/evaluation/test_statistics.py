"""Intervals that hold what they say, and shares of a gap only where there is one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fieldtune.train.evaluation.statistics import gap, mean, recovery

CELLS = arrays.arrays(
    np.float64, (3, 8), elements=st.floats(-1e3, 1e3).map(lambda value: round(value, 3))
)


def test_an_interval_holds_the_mean_of_seeds_that_differ_as_often_as_it_says():
    """Cells of one seed share its training: drawn as if they did not, they cover half as often."""
    rng = np.random.default_rng(3)
    trials, seeds, tasks = 200, 5, 20
    over_seeds = over_cells = 0
    for _ in range(trials):
        cells = rng.normal(0, 8, (seeds, 1)) + rng.normal(0, 15, (seeds, tasks))
        found, pretended = mean(cells), mean(cells.ravel())
        over_seeds += found.low <= 0 <= found.high
        over_cells += pretended.low <= 0 <= pretended.high
    assert over_seeds / trials >= 0.85
    assert over_cells / trials < 0.75


@given(CELLS)
def test_the_value_is_the_mean_and_lies_in_its_interval(cells):
    found = mean(cells)
    assert found.value == pytest.approx(cells.mean(), abs=1e-9)
    assert found.low <= found.high
    assert cells.min() - 1e-9 <= found.low <= found.high <= cells.max() + 1e-9
    assert mean(cells) == found


def test_one_seeds_interval_is_over_tasks():
    cells = np.random.default_rng(0).normal(size=(1, 50))
    assert mean(cells) == mean(cells[0])
    found = mean(cells)
    assert found.high - found.low == pytest.approx(2 * 1.96 * cells.std() / 50**0.5, rel=0.1)
    assert mean([[3.0]]).low == mean([[3.0]]).high == 3.0


def test_gap_closed_is_one_at_the_goal_zero_before_and_half_between():
    rng = np.random.default_rng(0)
    before, goal = rng.normal(-180, 5, (3, 10)), rng.normal(-60, 5, (3, 10))
    assert gap(before, goal, goal).closed.value == pytest.approx(1.0)
    assert gap(before, before, goal).closed.value == pytest.approx(0.0)
    assert gap(before, (before + goal) / 2, goal).closed.value == pytest.approx(0.5)
    assert gap(before, goal, goal).size.value == pytest.approx((goal - before).mean())


def test_cells_are_compared_pairwise_so_that_hard_tasks_do_not_widen_the_gaps_interval():
    hardness = np.linspace(-100, 100, 20)[None]
    before, goal = -180 + hardness, -60 + hardness
    found = gap(before, -90 + hardness, goal)
    assert found.closed.high - found.closed.low < 1e-9
    assert found.size.high - found.size.low < 1e-9


def test_nothing_is_divided_by_a_gap_that_is_not_there():
    rng = np.random.default_rng(0)
    same = np.full((2, 10), -80.0)
    assert gap(same, same + 1.0, same).closed is None
    assert gap(same, same, same - 1.0).closed is None
    unsure = gap(same, same + 1.0, same + rng.normal(0.1, 5, (2, 10)))
    assert unsure.size.low < 0 < unsure.size.high
    assert unsure.closed is None
    seldom = same.copy()
    seldom[0, 0] = -70.0  # some resamples miss the only cell that has a gap
    assert gap(same, seldom, seldom).closed is None


def test_recovery_is_towards_the_nearer_goal(make_evaluation):
    evaluation = make_evaluation(before=-11.0, after=-7.0, oracle=-3.0)
    returns = evaluation.returns
    before, after = returns["online_before"], returns["online_after"]
    assert returns["offline_context"] < returns["oracle"]
    expected = (after - before) / (returns["offline_context"] - before)
    assert recovery(evaluation).closed.value == pytest.approx(expected)

    nearer = make_evaluation(before=-11.0, after=-7.0, oracle=-8.0)
    expected = (after - before) / (nearer.returns["oracle"] - before)
    assert recovery(nearer).closed.value == pytest.approx(expected)
    assert recovery(nearer).closed.value > 1
    assert 0 < recovery(make_evaluation(oracle=None)).closed.value < 1


@pytest.mark.parametrize("changes", [{"before": -4.0}, {"oracle": -12.0}])
def test_recovery_is_undefined_where_there_is_nothing_to_recover(make_evaluation, changes):
    assert recovery(make_evaluation(**changes)).closed is None
    assert recovery(make_evaluation(after=None)) is None
