from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from msgspec import structs

from fieldtune.train.evaluation.results import DecoderError, EvaluationError
from fieldtune.train.study.cells import read_metrics
from fieldtune.train.study.page import write_page
from fieldtune.train.study.plan import Job, Study
from fieldtune.train.study.results import Reached, ToldResult, require_sound_results


@pytest.fixture
def folder(make_results, keep, tmp_path):
    keep(tmp_path, make_results())
    return tmp_path


def plain(page):
    return page.replace("\N{NO-BREAK SPACE}", " ").replace("−", "-")


def line_of(page, *words):
    """The first table line that begins with these cells."""
    (found, *_) = (each for each in page.splitlines() if each.startswith("| " + " | ".join(words)))
    return found


def test_the_page_has_the_command_the_tables_the_figures_and_no_path(folder, make_config):
    study = Study(config=make_config(f"data.path={folder}"), seeds=2)
    write_page(folder, study, "fieldtune study cheetah-vel --seeds 2")
    page = (folder / "README.md").read_text()
    assert "fieldtune study cheetah-vel --seeds 2" in page
    assert "| phase | inference | first episode | K = 1 | K = 2 | by seed, K = 2 |" in page
    for phase in ("before phase 2", "after phase 2, no rewards"):
        for inference in ("likelihood", "encoder"):
            assert line_of(page, phase, inference).count("|") == 7
    assert "| the paper's: encoder frozen, explored by it, at the lean budget | encoder |" in page
    assert "| as many further offline updates, no new data | likelihood |" in page
    assert "intervals are of a bootstrap over seeds, then over tasks" in page
    assert str(folder) not in page
    for name in ("adaptation.png", "first-episode.png", "returns.png", "shift.png"):
        assert name in page
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_the_page_says_what_it_is_worth_to_know_the_task(folder, make_config):
    write_page(folder, Study(config=make_config(), seeds=2), "…")
    page = (folder / "README.md").read_text()
    assert "| phase | inference | own | another task's | none | own − another's |" in page
    (line,) = (
        each
        for each in plain(page).splitlines()
        if each.startswith("| before phase 2 | encoder |") and "30.0 [30.0, 30.0]" in each
    )
    assert line.count("|") == 8
    metrics = read_metrics(folder / "metrics.json")
    assert np.shape(metrics.cells[0].swapped) == (2, 6, 2)


def test_the_page_says_whether_exploration_followed_its_rewards(folder, make_config):
    said = "with true rewards, which by likelihood follow them within each episode."
    for follow, there in (("true", True), ("false", False)):
        config = make_config(f"robot.exploration.follow_rewards={follow}")
        write_page(folder, Study(config=config, seeds=2), "…")
        assert (said in (folder / "README.md").read_text()) is there


def test_a_row_can_be_computed_again_from_the_cells(folder, make_config):
    """As docs/results/README.md says how, with numpy alone."""
    write_page(folder, Study(config=make_config(), seeds=2), "…")
    found = json.loads((folder / "metrics.json").read_text())
    (cells,) = (
        one
        for one in found["cells"]
        if (one["method"], one["inference"]) == ("trained", "likelihood")
    )
    returns = np.array(cells["returns"])
    assert returns.shape == (5, 2, 6, 2)  # context episodes, seed, task, repeat
    (row,) = (
        one
        for one in found["rows"]
        if (one["method"], one["inference"]) == ("trained", "likelihood")
    )
    for k in (1, 2):
        assert row["returns"][str(k)]["value"] == pytest.approx(returns[k].mean(), abs=1e-9)
    first = np.array(cells["first_episode"])
    assert row["returns"]["first"]["value"] == pytest.approx(first.mean(), abs=1e-9)
    assert row["by_seed"] == pytest.approx(returns[2].mean(axis=(1, 2)))
    page = plain((folder / "README.md").read_text())
    assert f"| {returns[2].mean():.1f} [" in line_of(page, "after phase 2, no rewards | likelihood")
    assert f"| {first.mean():.1f} [" in line_of(page, "after phase 2, no rewards | likelihood")


