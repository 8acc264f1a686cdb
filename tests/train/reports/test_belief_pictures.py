"""A run's beliefs from the command on: what is drawn, what is refused, and nothing changed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from fieldtune.train.cli.app import app
from fieldtune.train.reports.belief_pictures import NoSuchTask, belief_picture, chosen_tasks
from fieldtune.train.runs import added_decoder
from fieldtune.train.runs.opening import open_existing


@pytest.fixture(scope="module")
def trained_folder(write_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("beliefs")
    config = write_config(folder / "run.yaml")
    result = CliRunner().invoke(
        app, ["train", "--config", str(config), "--run", str(folder / "run")]
    )
    assert result.exit_code == 0, result.stderr
    return folder / "run"


def command(*arguments: object):
    return CliRunner().invoke(app, ["beliefs", *map(str, arguments)])


@pytest.mark.parametrize("show", ["episodes", "first-episode"])
def test_a_picture_is_written_and_the_run_is_as_it_was(trained_folder, tmp_path, show):
    before = {path: path.stat().st_mtime_ns for path in trained_folder.rglob("*")}
    out = tmp_path / "beliefs.png"
    result = command(
        "--run", trained_folder, "--out", out, "--show", show, "--at", 0.6, "--task", 3
    )
    assert result.exit_code == 0, (result.stderr, result.exception)
    assert out.read_bytes().startswith(b"\x89PNG")
    task = open_existing(trained_folder).dataset.train_tasks[3].round(2).tolist()
    assert f"tasks {task}, [0.6]" in result.stdout
    assert "m/s in the median" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in trained_folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--phase", "after"], "self-supervised.safetensors: no such checkpoint"),
        (["--task", "100"], "this run was trained on tasks 0 to 99"),
        (["--task", "-1"], "this run was trained on tasks 0 to 99"),
        (["--at", "fast"], "--at 'fast': expected 1 numbers with commas between: velocity"),
        (["--at", "1,2"], "expected 1 numbers"),
        (["--at", "nan"], "expected 1 numbers"),
        (["--at", "1", "--at", "2", "--at", "3", "--task", "0"], "at most 3 can be told apart"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(
    trained_folder, tmp_path, arguments, message
):
    result = command("--run", trained_folder, "--out", tmp_path / "beliefs.png", *arguments)
    assert result.exit_code == 1, result.exception
    assert message in result.stderr
    assert list(tmp_path.glob("*.png")) == []


def test_a_folder_without_a_run_and_a_run_with_nothing_trained_are_explained(
    trained_folder, tmp_path
):
    out = tmp_path / "beliefs.png"
    assert "no run here; start one with" in command("--run", tmp_path, "--out", out).stderr
    bare = shutil.copytree(trained_folder, tmp_path / "bare")
    (bare / "checkpoints" / "offline.safetensors").unlink()
    assert "run `fieldtune train` first" in command("--run", bare, "--out", out).stderr


def test_a_run_that_learned_no_reward_decoder_is_given_one_to_ask(
    write_config, tmp_path, monkeypatch
):
    monkeypatch.setattr(added_decoder, "UPDATES", 20)
    config = write_config(tmp_path / "run.yaml")
    raw = yaml.safe_load(config.read_text())
    raw["algorithm"] = {"name": "meta-bc"} | raw["algorithm"]
    raw["algorithm"]["networks"].pop("critic")
    raw["algorithm"]["networks"].pop("decoder")
    config.write_text(yaml.safe_dump(raw))
    folder = tmp_path / "cloned"
    done = CliRunner().invoke(app, ["train", "--config", str(config), "--run", str(folder)])
    assert done.exit_code == 0, done.stderr
    out = tmp_path / "beliefs.png"
    result = command("--run", folder, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert out.read_bytes().startswith(b"\x89PNG")


def test_without_a_choice_three_training_tasks_lie_apart(make_run):
    run = make_run()
    tasks = chosen_tasks(run, [], [])
    assert tasks.shape == (3, 1)
    assert (np.diff(tasks[:, 0]) > 0).all()
    assert set(tasks[:, 0]) <= set(run.dataset.train_tasks[:, 0])
    with pytest.raises(NoSuchTask, match="0 to 5"):
        chosen_tasks(run, [6], [])


def test_the_first_task_is_filmed_with_what_is_believed_of_it(make_trained):
    run = make_trained()
    picture = belief_picture(run, "film", "before", np.array([[1.0], [2.0]]))
    frames = [axes.images[0].get_array() for axes in picture.figure.axes if axes.images]
    assert len(frames) == 6
    assert np.abs(frames[0].astype(int) - frames[-1].astype(int)).max() > 30  # it moved
    panels = [axes for axes in picture.figure.axes if not axes.images]
    assert len(panels) == 6  # of the likelihood alone, and of one task
    assert all(len(axes.collections) == 1 for axes in panels)
    assert picture.unit == "m/s"
