from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from fieldtune.train.evaluation.results import EvaluationError
from fieldtune.train.study.cells import all_cells, offline_cells
from fieldtune.train.study.plan import Job, Study
from fieldtune.train.study.results import load_results, require_sound_results
from fieldtune.train.study.summary import (
    Curve,
    ceilings,
    curves,
    rows,
    shifts,
    table_of,
    worths,
)
from fieldtune.train.study.tables import closed


def table(results):
    return table_of(all_cells(results))


def lines(results):
    return rows(table(results), "smac")


def by_name(results):
    return {(row.method, row.inference): row for row in lines(results)}


def test_the_same_results_give_the_same_intervals(make_results):
    assert lines(make_results()) == lines(make_results())


def test_the_table_has_every_method_by_every_inference_that_it_has(make_results):
    found = by_name(make_results())
    assert len(found) == 9 + 7
    assert ("pearl", "likelihood") not in found
    row = found["trained", "likelihood"]
    assert list(row.returns) == ["first", "1", "2"]
    assert row.returns["2"].value == pytest.approx(-60, abs=0.5)
    assert row.returns["first"].value == pytest.approx(-62, abs=0.5)
    assert all(len(one.by_seed) == 2 for one in found.values())


def test_gaps_are_each_inferences_own_and_where_there_is_one_to_close(make_results):
    found = by_name(make_results(oracle=-60.0, trained=-80.0, frozen=-160.0))
    shares = {
        name: row.gap.closed.value for name, row in found.items() if row.gap and row.gap.closed
    }
    for inference in ("encoder", "likelihood"):
        assert shares["trained", inference] == pytest.approx(100 / 120, abs=0.02)
        assert shares["frozen", inference] == pytest.approx(20 / 120, abs=0.02)
        assert shares["longer-offline", inference] == pytest.approx(2 / 120, abs=0.02)
        assert ("oracle", inference) not in shares
    assert found["pearl", "encoder"].gap is None
    without = by_name(make_results(methods=("offline", "trained")))
    assert without["trained", "encoder"].gap is None


def test_a_curve_begins_before_phase_2_and_ends_at_the_tables_number(make_results):
    results = make_results()
    cells = table(results)
    for inference in ("encoder", "likelihood"):
        found = curves(results, cells, inference)["trained"]
        assert found.steps == [0.0, 500.0, 1000.0]
        assert found.gap_closed[0].value == pytest.approx(0.0)
        assert found.returns[-1].value == pytest.approx(
            by_name(results)["trained", inference].returns["2"].value, abs=1e-3
        )
    assert "pearl" not in curves(results, cells, "encoder")


def test_minutes_are_those_of_the_first_point_that_has_enough(make_results):
    results = make_results(trained=-60.0)
    found = curves(results, table(results), "encoder")["trained"]
    assert found.minutes(0.06) == pytest.approx(1000 * 0.06 / 60)
    assert Curve(found.steps, found.returns, [None] * 3).minutes(0.06) is None
    assert curves(results, table(results), "encoder")["frozen"].minutes(0.06) is None


def test_seeds_of_which_one_was_measured_less_often_are_compared_from_the_end(make_results):
    """A checkpoint of an earlier version has no points on the way."""
    results = make_results()
    first, second = results["trained"]
    results["trained"] = [first, type(second)(**{**_fields(second), "points": second.points[1:]})]
    assert curves(results, table(results), "encoder")["trained"].steps == [0.0, 1000.0]


def _fields(result):
    return {name: getattr(result, name) for name in result.__struct_fields__}


def test_what_the_task_is_worth_is_the_own_less_anothers_and_less_nothing(make_results):
    results = make_results()
    found = {
        (one.row.method, one.row.inference): one for one in worths(table(results), lines(results))
    }
    assert list(found) == list(by_name(results))
    one = found["trained", "likelihood"]
    assert not one.success
    assert one.own.value == by_name(results)["trained", "likelihood"].returns["2"].value
    assert one.own.value - one.another.value == pytest.approx(30, abs=1e-2)
    over = one.over_another
    assert over.value == pytest.approx(30, abs=1e-2)
    assert over.high - over.low < 1e-2  # paired: what cells have in common is no uncertainty
    assert one.over_nothing.value == pytest.approx(5, abs=0.5)
    assert one.over_nothing.value == pytest.approx(one.own.value - one.nothing.value)


