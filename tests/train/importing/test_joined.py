"""New tasks join a dataset without the old ones being made again, and without being mixed up."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from fieldtune.sim.registry import family as make_family
from fieldtune.train.cli.app import app
from fieldtune.train.data.dataset import read_dataset, read_metadata
from fieldtune.train.data.joining import joined_names

CHEETAH = make_family("cheetah-vel")


@pytest.fixture
def import_tasks(tmp_path):
    """`import_tasks(train, test, *options)`: random transitions of these tasks, by name."""

    def run(train, test, *options, seeds=None):
        for name, task in {**train, **test}.items():
            rng = np.random.default_rng((seeds or {}).get(name, round(1000 * task)))
            s, a = rng.normal(size=(8, 20)), rng.uniform(-1, 1, (7, 6))
            with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
                file["obs"], file["next_obs"], file["actions"] = s[:-1], s[1:], a
                file["rewards"] = CHEETAH.reward(s[:-1], a, s[1:], np.array([task]))
                file["terminals"] = np.zeros(7)
        (tmp_path / "tasks.json").write_text(json.dumps({"train": train, "test": test}))
        words = ["--family", "cheetah-vel", "--hdf5", tmp_path / "{task}.hdf5", "--stride", 1]
        words += ["--tasks", tmp_path / "tasks.json", "--trust-units", *options]
        return CliRunner().invoke(app, ["import", *map(str, words)])

    return run


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_new_tasks_come_behind_the_old_whose_episodes_stay_as_they_were(tmp_path, import_tasks):
    old, joined = tmp_path / "old", tmp_path / "joined"
    made = import_tasks({"a": 0.5, "b": 1.0}, {"c": 2.0}, "--out", old)
    assert made.exit_code == 0, made.output
    before = contents(old)
    result = import_tasks({"d": 1.5}, {"e": 2.5}, "--join", old, "--out", joined)
    assert result.exit_code == 0, result.output
    assert contents(old) == before
    first, both = read_dataset(old, CHEETAH), read_dataset(joined, CHEETAH)
    np.testing.assert_array_equal(both.train_tasks, [[0.5], [1.0], [1.5]])
    np.testing.assert_array_equal(both.test_tasks, [[2.0], [2.5]])
    for mine, kept in zip(
        (*both.train[:2], both.test[0]), (*first.train, *first.test), strict=True
    ):
        for rows in ("observations", "actions", "rewards", "next_observations"):
            ours, theirs = getattr(mine[0], rows), getattr(kept[0], rows)
            assert ours.tobytes() == theirs.tobytes()
    assert [len(task) for task in (*both.train, *both.test)] == [1] * 5
    assert both.digest != first.digest
    how = read_metadata(joined)["how"]
    assert how["task_names"] == {"train": ["a", "b", "d"], "test": ["c", "e"]}
    assert how["joined_to"] == first.digest
    assert how["joined"][0]["task_names"] == {"train": ["d"], "test": ["e"]}
    for train, test, said in (
        ({"f": 1.0}, {"g": 2.7}, "train task [1.0] is in"),
        ({"f": 2.0}, {"g": 2.7}, "task [2.0] is trained on in one of"),
    ):
        tried = import_tasks(train, test, "--join", old, "--dry-run", "--out", tmp_path / "wrong")
        assert (tried.exit_code, said in tried.stderr) == (1, True), tried.output
        wrong = import_tasks(train, test, "--join", old, "--out", tmp_path / "wrong")
        assert wrong.exit_code == 1
        assert said in wrong.stderr
        assert not (tmp_path / "wrong").exists()
        assert not list(tmp_path.glob(".wrong.[!l]*"))


def test_a_copy_of_an_old_episode_is_not_held_out_with_other_rewards(tmp_path, import_tasks):
    old = tmp_path / "old"
    made = import_tasks({"a": 0.5, "b": 1.0}, {"c": 2.0}, "--out", old)
    assert made.exit_code == 0, made.output
    for where in (["--dry-run"], ["--out", tmp_path / "more"]):
        wrong = import_tasks({"d": 1.5}, {"e": 2.5}, "--join", old, *where, seeds={"e": 500})
        assert wrong.exit_code == 1
        assert "added test task 'e', episode 0 has the same observations" in wrong.stderr
        assert "train task 0, episode 0 (1 of 2 episodes" in wrong.stderr
        assert not (tmp_path / "more").exists()
    shared = import_tasks({"d": 1.5}, {"e": 2.5}, "--join", old, "--dry-run", seeds={"d": 500})
    assert shared.exit_code == 0, shared.output


def test_tasks_of_both_keep_a_name_each():
    named = {"train": ["3", "b"], "test": ["c"]}
    assert joined_names(named, {}, (2, 1), (1, 1)) == {
        "train": ["3", "b", "2"],
        "test": ["c", "4"],
    }
    assert joined_names({}, named, (1, 1), (2, 1))["train"] == ["0", "3 (2)", "b"]
    assert joined_names(named, named, (2, 1), (2, 1))["test"] == ["c", "c (2)"]
