"""The page shows every number with its floor, every goal with its verdict, and what is missing."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.__main__ import begun, run, write
from benchmarks.figures import Report, Table
from benchmarks.page import number, page, plain


@pytest.fixture
def report(make_table) -> Report:
    return Report(
        {"processor": "a fast one"},
        {"torch": "2.13.0"},
        False,
        {"cycle": [make_table()]},
        {"smac": "a | b"},
    )


def test_every_goal_is_listed_with_its_ratio_quartiles_and_verdict(report):
    lines = page(report).splitlines()
    assert "| Steps | ≥ 2× theirs | 3× (2.5 – 4) | met |" in lines
    assert "| Steps | ≥ 90 % of bare | 0.625× (0.562 – 0.688) | **missed** |" in lines
    assert "| Steps | ≥ 1.15× EnvPool | no EnvPool | not measured |" in lines


def test_every_series_is_listed_with_its_spread_and_its_ratio_to_ours(report):
    lines = page(report).splitlines()
    assert "| ours | 5 | 4.5 – 5.5 | 1.00× | ours |" in lines
    assert "| theirs | 2 | 1.5 – 2 | 0.33× | instead |" in lines
    assert "| bare | 8 | 8 – 8 | 1.60× | floor |" in lines


def test_machine_versions_checks_and_what_is_missing_are_said(report):
    text = page(report)
    for said in (
        "- processor: a fast one",
        "Versions: torch 2.13.0.",
        "Two threads.",
        "Checked: both count to three.",
        "Not here: EnvPool. it is not installed",
        "| `benchmarks.smac` | – | a \\| b | not measured |",
    ):
        assert said in text


def test_a_quick_run_says_that_its_numbers_mean_nothing(report):
    assert "mean nothing" not in page(report)
    assert "mean nothing" in page(msgspec.structs.replace(report, quick=True))


def test_the_raw_numbers_are_beside_the_page(report, tmp_path):
    write(report, tmp_path)
    assert (tmp_path / "benchmarks.md").read_text() == page(report)
    read = msgspec.json.decode((tmp_path / "benchmarks.json").read_bytes(), type=Report)
    assert read == report


def test_a_run_that_was_cut_goes_on_where_the_same_versions_wrote_it(report, tmp_path):
    same = {"torch": "2.13.0"}
    write(report, tmp_path)
    kept = begun(tmp_path, same, quick=False)
    assert kept is not None
    assert kept.results == report.results
    assert kept.failed == {}, "what failed is tried again"
    assert begun(tmp_path, same, quick=True) is None
    assert begun(tmp_path, {"torch": "2.14.0"}, quick=False) is None
    assert begun(tmp_path / "nowhere", same, quick=False) is None


def test_a_terminal_shows_the_same(make_table):
    text = plain(make_table())
    assert "goal ≥ 90 % of bare: 0.625× (0.562 – 0.688), missed" in text
    assert "- EnvPool: it is not installed" in text


def test_a_table_without_ours_has_no_ratios(make_table):
    table: Table = make_table(goals=[])
    alone = msgspec.structs.replace(table, series=table.series[1:])
    assert "×" not in plain(alone)


@pytest.mark.parametrize(
    ("value", "shown"), [(12345.6, "12,346"), (99.94, "99.9"), (0.01234, "0.0123"), (0.0, "0")]
)
def test_numbers_have_the_digits_that_mean_something(value, shown):
    assert number(value) == shown


def test_a_benchmark_that_fails_leaves_its_reason():
    assert "No module named benchmarks.nothing" in run("nothing", quick=True)