def test_the_file_is_read_back_whole_and_by_what_read_its_curves_before(folder, make_config):
    table = write_page(folder, Study(config=make_config(), seeds=2), "…")
    metrics = read_metrics(folder / "metrics.json")
    assert (metrics.family, metrics.seeds, metrics.period_s) == ("cheetah-vel", 2, 0.05)
    assert {(one.method, one.inference) for one in metrics.cells} == {
        (row.method, row.inference) for row in table
    }
    found = json.loads((folder / "metrics.json").read_text())
    assert found["curves"]["trained"]["steps"] == [0.0, 500.0, 1000.0]
    assert found["curves"]["trained"]["gap_closed"][0]["value"] == pytest.approx(0.0)
    assert set(found["likelihood_curves"]) == set(found["curves"])
    lines = (folder / "metrics.json").read_text().splitlines()
    assert sum('"inference":"' in line for line in lines) == len(metrics.cells)
    (folder / "metrics.json").write_text("{}")
    with pytest.raises(EvaluationError, match=r"not the metrics\.json of a study of this version"):
        read_metrics(folder / "metrics.json")


def test_the_same_results_make_the_same_files(folder, make_config):
    study = Study(config=make_config(), seeds=2)

    def made():
        write_page(folder, study, "…")
        return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}

    assert made() == made()


def test_methods_that_are_not_done_have_no_row(make_results, keep, make_config, tmp_path):
    keep(tmp_path, make_results(methods=("offline", "oracle")))
    keep(tmp_path, make_results(methods=("frozen",), seeds=1))  # of one seed of two alone
    table = write_page(tmp_path, Study(config=make_config(), seeds=2), "…")
    assert {row.method for row in table} == {"offline", "oracle"}
    page = (tmp_path / "README.md").read_text()
    assert "| the paper's" not in page
    assert "further offline updates" not in page
    alone = tmp_path / "alone"
    keep(alone, make_results(methods=("offline",)))
    write_page(alone, Study(config=make_config(), seeds=2), "…")
    page = (alone / "README.md").read_text()
    assert "## The gap" not in page
    assert "## By reward-free steps" not in page
    with pytest.raises(EvaluationError, match=r"offline\.json: no result"):
        write_page(tmp_path / "empty", Study(config=make_config(), seeds=2), "…")


def test_one_seed_says_nothing_of_others(make_results, keep, make_config, tmp_path):
    keep(tmp_path, make_results(seeds=1, methods=("offline",)))
    write_page(tmp_path, Study(config=make_config(), seeds=1), "…")
    assert (
        "over tasks alone: one seed says nothing of others" in (tmp_path / "README.md").read_text()
    )


def test_the_papers_row_is_lean_where_its_budget_is(make_results, keep, make_config, tmp_path):
    keep(tmp_path, make_results(methods=("offline", "frozen")))
    whole = make_config("self_supervised.updates=816000")
    write_page(tmp_path, Study(config=whole, seeds=2), "…")
    page = (tmp_path / "README.md").read_text()
    assert "| the paper's: encoder frozen, explored by it | encoder |" in page


def test_minutes_of_a_robot_are_told_to_nine_tenths_of_the_gap(
    make_results, keep, make_config, tmp_path
):
    keep(tmp_path, make_results(trained=-60.0, frozen=-200.0))
    write_page(tmp_path, Study(config=make_config(), seeds=2), "…")
    page = plain((tmp_path / "README.md").read_text())
    assert line_of(page, "after phase 2, no rewards | encoder | 120").endswith(" | 1 |")
    gaps = page[page.index("## The gap") :]
    assert line_of(gaps, "the paper's").endswith(" | – |")
    slow = make_results(before=-60.0, oracle=-60.0)
    keep(tmp_path, slow)
    write_page(tmp_path, Study(config=make_config(), seeds=2), "…")
    assert "no gap that these cells can tell" in (tmp_path / "README.md").read_text()
    keep(tmp_path, make_results(before=-60.0, oracle=-90.0))
    write_page(tmp_path, Study(config=make_config(), seeds=2), "…")
    assert "| true rewards lose |" in (tmp_path / "README.md").read_text()


