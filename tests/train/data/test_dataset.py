from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import minari
import numpy as np
import pytest

from fieldtune.sim.family import Field
from fieldtune.sim.locomotion.cheetah_vel import CheetahVelFamily
from fieldtune.sim.manipulation.reach.family import ReachFamily
from fieldtune.train.data.dataset import DatasetError, read_dataset, read_metadata, write_dataset


def same(one, other):
    return (
        (one.task_index, one.terminated) == (other.task_index, other.terminated)
        and np.array_equal(one.observations, other.observations)
        and np.array_equal(one.actions, other.actions)
        and np.array_equal(one.rewards, other.rewards)
    )


@pytest.fixture
def copy(dataset_folder, tmp_path):
    """A dataset of one's own, to damage."""
    return shutil.copytree(dataset_folder, tmp_path / "copy")


def test_a_relative_folder_serves_as_well(
    short_family, random_episodes, tmp_path, monkeypatch, dataset_folder
):
    monkeypatch.chdir(tmp_path)
    train, test = random_episodes
    write_dataset(Path("one/data"), short_family, train=train, test=test, how={})

    found = read_dataset(Path("one/data"), short_family)
    expected = read_dataset(dataset_folder, short_family)
    assert all(map(same, found.train[0], expected.train[0]))
    assert [path.name for path in Path("one").iterdir()] == ["data"]


def test_what_was_written_is_read_bit_for_bit(dataset_folder, short_family, random_episodes):
    found = read_dataset(dataset_folder, short_family)
    for split, written in zip((found.train, found.test), random_episodes, strict=True):
        read = [episode for task in split for episode in task]
        assert len(read) == len(written)
        assert all(map(same, read, written))
        assert all(e.observations.dtype == e.rewards.dtype == np.float64 for e in read)
        assert [len(task) for task in split] == [2] * len(split)
    np.testing.assert_array_equal(found.train_tasks, short_family.split().train)
    np.testing.assert_array_equal(found.test_tasks, short_family.split().test)
    assert found.id == "fieldtune/cheetah-vel-v0"


def test_its_columns_are_the_training_tasks_transitions_only(small_dataset):
    transitions = 6 * 2 * 20
    assert small_dataset.observations().shape == (transitions, 20)
    assert small_dataset.actions().shape == (transitions, 6)
    first = small_dataset.train[0][0]
    np.testing.assert_array_equal(small_dataset.rewards()[:20], first.rewards)
    np.testing.assert_array_equal(small_dataset.observations()[:20], first.observations[:-1])


def test_minari_reads_it_by_itself(dataset_folder, short_family, random_episodes):
    dataset = minari.MinariDataset(dataset_folder / "data")
    assert dataset.total_episodes == sum(map(len, random_episodes))
    assert dataset.observation_space.shape == (20,)
    np.testing.assert_array_equal(dataset.action_space.high, np.ones(6))
    first = next(iter(dataset.iterate_episodes()))
    np.testing.assert_array_equal(first.rewards, random_episodes[0][0].rewards)
    assert first.truncations.tolist() == [False] * 19 + [True]
    assert not first.terminations.any()
    (attributes, *_) = dataset.storage.get_episode_metadata(dataset.episode_indices)
    assert (attributes["split"], attributes["task_index"]) == ("train", 0)
    np.testing.assert_array_equal(attributes["task"], short_family.split().train[0])


def test_a_terminal_end_stays_terminal(tmp_path, short_family, random_episodes):
    train, test = random_episodes
    ended = [replace(train[0], terminated=True), *train[1:]]
    write_dataset(tmp_path / "data", short_family, train=ended, test=test, how={})
    found = read_dataset(tmp_path / "data", short_family)
    assert [episode.terminated for episode in found.train[0]] == [True, False]


def test_how_it_was_made_is_kept(dataset_folder):
    metadata = read_metadata(dataset_folder)
    assert metadata["how"] == {"policy": "random"}
    assert (metadata["family"], metadata["robot"]) == ("cheetah-vel", "half-cheetah")


def test_a_missing_dataset_says_how_to_make_one(tmp_path, short_family):
    with pytest.raises(DatasetError, match="no dataset here; make one with `fieldtune collect"):
        read_dataset(tmp_path / "nowhere", short_family)
    assert list(tmp_path.iterdir()) == []


def test_another_familys_dataset_is_refused(dataset_folder):
    with pytest.raises(DatasetError, match="family is 'cheetah-vel', the run's is 'reach'"):
        read_dataset(dataset_folder, ReachFamily())


class Renamed(CheetahVelFamily):
    @property
    def observation_fields(self):
        first, *others = super().observation_fields
        return (Field("height", first.unit, first.low, first.high), *others)


class Reordered(CheetahVelFamily):
    @property
    def observation_fields(self):
        first, second, *others = super().observation_fields
        return (second, first, *others)


@pytest.mark.parametrize("family", [Renamed, Reordered])
def test_other_fields_are_refused(dataset_folder, family):
    with pytest.raises(DatasetError, match=r"observation_fields are .* collect again"):
        read_dataset(dataset_folder, family())


