from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fieldtune.train.evaluation.results import EvaluationError
from fieldtune.train.study.page import closed
from fieldtune.train.study.plan import Job
from fieldtune.train.study.summary import (
    Estimate,
    Row,
    curve,
    gap_closed,
    iqm,
    load_results,
    mean,
    require_sound_results,
    rows,
    shifts,
)

CELLS = arrays.arrays(
    np.float64, (2, 8), elements=st.floats(-1e3, 1e3).map(lambda value: round(value, 3))
)


@given(CELLS)
def test_interquartile_mean_is_the_mean_of_the_middle_half(cells):
    middle = np.sort(cells.ravel())[4:12]
    found = iqm(cells)
    assert found.value == pytest.approx(middle.mean(), abs=1e-9)
    assert found.low <= found.high


def test_one_cell_alone_has_no_interval():
    assert iqm([[3.0]]) == iqm([[3.0]])
    assert (iqm([[3.0]]).low, iqm([[3.0]]).high) == (3.0, 3.0)


def test_outliers_do_not_move_the_interquartile_mean():
    cells = np.arange(16.0)
    moved = cells.copy()
    moved[-1] = 1e6
    assert iqm(cells).value == iqm(moved).value


def test_gap_closed_is_one_at_the_oracle_zero_before_and_half_between():
    rng = np.random.default_rng(0)
    before, oracle = rng.normal(-180, 5, (3, 10)), rng.normal(-60, 5, (3, 10))
    assert gap_closed(before, oracle, oracle).value == pytest.approx(1.0)
    assert gap_closed(before, before, oracle).value == pytest.approx(0.0)
    assert gap_closed(before, (before + oracle) / 2, oracle).value == pytest.approx(0.5)


def test_cells_are_compared_pairwise_so_that_hard_tasks_do_not_widen_the_gaps_interval():
    hardness = np.linspace(-100, 100, 20)[None]
    before, oracle = -180 + hardness, -60 + hardness
    found = gap_closed(before, -90 + hardness, oracle)
    assert found.high - found.low < 1e-9


def test_there_is_no_gap_where_true_rewards_gain_nothing_and_every_interval_is_a_number():
    same = np.full((1, 10), -80.0)
    assert gap_closed(same, same + 1.0, same) is None
    assert gap_closed(same, same, same - 1.0) is None
    assert iqm(same) == Estimate(-80.0, -80.0, -80.0)
    seldom = same.copy()
    seldom[0, 0] = -70.0  # some resamples miss the only cell that has a gap
    found = gap_closed(same, seldom, seldom)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    assert closed(Row("a method", iqm(same), [-80.0], closes=True)) == "no gap"
    assert closed(Row("a baseline", iqm(same), [-80.0])) == ""


def test_the_same_results_give_the_same_intervals(make_results):
    assert rows(make_results()) == rows(make_results())


def test_the_table_has_every_method_and_gaps_where_there_is_one_to_close(make_results):
    table = {row.name: row for row in rows(make_results())}
    values = {name: row.gap_closed.value for name, row in table.items() if row.gap_closed}
    assert values == {
        "after phase 2, self-labelled, encoder trained": pytest.approx(100 / 120, abs=0.02),
        "after phase 2, self-labelled, encoder frozen": pytest.approx(20 / 120, abs=0.02),
    }
    assert len(table) == 9
    assert all(len(row.by_seed) == 2 for row in table.values())


def test_a_curve_begins_before_phase_2_and_ends_at_the_tables_number(make_results):
    results = make_results()
    found = curve(results, "trained")
    table = {row.name: row for row in rows(results)}
    assert found.steps == [0.0, 500.0, 1000.0]
    assert found.gap_closed[0].value == pytest.approx(0.0)
    assert found.iqm[-1] == table["after phase 2, self-labelled, encoder trained"].iqm


def test_shift_is_told_for_every_method(make_results):
    assert set(shifts(make_results())) == set(make_results())


def test_a_missing_or_foreign_result_is_named(make_results, tmp_path):
    with pytest.raises(EvaluationError, match=r"offline\.json: no result"):
        load_results(tmp_path, 1)
    for method, (result,) in make_results(seeds=1).items():
        path = Job(tmp_path, method, 0).result
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(result))
    assert load_results(tmp_path, 1) == make_results(seeds=1)
    path.write_text('{"name": 3}')
    with pytest.raises(EvaluationError, match=r"pearl\.json"):
        load_results(tmp_path, 1)


def test_success_has_its_mean_its_interval_and_each_seeds_where_there_is_any(make_results):
    assert all(row.success is None for row in rows(make_results()))
    assert curve(make_results(), "trained").success is None
    found = make_results(success=0.0, seeds=3)
    for row in rows(found):
        assert row.success.value == pytest.approx(0.5)
        assert row.success.low <= 0.5 <= row.success.high
        assert row.success_by_seed == pytest.approx([0.5] * 3)
    assert [each.value for each in curve(found, "trained").success] == pytest.approx([0.5] * 3)


def test_the_interval_of_success_is_over_tasks_and_seeds():
    varied = mean([[0.0, 1.0, 0.5, 0.5], [0.0, 1.0, 0.5, 0.5]])
    assert varied.low < 0.5 < varied.high
    assert mean([[0.5] * 4]).low == 0.5


def test_a_damaged_result_is_told_with_its_cure_before_the_other_jobs(tmp_path):
    require_sound_results(tmp_path, 2)
    result = Job(tmp_path, "frozen", 1).result
    result.parent.mkdir(parents=True)
    result.write_text("{")
    with pytest.raises(EvaluationError, match=r"frozen.json: no result .*: remove the file"):
        require_sound_results(tmp_path, 2)
