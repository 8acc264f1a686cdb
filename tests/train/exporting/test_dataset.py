"""A dataset of ours, out in another format and in again, is the same."""

from __future__ import annotations

import json

import minari
import numpy as np
import pyarrow.parquet as pq
import pytest
from gymnasium.spaces import Dict
from typer.testing import CliRunner

from fieldtune.sim.family import TaskSplit
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.cli.app import app
from fieldtune.train.data.dataset import read_dataset, write_dataset
from fieldtune.train.exporting.opened import open_for_export

ANT = make_family("ant-dir")
TASKS = TaskSplit(np.array([[90.0], [180.0]]), np.array([[270.0]]))


def episode(task, seed, steps, terminated=False):
    """An ant's numbers, with a quaternion among them, and signals."""
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(steps + 1, 27))
    s[:, 1:5] /= np.linalg.norm(s[:, 1:5], axis=1, keepdims=True)
    signals = np.hstack([rng.normal(size=(steps, 2)), rng.uniform(0, 1, (steps, 1))])
    return LabelledEpisode(
        task, s, rng.uniform(-1, 1, (steps, 8)), rng.normal(size=steps), terminated, signals
    )


@pytest.fixture(scope="module")
def ants(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ants") / "data"
    train = [episode(0, 0, 5), episode(0, 1, 200), episode(1, 2, 1, terminated=True)]
    write_dataset(folder, ANT, train=train, test=[episode(0, 3, 7)], how={}, tasks=TASKS)
    return folder


def fieldtune(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("kind", ["lerobot", "minari"])
def test_out_and_in_again_gives_the_same_arrays(ants, tmp_path, kind):
    out = tmp_path / kind
    result = fieldtune("export-dataset", ants, "--format", kind, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "4 episodes, 213 transitions of ant-dir" in result.stdout
    back = ["--mapping", out / "mapping.yaml", "--tasks", out / "tasks.json", "--trust-units"]
    result = fieldtune(
        "import", "--family", "ant-dir", "--from", out, *back, "--out", tmp_path / "again"
    )
    assert result.exit_code == 0, result.stderr
    before, after = read_dataset(ants, ANT), read_dataset(tmp_path / "again", ANT)
    assert after.digest == before.digest
    for one, other in zip(before.train + before.test, after.train + after.test, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(theirs.signals, mine.signals)
            assert theirs.terminated == mine.terminated


def test_minari_itself_opens_what_was_written(ants, tmp_path):
    assert fieldtune("export-dataset", ants, "--format", "minari", "--out", tmp_path / "m").exit_code == 0  # fmt: skip # noqa: E501
    dataset = minari.MinariDataset(tmp_path / "m" / "data")
    assert isinstance(dataset.observation_space, Dict)
    first = next(iter(dataset.iterate_episodes()))
    assert dataset.observation_space["torso_orientation"].contains(
        first.observations["torso_orientation"][0]
    )
    assert (dataset.total_episodes, dataset.total_steps) == (4, 213)
    (told, *_) = dataset.storage.get_episode_metadata([0])
    assert told["task"] == "ant-dir, task 0: direction 90 degrees"


def test_lerobots_files_say_what_is_in_them(ants, tmp_path):
    out = tmp_path / "l"
    assert fieldtune("export-dataset", ants, "--format", "lerobot", "--out", out).exit_code == 0
    info = json.loads((out / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 20, "ant")
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (4, 217, 3)
    assert info["splits"] == {"train": "0:3", "test": "3:4"}
    frames = pq.read_table(out / "data/chunk-000/file-000.parquet")
    assert set(frames.column_names) == set(info["features"])
    assert frames["index"].to_pylist() == list(range(217))
    episodes = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pydict()
    assert episodes["length"] == [6, 201, 2, 8]
    done = np.flatnonzero(frames["next.done"].to_numpy())
    assert done.tolist() == [5, 206, 207, 208, 216]  # 207: the step that led to a terminal state


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(ants, tmp_path):
    out = tmp_path / "out"
    for arguments, words in (
        ([ants, "--format", "rlds"], "--format is 'rlds', expected one of lerobot, minari"),
        ([tmp_path / "none", "--format", "minari"], "no dataset here"),
    ):
        result = fieldtune("export-dataset", *arguments, "--out", out)
        assert (result.exit_code, words in result.stderr) == (1, True), result.stderr
        assert list(tmp_path.iterdir()) == []
    out.mkdir()
    result = fieldtune("export-dataset", ants, "--format", "minari", "--out", out)
    assert (result.exit_code, "nothing is overwritten" in result.stderr) == (1, True)
    assert list(out.iterdir()) == []


def test_a_joined_dataset_of_before_is_exported_with_numbers_where_it_has_no_names(tmp_path):
    names = {"train": ["2"], "test": []}
    write_dataset(
        tmp_path / "data", ANT, train=[episode(0, 0, 5), episode(1, 1, 5)], test=[episode(0, 2, 5)],
        how={"task_names": names}, tasks=TASKS,
    )  # fmt: skip
    opened = open_for_export(tmp_path / "data")
    assert opened.texts == [
        "ant-dir, task 2: direction 90 degrees",
        "ant-dir, task 1: direction 180 degrees",
        "ant-dir, task 2 (2): direction 270 degrees",
    ]


LABELLED = """
name: carry
robot: my-arm
period_s: 0.05
horizon: 50
observation: [{name: state, unit: m, width: 4}]
action: [{name: target, unit: m, low: [-1, -1], high: [1, 1]}]
task: [{name: goal, unit: m, low: [0], high: [9]}]
"""


def test_labelled_data_alone_are_exported_with_their_familys_file(tmp_path):
    file, out = tmp_path / "carry.yaml", tmp_path / "out"
    file.write_text(LABELLED)
    family, rng = make_family(str(file)), np.random.default_rng(0)
    episodes = [
        LabelledEpisode(
            0, rng.normal(size=(6, 4)), rng.uniform(-1, 1, (5, 2)), rng.normal(size=5), False
        )
        for _ in range(2)
    ]
    tasks = TaskSplit(np.array([[1.0]]), np.array([[2.0]]))
    data = tmp_path / "data"
    write_dataset(data, family, train=episodes[:1], test=episodes[1:], how={}, tasks=tasks)
    command = ["export-dataset", data, "--format", "minari", "--out", out]
    refused = fieldtune(*command)
    assert (refused.exit_code, out.exists()) == (1, False)
    assert "'carry', is not installed: install its package, or give" in refused.stderr
    done = fieldtune(*command, "--family", file)
    assert done.exit_code == 0, done.stderr
    back = ["--mapping", out / "mapping.yaml", "--tasks", out / "tasks.json"]
    again = fieldtune("import", "--family", file, "--from", out, *back, "--out", tmp_path / "again")
    assert again.exit_code == 0, again.stderr
    assert read_dataset(tmp_path / "again", family).digest == read_dataset(data, family).digest