def test_an_existing_folder_is_never_written_to(tmp_path, short_family, random_episodes):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mine").write_text("precious")
    train, test = random_episodes
    with pytest.raises(DatasetError, match="never overwritten"):
        write_dataset(folder, short_family, train=train, test=test, how={})
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "mine"]


def test_half_a_dataset_is_never_seen_and_is_no_obstacle(tmp_path, short_family, random_episodes):
    """As a kill while the episodes were written leaves it."""
    folder, (train, test) = tmp_path / "data", random_episodes
    (tmp_path / ".data.partial" / "data").mkdir(parents=True)
    for name in ("main_data.hdf5", "metadata.json"):
        (tmp_path / ".data.partial" / "data" / name).write_bytes(b"half")
    with pytest.raises(DatasetError, match="no dataset here"):
        read_dataset(folder, short_family)
    write_dataset(folder, short_family, train=train, test=test, how={})
    assert len(read_dataset(folder, short_family).train) == len(short_family.split().train)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: (data / "metadata.json").write_text("{"), "metadata cannot be read"),
        (lambda data: (data / "metadata.json").unlink(), "metadata cannot be read"),
        (lambda data: (data / "main_data.hdf5").write_bytes(b"x" * 999), "episodes cannot be read"),
        (lambda data: (data / "main_data.hdf5").unlink(), "episodes cannot be read"),
    ],
    ids=["garbled metadata", "no metadata", "garbled episodes", "no episodes"],
)
def test_a_damaged_dataset_is_named(copy, short_family, damage, message):
    damage(copy / "data")
    with pytest.raises(DatasetError, match=message):
        read_dataset(copy, short_family)


def test_a_minari_dataset_of_somebody_else_is_told_apart(copy, short_family):
    path = copy / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["fieldtune"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(DatasetError, match="without fieldtune's metadata"):
        read_dataset(copy, short_family)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_task_without_data_is_named(tmp_path, short_family, random_episodes, split):
    given = dict(zip(("train", "test"), random_episodes, strict=True))
    given[split] = [episode for episode in given[split] if episode.task_index not in (3, 7)]
    write_dataset(tmp_path / "data", short_family, **given, how={})
    with pytest.raises(DatasetError, match=rf"{split} task 3 .* nor have 1 others"):
        read_dataset(tmp_path / "data", short_family)


def put(episode, name, place, value):
    array = getattr(episode, name).copy()
    array[place] = value
    return replace(episode, **{name: array})


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        (
            "observations",
            (4, 11),
            1e30,
            r"train task 0, episode 1: observation 'joint_veloci",
        ),
        ("observations", (4, 11), 1e6, r"at step 4 is 1e\+06 rad/s, expected -"),
        (
            "actions",
            (4, 0),
            1.5,
            r"action 'joint_torque'\[0\] at step 4 is 1.5 normalised",
        ),
        ("rewards", 4, np.nan, "reward at step 4 is nan, expected a finite number"),
        ("rewards", 4, 1e6, r"reward at step 4 is 1e\+06, expected"),
    ],
)
def test_what_must_not_be_learned_from_is_neither_written_nor_read(
    tmp_path, copy, short_family, random_episodes, name, place, value, message
):
    train, test = random_episodes
    spoilt = [train[0], put(train[1], name, place, value), *train[2:]]
    with pytest.raises(DatasetError, match=message):
        write_dataset(tmp_path / "data", short_family, train=spoilt, test=test, how={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]
    with h5py.File(copy / "data" / "main_data.hdf5", "r+") as file:  # as others may have written it
        file["episode_1"][name][place] = value
    with pytest.raises(DatasetError, match=message):
        read_dataset(copy, short_family)


@pytest.mark.parametrize("mark", ["terminations", "truncations"])
def test_an_end_in_mid_episode_is_not_read(copy, short_family, mark):
    with h5py.File(copy / "data" / "main_data.hdf5", "r+") as file:
        file["episode_1"][mark][7] = True
    with pytest.raises(DatasetError, match=rf"episode 1: {mark} mark an end at step 7 of 20"):
        read_dataset(copy, short_family)


def test_a_dataset_whose_rewards_are_all_alike_is_not_read(copy, short_family):
    with h5py.File(copy / "data" / "main_data.hdf5", "r+") as file:
        for episode in file.values():
            episode["rewards"][...] = -1.0
    with pytest.raises(DatasetError, match="every reward of the training tasks is -1: decoder and"):
        read_dataset(copy, short_family)


def test_a_dataset_that_holds_out_what_it_trains_on_is_not_read(copy, short_family):
    path = copy / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    known = metadata["fieldtune"]
    known["test_tasks"][3] = known["train_tasks"][5]
    path.write_text(json.dumps(metadata))
    with pytest.raises(DatasetError, match="training task 5 and held-out task 3 are the same"):
        read_dataset(copy, short_family)