def test_a_sparse_familys_page_has_success_and_the_decoders_calibration(
    make_results, keep, make_config, tmp_path
):
    keep(tmp_path, make_results(success=0.0))
    write_page(tmp_path, Study(config=make_config(), seeds=2), "…")
    page = plain((tmp_path / "README.md").read_text())
    assert "| phase | inference | first episode | K = 1 | K = 2 | K = 4 |" in page
    found = [each for each in page.splitlines() if each.startswith("| after phase 2, no rew")]
    assert any("50 % [" in each for each in found)
    assert "| seed | Brier score | expected calibration error |" in page
    for name in ("success.png", "calibration.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["decoder"][0]["calibration"]["brier"] == pytest.approx(0.025)
    assert metrics["rows"][0]["successes"]["4"]["value"] == pytest.approx(0.5)
    assert metrics["scale"][0]["success"]["value"] == pytest.approx(0.5)


def test_a_page_of_bodies_says_what_z_explains_of_them(make_results, keep, make_config, tmp_path):
    keep(tmp_path, make_results(dynamics=(0.81, 0.79), methods=("offline",)))
    write_page(tmp_path, Study(config=make_config(), seeds=2), "…")
    page = plain((tmp_path / "README.md").read_text())
    assert "with the body's own z and with another's: 81 % and 79 %; 81 % and 79 %." in page
    assert "trained on" not in page.split("The decoder explains")[1].split("Of s' − s")[0]


def test_a_page_says_where_rewards_were_learned_by_heart(make_results, keep, make_config, tmp_path):
    results = make_results(methods=("offline",))
    for seed, explained in enumerate((0.85, 0.29)):
        decoder = DecoderError(0.5, explained, trained=0.87)
        results["offline"][seed] = structs.replace(results["offline"][seed], decoder=decoder)
    keep(tmp_path, results)
    write_page(tmp_path, Study(config=make_config(), seeds=2), "…")
    page = plain((tmp_path / "README.md").read_text())
    assert "explains 85 %, 29 % of the variance of held-out tasks' rewards, 87 %, 87 % of" in page
    assert "learned these by heart" in page
    assert "(`data.relabelled`)" in page


def test_a_dense_familys_page_has_neither(folder, make_config):
    write_page(folder, Study(config=make_config(), seeds=2), "…")
    page = (folder / "README.md").read_text().lower()
    assert "success" not in page
    assert "body" not in page
    assert not (folder / "success.png").exists()


def test_particles_that_count_and_contexts_unlike_any_are_told(folder, make_config):
    write_page(folder, Study(config=make_config(), seeds=2), "…")
    page = plain((folder / "README.md").read_text())
    assert "| by likelihood | K = 0 | K = 1 | K = 2 | K = 4 |" in page
    assert "| before phase 2 | 1000.0 (0 %) | 50.0 (25 %) | 9.0 (25 %) | 3.5 (25 %) |" in page


def test_algorithms_are_compared_in_a_figure_of_their_own(
    make_results, keep, make_config, tmp_path
):
    study = Study(config=make_config(), seeds=2)
    keep(tmp_path, make_results(success=0.5, methods=("offline", "trained")))
    write_page(tmp_path, study, "…")
    assert not (tmp_path / "methods.png").exists()
    keep(tmp_path, make_results(success=0.5, methods=("focal", "pearl")))
    table = write_page(tmp_path, study, "…")
    assert list(dict.fromkeys(row.method for row in table)) == [
        "offline",
        "trained",
        "pearl",
        "focal",
    ]
    page = plain((tmp_path / "README.md").read_text())
    assert line_of(page, "FOCAL", "likelihood")
    assert line_of(page, "offline context, FOCAL")
    assert "is of the study's own, `smac`" in page
    assert (tmp_path / "methods.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_told_the_task_is_what_others_are_compared_with_and_no_row_of_theirs(
    make_results, keep, make_config, tmp_path
):
    study = Study(config=make_config(), seeds=2)
    keep(tmp_path, make_results(success=0.5, methods=("offline", "focal")))
    without = write_page(tmp_path, study, "…")
    assert json.loads((tmp_path / "metrics.json").read_text()).get("told") is None
    reached = Reached([[-7.0, -9.0]] * 6, [[1.0, 0.5]] * 6)
    for seed in range(2):
        told = ToldResult(seed, reached, 100, 1.0)
        Job(tmp_path, "told", seed).result.write_bytes(msgspec.json.encode(told))
    assert write_page(tmp_path, study, "…") == without
    page = plain((tmp_path / "README.md").read_text())
    line = line_of(page, "told the task: cloning of what succeeded")
    assert "| -8.00 [" in line
    assert "| 75 % [" in line
    assert "| told | 100 | 0.0 |" in page
    kept = read_metrics(tmp_path / "metrics.json").told
    assert np.shape(kept[0].returns) == (2, 6, 2)
    protocol = ("evaluation.context_episodes=4", "evaluation.repeats={}")
    as_measured, otherwise = (
        Study(config=make_config(protocol[0], protocol[1].format(repeats)), seeds=2)
        for repeats in (2, 3)
    )
    require_sound_results(tmp_path, as_measured)
    for path in (tmp_path / "seed-0" / "results", tmp_path / "seed-1" / "results"):
        (path / "offline.json").rename(path / "kept")
        (path / "focal.json").unlink()
    with pytest.raises(EvaluationError, match=r"told\.json: measured over .* 2 repeats, .* and 3"):
        require_sound_results(tmp_path, otherwise)
    for path in (tmp_path / "seed-0" / "results", tmp_path / "seed-1" / "results"):
        (path / "kept").rename(path / "offline.json")
    Job(tmp_path, "told", 1).result.write_text("{}")
    with pytest.raises(EvaluationError, match=r"told\.json: no result of a study's job"):
        write_page(tmp_path, study, "…")


def test_an_algorithm_that_knows_tasks_in_no_numbers_has_its_row_and_no_shift(
    make_results, keep, make_config, tmp_path
):
    results, study = (
        make_results(methods=("offline", "macaw")),
        Study(config=make_config(), seeds=2),
    )
    nothing = np.zeros((6, 2, 0)).tolist()

    def unplaced(method):
        return [
            structs.replace(
                one, final=replace(one.final, likelihood=None, offline_embeddings=nothing)
            )
            for one in results[method]
        ]

    keep(tmp_path, results | {"macaw": unplaced("macaw")})
    write_page(tmp_path, study, "…")
    page = plain((tmp_path / "README.md").read_text())
    assert line_of(page, "MACAW", "gradient steps")
    assert "MACAW has no encoder and adapts by gradient steps" in page
    assert "posterior before and after" in page
    assert list(json.loads((tmp_path / "metrics.json").read_text())["shift"]) == ["offline"]

    own = tmp_path / "its own study"
    keep(own, {"offline": unplaced("offline")})
    macaw = Study(config=make_config("algorithm={name: macaw}"), seeds=2)
    write_page(own, macaw, "…")
    page = plain((own / "README.md").read_text())
    assert "posterior before and after" not in page
    assert line_of(page, "before phase 2", "gradient steps")
    assert "MACAW has no encoder and adapts by gradient steps" in page
    assert not (own / "shift.png").exists()


def test_seeds_that_an_older_version_measured_by_one_inference_are_compared_by_that(
    make_results, keep, make_config, tmp_path
):
    results = make_results(methods=("offline", "focal"))
    first, second = results["focal"]
    old = replace(second.final, likelihood=None)
    results["focal"] = [first, structs.replace(second, final=old)]
    keep(tmp_path, results)
    table = write_page(tmp_path, Study(config=make_config(), seeds=2), "…")
    assert [row.inference for row in table if row.method == "focal"] == ["encoder"]