def test_where_a_family_has_success_the_task_is_worth_successes(make_results):
    results = make_results(success=0.0)
    (one, *_) = worths(table(results), lines(results))
    assert one.success
    assert (one.own.value, one.over_another.value) == (0.5, 0.0)


def test_what_an_earlier_version_measured_says_nothing_of_other_tasks(make_results):
    results = make_results(methods=("offline", "trained"))
    for seed, result in enumerate(results["trained"]):
        encoder = replace(result.final.encoder, swapped=None)
        final = replace(result.final, encoder=encoder)
        results["trained"][seed] = structs.replace(result, final=final)
    found = [(one.row.method, one.row.inference) for one in worths(table(results), lines(results))]
    assert ("trained", "encoder") not in found
    assert ("trained", "likelihood") in found


def test_offline_contexts_are_for_scale(make_results):
    found = {one.method: one for one in ceilings(offline_cells(make_results()))}
    assert list(found) == ["offline", "meta-bc", "pearl"]
    assert found["offline"].value.value == pytest.approx(-50, abs=0.5)
    assert found["offline"].success is None


def test_shift_is_told_for_every_method(make_results):
    assert set(shifts(make_results())) == set(make_results())


def test_a_missing_foreign_or_old_result_is_named_with_its_cure(make_results, keep, tmp_path):
    with pytest.raises(EvaluationError, match=r"offline\.json: no result"):
        load_results(tmp_path, 1)
    keep(tmp_path, make_results(seeds=1))
    assert load_results(tmp_path, 1) == make_results(seeds=1)
    path = Job(tmp_path, "pearl", 0).result
    path.write_text('{"name": "pearl", "seed": 0, "final": {"curve": []}}')
    with pytest.raises(EvaluationError, match=r"pearl\.json: .* remove the file, .* only measured"):
        load_results(tmp_path, 1)


@pytest.fixture
def study(make_config):
    """Of one seed, with settings of one's choice."""

    def make(*overrides):
        return Study(config=make_config("evaluation.repeats=2", *overrides), seeds=1)

    return make


def test_what_was_measured_by_another_protocol_is_told_before_the_other_jobs(
    make_results, keep, study, tmp_path
):
    require_sound_results(tmp_path, study())
    keep(tmp_path, make_results(seeds=1, methods=("offline", "frozen")))
    require_sound_results(tmp_path, study("evaluation.context_episodes=4"))
    with pytest.raises(EvaluationError, match=r"over 4 context episodes and 2 rep.* for 8 and 2:"):
        require_sound_results(tmp_path, study("evaluation.context_episodes=8"))


def test_a_damaged_result_is_told_with_its_cure_before_the_other_jobs(study, tmp_path):
    result = Job(tmp_path, "frozen", 0).result
    result.parent.mkdir(parents=True)
    result.write_text("{")
    with pytest.raises(EvaluationError, match=r"frozen.json: no result .*: remove the file"):
        require_sound_results(tmp_path, study())


def test_success_has_its_mean_and_its_interval_where_there_is_any(make_results):
    assert all(row.successes is None for row in lines(make_results()))
    results = make_results(success=0.0, seeds=3)
    for row in lines(results):
        assert list(row.successes) == ["first", "1", "2", "4"]
        assert row.successes["4"].value == pytest.approx(0.5)
        assert row.successes["4"].low <= 0.5 <= row.successes["4"].high
    found = curves(results, table(results), "likelihood")["trained"]
    assert [each.value for each in found.success] == pytest.approx([0.5] * 3)


def test_cells_are_every_seed_task_and_repeat_rounded_to_what_a_table_needs(make_results):
    results = make_results()
    (found,) = (
        one for one in all_cells(results) if (one.method, one.inference) == ("trained", "encoder")
    )
    assert np.shape(found.returns) == (5, 2, 6, 2)
    assert np.shape(found.rewards) == (2, 20)
    expected = results["trained"][1].final.encoder.returns[2]
    assert np.array(found.returns)[2, 1] == pytest.approx(np.array(expected), abs=5e-4)
    assert found.effective_particles is None


def test_a_gap_is_told_in_words_where_there_is_none(make_results):
    nothing = by_name(make_results(before=-60.0, oracle=-60.0))["trained", "encoder"]
    assert closed(nothing.gap) == "no gap that these cells can tell"
    lost = by_name(make_results(before=-60.0, oracle=-90.0))["trained", "encoder"]
    assert closed(lost.gap) == "true rewards lose"
