from __future__ import annotations

import json

import msgspec
import pytest

from fieldtune.train.study.page import write_page
from fieldtune.train.study.plan import Job, Study


def keep(folder, results):
    for method, found in results.items():
        for result in found:
            path = Job(folder, method, result.seed).result
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.encode(result))


@pytest.fixture
def folder(make_results, tmp_path):
    keep(tmp_path, make_results())
    return tmp_path


def test_the_page_has_the_command_the_table_both_figures_and_no_path(folder, make_config):
    study = Study(config=make_config(f"data.path={folder}"), seeds=2)
    write_page(folder, study, "fieldtune study cheetah-vel --seeds 2")
    page = (folder / "README.md").read_text()
    assert "fieldtune study cheetah-vel --seeds 2" in page
    assert "| after phase 2, self-labelled, encoder trained | −" in page
    assert "| 500 |" in page
    assert str(folder) not in page
    for name in ("returns.png", "shift.png"):
        assert name in page
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_the_numbers_are_there_for_another_program(folder, make_config):
    study = Study(config=make_config(), seeds=2)
    table = write_page(folder, study, "…")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [row["iqm"]["value"] for row in metrics["rows"]] == [row.iqm.value for row in table]
    assert metrics["curves"]["trained"]["steps"] == [0.0, 500.0, 1000.0]


def test_the_same_results_make_the_same_files(folder, make_config):
    study = Study(config=make_config(), seeds=2)

    def made():
        write_page(folder, study, "…")
        return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}

    assert made() == made()


def test_a_sparse_familys_page_has_success_and_the_decoders_calibration(
    make_results, make_config, tmp_path
):
    keep(tmp_path, make_results(success=0.0))
    write_page(tmp_path, Study(config=make_config(), seeds=2), "…")
    page = (tmp_path / "README.md").read_text()
    assert "| success | by seed |" in page
    (line,) = (
        each
        for each in page.splitlines()
        if each.startswith("| after phase 2, self-l") and "trained" in each
    )
    assert line.count("|") == 7
    assert "50\N{NO-BREAK SPACE}%" in line
    assert "| seed | Brier score | expected calibration error |" in page
    for name in ("success.png", "calibration.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["decoder"][0]["calibration"]["brier"] == pytest.approx(0.025)
    assert metrics["rows"][0]["success"]["value"] == pytest.approx(0.5)


def test_a_page_of_bodies_says_what_z_explains_of_them(make_results, make_config, tmp_path):
    keep(tmp_path, make_results(dynamics=(0.81, 0.79)))
    write_page(tmp_path, Study(config=make_config(), seeds=2), "…")
    page = (tmp_path / "README.md").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert "with the body's own z and with another's: 81 % and 79 %; 81 % and 79 %." in page


def test_a_dense_familys_page_has_neither(folder, make_config):
    write_page(folder, Study(config=make_config(), seeds=2), "…")
    page = (folder / "README.md").read_text().lower()
    assert "success" not in page
    assert "body" not in page
    assert not (folder / "success.png").exists()
