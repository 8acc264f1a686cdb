from __future__ import annotations

import json
from pathlib import Path

import h5py
import minari
import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from typer.testing import CliRunner

from fieldtune.sim.registry import family as make_family
from fieldtune.train.cli.app import app
from fieldtune.train.data.dataset import DatasetError, read_dataset, read_metadata
from fieldtune.train.importing.dataset import import_dataset, source_of
from fieldtune.train.importing.task_file import family_tasks, read_tasks

TASKS = {"train": {"slow": [0.5], "7": 1.25}, "test": {"fast": [2.5]}}
CHEETAH, ANT = make_family("cheetah-vel"), make_family("ant-dir")


def walk(task, steps=9, seed=0):
    """s, a, r with cheetah-vel's own reward for a velocity of `task`."""
    rng = np.random.default_rng([seed, int(100 * task)])
    s, a = rng.normal(size=(steps + 1, 20)), rng.uniform(-1, 1, (steps, 6))
    return s, a, CHEETAH.reward(s[:-1], a, s[1:], np.array([task]))


def every_task(tasks=TASKS):
    return {
        name: np.ravel(value)[0]
        for split in ("train", "test")
        for name, value in tasks[split].items()
    }


@pytest.fixture
def files(tmp_path):
    """One HDF5 file a task, and the task file."""
    for name, task in every_task().items():
        s, a, r = walk(task)
        with h5py.File(tmp_path / f"buffer_{name}.hdf5", "w") as file:
            columns = {"obs": s[:-1], "actions": a, "next_obs": s[1:], "rewards": r[:, None]}
            for key, column in columns.items():
                file[key] = column
            file["terminals"] = np.zeros((len(r), 1), bool)
    (tmp_path / "tasks.json").write_text(json.dumps(TASKS))
    return tmp_path


def minari_dataset(folder, episodes, attributes=None, width=20, **metadata):
    (folder / "data").mkdir(parents=True)
    storage = MinariStorage.new(
        folder / "data",
        observation_space=Box(-np.inf, np.inf, (width,), np.float64),
        action_space=Box(-1, 1, (6,), np.float64),
    )
    known = {"dataset_id": "somebody/data-v0", "minari_version": minari.__version__}
    storage.update_metadata(known | metadata)
    ends = [np.arange(len(r)) == len(r) - 1 for _, _, r in episodes]
    storage.update_episodes(
        EpisodeBuffer(None, None, None, s, a, list(r), end, np.zeros_like(end))
        for (s, a, r), end in zip(episodes, ends, strict=True)
    )
    if attributes is not None:
        storage.update_episode_metadata(attributes)
    return folder


@pytest.fixture
def fieldtune():
    def run(*arguments):
        given_ones = ["import", "--family", "cheetah-vel", *map(str, arguments)]
        return CliRunner().invoke(app, given_ones)

    return run


def test_hdf5_files_become_a_dataset_to_train_on(files, fieldtune):
    out = files / "out"
    result = fieldtune(
        "--hdf5", files / "buffer_{task}.hdf5", "--tasks", files / "tasks.json", "--out", out
    )
    assert result.exit_code == 0, result.stderr
    assert "imported/cheetah-vel-v0: 3 episodes, 6 transitions" in result.stdout
    data = read_dataset(out, CHEETAH)
    np.testing.assert_array_equal(data.train_tasks, [[0.5], [1.25]])
    np.testing.assert_array_equal(data.test_tasks, [[2.5]])
    for (episode,), name in zip(data.train + data.test, every_task(), strict=True):
        s, a, r = walk(every_task()[name])
        np.testing.assert_array_equal(episode.observations[:-1], s[:-1][::7])
        np.testing.assert_array_equal(episode.next_observations, s[1:][::7])
        np.testing.assert_array_equal(episode.actions, a[::7])
        np.testing.assert_array_equal(episode.rewards, r[::7])
    np.testing.assert_array_equal(data.next_observations(), np.concatenate([
        walk(task)[0][1:][::7] for task in (0.5, 1.25)
    ]))  # fmt: skip
    text = (out / "README.md").read_text()
    assert "policy: HDF5 files buffer_{task}.hdf5" in text
    assert "task_names:\n  train: [slow, '7']\n  test: [fast]\n" in text
    assert "`infos/next_observations`" in text
    assert read_metadata(out)["format"] == 2


def test_minari_opens_a_thinned_dataset_and_finds_what_each_step_led_to(files):
    source = source_of(CHEETAH, str(files / "buffer_{task}.hdf5"), None, None, 4, None)
    import_dataset(files / "out", CHEETAH, read_tasks(files / "tasks.json", CHEETAH), source)
    first = next(iter(minari.MinariDataset(files / "out" / "data").iterate_episodes()))
    np.testing.assert_array_equal(first.observations[:-1], walk(0.5)[0][:-1][::4])
    np.testing.assert_array_equal(first.infos["next_observations"][1:], walk(0.5)[0][1:][::4])


def test_rewards_that_are_not_the_tasks_own_are_told_apart(files, fieldtune):
    wrong = {"train": {"slow": 2.5, "7": 2.6}, "test": {"fast": 0.1}}
    (files / "wrong.json").write_text(json.dumps(wrong))
    arguments = ["--hdf5", files / "buffer_{task}.hdf5", "--stride", 1]
    right = fieldtune(*arguments, "--tasks", files / "tasks.json", "--out", files / "right")
    assert "by 0.000 of their spread\n" in right.stdout
    result = fieldtune(*arguments, "--tasks", files / "wrong.json", "--out", files / "wrong")
    assert result.exit_code == 0
    assert not result.stdout.endswith("by 0.000 of their spread\n")
    assert read_metadata(files / "wrong")["how"]["reward_error"] > 0.01


def test_data_without_the_familys_signals_come_in_and_say_so(tmp_path):
    for seed, name in enumerate("ab"):
        s = np.random.default_rng(seed).normal(size=(4, 27))
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            file["obs"], file["next_obs"] = s[:-1], s[1:]
            file["actions"], file["rewards"] = np.zeros((3, 8)), np.arange(3.0)
            file["terminals"] = np.zeros(3)
    (tmp_path / "tasks.yaml").write_text("train: {a: 90}\ntest: {b: [270.0]}\n")
    source = source_of(ANT, str(tmp_path / "{task}.hdf5"), None, None, 1, None)
    tasks = read_tasks(tmp_path / "tasks.yaml", ANT)
    imported = import_dataset(tmp_path / "out", ANT, tasks, source)
    assert imported.reward_error is None
    (episode,) = read_dataset(tmp_path / "out", ANT).train[0]
    assert episode.signals is None
    assert "Nobody measured the signals" in (tmp_path / "out" / "README.md").read_text()


def test_a_minari_dataset_a_task_comes_in_whole(files, fieldtune):
    for name, task in every_task().items():
        minari_dataset(files / f"set-{name}", [walk(task), walk(task, seed=1)])
    result = fieldtune(
        "--minari", files / "set-{task}", "--tasks", files / "tasks.json", "--out", files / "out"
    )
    assert result.exit_code == 0, result.stderr
    data = read_dataset(files / "out", CHEETAH)
    assert [len(task) for task in data.train + data.test] == [2, 2, 2]
    s, a, r = walk(1.25, seed=1)
    second = data.train[1][1]
    np.testing.assert_array_equal(second.observations, s)
    np.testing.assert_array_equal(second.actions, a)
    np.testing.assert_array_equal(second.rewards, r)
    assert (second.terminated, second.following) == (True, None)
    assert read_metadata(files / "out")["format"] == 1


@pytest.mark.parametrize("as_stored", [str, np.bytes_], ids=["text", "bytes"])
def test_an_attribute_of_each_episode_may_name_its_task(files, fieldtune, as_stored):
    order = ["7", "fast", "slow", "7"]
    episodes = [walk(every_task()[name], seed=n) for n, name in enumerate(order)]
    attributes = [{"goal": as_stored(name)} for name in order]
    minari_dataset(files / "set", episodes, attributes)
    arguments = ["--minari", files / "set", "--tasks", files / "tasks.json", "--stride", 2]
    result = fieldtune(*arguments, "--task-attribute", "goal", "--out", files / "out")
    assert result.exit_code == 0, result.stderr
    data = read_dataset(files / "out", CHEETAH)
    assert [len(task) for task in data.train + data.test] == [1, 2, 1]
    np.testing.assert_array_equal(data.test[0][0].rewards, episodes[1][2][::2])

    result = fieldtune(*arguments, "--task-attribute", "aim", "--out", files / "other")
    assert result.exit_code == 1
    assert "no attribute 'aim', only ['goal', 'id', 'total_steps']" in result.stderr


def test_episodes_of_a_task_that_nobody_named_are_refused_unless_left_out_by_name(files, fieldtune):
    order = ["7", "fast", "slow", "fasst", "fasst"]
    episodes = [walk({"fasst": 2.5, **every_task()}[n], seed=i) for i, n in enumerate(order)]
    minari_dataset(files / "set", episodes, [{"goal": name} for name in order])
    arguments = ["--minari", files / "set", "--tasks", files / "tasks.json"]
    arguments += ["--task-attribute", "goal", "--out", files / "out"]
    result = fieldtune(*arguments)
    assert result.exit_code == 1
    assert "2 episodes have a goal that is no task in the task file: 'fasst' (2)" in result.stderr
    assert "--leave-out NAME" in result.stderr
    assert not (files / "out").exists()

    result = fieldtune(*arguments, "--leave-out", "fst")
    assert "--leave-out 'fst': no episode" in result.stderr

    result = fieldtune(*arguments, "--leave-out", "fasst")
    assert result.exit_code == 0, result.stderr
    assert "left out: 2 episodes of task 'fasst' (--leave-out)" in result.stdout
    assert "2 episodes of task 'fasst'" in (files / "out" / "README.md").read_text()


@pytest.mark.parametrize("kind", ["--hdf5", "--minari folders", "--minari ids"])
def test_data_that_match_the_pattern_and_are_no_tasks_are_said(files, fieldtune, kind, monkeypatch):
    option, *which = kind.split()
    if which:
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(files))
        for name, task in {"fasst": 2.5, **every_task()}.items():
            minari_dataset(files / "sets" / f"buffer_{name}", [walk(task)])
        pattern = "sets/buffer_{task}" if which == ["ids"] else files / "sets" / "buffer_{task}"
        other = "buffer_fasst"
    else:
        pattern, other = files / "buffer_{task}.hdf5", "buffer_fasst.hdf5"
        (files / other).touch()
    result = fieldtune(option, pattern, "--tasks", files / "tasks.json", "--out", files / "out")
    assert result.exit_code == 0, result.stderr
    said = f"and no task is called so: '{other}'"
    assert f"left out: 1 more match '{pattern}', {said}" in result.stdout.replace("\n", "")


def test_a_task_by_number_may_be_stored_as_a_number(files):
    tasks = {"train": {1: 0.5}, "test": {2: 1.0}}
    (files / "numbers.yaml").write_text(json.dumps(tasks))
    minari_dataset(files / "set", [walk(0.5), walk(1.0)], [{"n": 1}, {"n": 2.0}])
    source = source_of(CHEETAH, None, str(files / "set"), "n", None, None)
    import_dataset(files / "out", CHEETAH, read_tasks(files / "numbers.yaml", CHEETAH), source)
    assert len(read_dataset(files / "out", CHEETAH).test[0]) == 1


@pytest.mark.parametrize(
    ("episodes", "options", "message"),
    [
        (lambda: [walk(0.5)], {"width": 17}, r"observations are Box.*has 20 numbers, root_height"),
        (
            lambda: [walk(0.5)],
            {"fieldtune": {"observation_fields": [["height", "m", 20]]}},
            r"observation_fields are \[\['height', 'm', 20\]\], cheetah-vel \(half-cheetah\) has",
        ),
        (lambda: [(walk(0.5)[0] * np.nan, *walk(0.5)[1:])], {}, r"200 numbers that are not finite"),
        (lambda: [(walk(0.5)[0][:-1], *walk(0.5)[1:])], {}, r"'observations' is \[9, 20\]"),
        (
            lambda: [(walk(0.5)[0], np.rad2deg(walk(0.5)[1]), walk(0.5)[2])],
            {},
            r"set-slow: episode 0: action 'joint_torque'\[0\] at step 0 is .*, expected -1 to 1, "
            r"the action's bounds: are they 57.3 times too large \(degrees for radians\)\?",
        ),
        (lambda: [walk(0.5, steps=201)], {}, "it has 201 steps, cheetah-vel ends after 200"),
    ],
)
def test_a_minari_dataset_that_does_not_fit_is_refused(files, episodes, options, message):
    made = episodes()
    if options.get("width"):
        made = [(s[:, :17], a, r) for s, a, r in made]
    minari_dataset(files / "set-slow", made, **options)
    source = source_of(CHEETAH, None, str(files / "set-{task}"), None, None, None)
    with pytest.raises(DatasetError, match=message):
        import_dataset(files / "out", CHEETAH, read_tasks(files / "tasks.json", CHEETAH), source)
    assert not (files / "out").exists()


def test_a_minari_episode_that_goes_on_after_its_end_is_refused(files):
    s, a, r = walk(0.5)
    end = np.arange(9) == 4
    folder = minari_dataset(files / "set-slow", [walk(0.5)])
    storage = MinariStorage.read(folder / "data")
    storage.update_episodes([EpisodeBuffer(None, None, None, s, a, list(r), end, np.zeros(9))])
    source = source_of(CHEETAH, None, str(files / "set-{task}"), None, None, None)
    with pytest.raises(DatasetError, match=r"episode 1: terminations mark an end at step 4 of 9"):
        source.episodes("slow")


def spoil_hdf5(path, change):
    with h5py.File(path, "a") as file:
        change(file)


def every_reward(value):
    def change(file):
        file["rewards"][...] = value

    return change


@pytest.mark.parametrize("value", [0.0, -1.0, 1e6])
def test_rewards_that_are_all_alike_are_refused(files, fieldtune, value):
    for name in every_task():
        spoil_hdf5(files / f"buffer_{name}.hdf5", every_reward(value))
    arguments = ["--hdf5", files / "buffer_{task}.hdf5", "--tasks", files / "tasks.json"]
    result = fieldtune(*arguments, "--out", files / "out")
    assert result.exit_code == 1
    assert f"every reward of the training tasks is {value:g}" in result.stderr
    assert "spread" not in result.stdout
    assert not (files / "out").exists()


def test_one_absurd_number_among_sound_ones_is_refused_by_task_episode_and_field(files, fieldtune):
    for name, task in every_task().items():
        walks = [walk(task, 150, seed) for seed in range(3)]
        if name == "fast":
            walks[1][0][7, 9] = 1e6  # of root_velocity
        minari_dataset(files / f"set-{name}", walks)
    arguments = ["--minari", files / "set-{task}", "--tasks", files / "tasks.json"]
    result = fieldtune(*arguments, "--out", files / "out")
    assert result.exit_code == 1
    assert "test task 'fast', episode 1: observation 'root_velocity'[1] at step 7" in result.stderr
    assert not (files / "out").exists()


@pytest.mark.parametrize("stride", [1, 7])
def test_rows_that_are_twice_in_a_file_are_refused_however_they_are_thinned_out(
    files, fieldtune, stride
):
    with h5py.File(files / "buffer_7.hdf5", "a") as file:
        for key, column in {key: file[key][:] for key in file}.items():
            del file[key]
            file[key] = np.concatenate([column, column])  # 9 rows: other ones of them are kept
    arguments = ["--hdf5", files / "buffer_{task}.hdf5", "--tasks", files / "tasks.json"]
    result = fieldtune(*arguments, "--stride", stride, "--out", files / "out")
    assert result.exit_code == 1
    assert (
        "error: train task '7', episode 1 has the same observations and actions as train task '7', "
        "episode 0 (1 of 4 episodes are such copies): leave one of the two out"
    ) in result.stderr
    assert not (files / "out").exists()


def test_one_file_under_a_training_and_a_held_out_task_is_refused(files, fieldtune):
    (files / "buffer_fast.hdf5").write_bytes((files / "buffer_slow.hdf5").read_bytes())
    arguments = ["--hdf5", files / "buffer_{task}.hdf5", "--tasks", files / "tasks.json"]
    result = fieldtune(*arguments, "--out", files / "out")
    assert result.exit_code == 1
    assert (
        "error: test task 'fast', episode 0 has the same observations and actions as train task "
        "'slow', episode 0 (1 of 3 episodes are such copies): what is held out must not be trained"
    ) in result.stderr
    assert not (files / "out").exists()


@pytest.mark.parametrize("by_attribute", [False, True])
def test_a_minari_episode_that_is_there_twice_is_refused(files, fieldtune, by_attribute):
    order = ["slow", "7", "slow", "fast"]
    episodes = [walk(every_task()[name]) for name in order]
    if by_attribute:
        minari_dataset(files / "set", episodes, [{"goal": name} for name in order])
        arguments = ["--minari", files / "set", "--task-attribute", "goal"]
    else:
        for name in every_task():
            of_task = [e for e, other in zip(episodes, order, strict=True) if other == name]
            minari_dataset(files / f"set-{name}", of_task)
        arguments = ["--minari", files / "set-{task}"]
    result = fieldtune(*arguments, "--tasks", files / "tasks.json", "--out", files / "out")
    assert result.exit_code == 1
    assert "train task 'slow', episode 1 has the same observations and actions as" in result.stderr
    assert not (files / "out").exists()


def test_training_tasks_may_share_episodes_that_each_pays_for_itself(files, fieldtune):
    s, a, _ = walk(0.5, steps=60)
    paid = {
        name: CHEETAH.reward(s[:-1], a, s[1:], np.array([task]))
        for name, task in every_task().items()
    }
    for name in ("slow", "7"):
        minari_dataset(files / f"set-{name}", [(s, a, paid[name])])
    minari_dataset(files / "set-fast", [walk(2.5, steps=60)])
    arguments = ["--minari", files / "set-{task}", "--tasks", files / "tasks.json"]
    result = fieldtune(*arguments, "--out", files / "out")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("factor", "field"), [(100.0, "root_height"), (180.0 / np.pi, "joint_position")]
)
def test_observations_in_another_unit_are_refused_unless_a_person_says_they_are_right(
    files, fieldtune, factor, field
):
    columns = {"root_height": slice(0, 20), "joint_position": slice(2, 8)}[field]
    for name in every_task():
        s, a, r = walk(every_task()[name], steps=60)
        s[:, columns] *= factor
        minari_dataset(files / f"set-{name}", [(s, a, r)])
    arguments = ["--minari", files / "set-{task}", "--tasks", files / "tasks.json"]
    result = fieldtune(*arguments, "--out", files / "out")
    assert result.exit_code == 1
    assert "error: task 'slow' (train): observation '" in result.stderr
    assert f"observation '{field}'" in result.stderr
    assert "cheetah-vel's simulator shows, tenfold: convert the data" in result.stderr
    assert not (files / "out").exists()
    result = fieldtune(*arguments, "--out", files / "out", "--trust-units")
    assert result.exit_code == 0, result.stderr


def test_sparse_rewards_of_another_convention_are_refused(tmp_path):
    push = make_family("push")
    for name in "ab":
        s = np.zeros((4, 31))
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            file["obs"], file["next_obs"] = s[:-1], s[1:]
            file["actions"], file["terminals"] = np.zeros((3, 4)), np.zeros(3)
            file["rewards"] = [0.0, 0.0, 1.0]
    source = source_of(push, str(tmp_path / "{task}.hdf5"), None, None, 1, None)
    with pytest.raises(DatasetError, match=r"reward at step 2 is 1, but push's are sparse: 0 in"):
        source.episodes("a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: {slow: 5e-1, '7': 1.25}\ntest: {fast: [2.5]}\n", [[0.5], [1.25]]),
        ("{train: {slow: .5, '7': 125e-2}, test: {fast: [2.5]}}", [[0.5], [1.25]]),
    ],
)
def test_numbers_in_a_yaml_task_file_are_numbers_however_they_are_written(tmp_path, text, expected):
    (tmp_path / "tasks.yaml").write_text(text)
    tasks = read_tasks(tmp_path / "tasks.yaml", CHEETAH)
    np.testing.assert_array_equal(tasks.split.train, expected)


@pytest.mark.parametrize("name", ["tasks.yaml", "tasks.json"])
def test_a_task_given_twice_in_the_task_file_is_refused(tmp_path, name):
    (tmp_path / name).write_text('{"train": {"a": 0.5, "b": 1.0, "a": 0.7}, "test": {"c": 2.0}}')
    with pytest.raises(DatasetError, match=rf"{name}: .*key 'a' is given twice"):
        read_tasks(tmp_path / name, CHEETAH)


def test_one_direction_under_two_names_is_one_task(tmp_path):
    (tmp_path / "tasks.yaml").write_text("train: {a: 0, b: 90}\ntest: {c: 360}\n")
    with pytest.raises(DatasetError, match="'a' in 'train' and 'c' in 'test' are the same task"):
        read_tasks(tmp_path / "tasks.yaml", ANT)


def test_a_minari_dataset_that_is_not_there_is_named(files, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(files))
    source = source_of(CHEETAH, None, "some/{task}-v0", None, None, None)
    with pytest.raises(DatasetError, match=r"some/slow-v0: neither a folder .*`minari download"):
        source.episodes("slow")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--hdf5 and --minari: neither given"),
        (["--hdf5", "{task}", "--minari", "{task}"], "both given"),
        (["--hdf5", "buffer.hdf5"], "put {task} where a task's name belongs"),
        (["--minari", "x"], "(or name --task-attribute)"),
        (["--hdf5", "{task}", "--task-attribute", "x"], "--task-attribute is for --minari"),
        (["--minari", "{task}", "--last", "5"], "--last is for --hdf5"),
        (["--hdf5", "none-{task}.hdf5"], "none-0.hdf5: no such file"),
        (["--hdf5", "none-{task}.hdf5", "--tasks", "none.json"], "none.json: task file cannot be"),
        (["--family", "cheeta", "--hdf5", "{task}"], "unknown task family 'cheeta'"),
    ],
)
def test_options_that_cannot_be_are_explained_and_nothing_is_written(
    tmp_path, monkeypatch, fieldtune, arguments, message
):
    monkeypatch.chdir(tmp_path)
    result = fieldtune("--out", "out", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert list(Path().iterdir()) == []


def test_a_later_task_that_is_malformed_leaves_nothing_written(files, fieldtune):
    with h5py.File(files / "buffer_fast.hdf5", "a") as file:
        file["rewards"][3] = np.nan
    before = sorted(files.iterdir())
    arguments = ["--hdf5", files / "buffer_{task}.hdf5", "--tasks", files / "tasks.json"]
    result = fieldtune(*arguments, "--out", files / "out")
    assert result.exit_code == 1
    assert "buffer_fast.hdf5: 'rewards' row 3 is [nan]" in result.stderr
    assert sorted(files.iterdir()) == before


def test_an_existing_folder_is_never_written_to(files, fieldtune):
    (files / "out").mkdir()
    arguments = ["--hdf5", files / "buffer_{task}.hdf5", "--tasks", files / "tasks.json"]
    result = fieldtune(*arguments, "--out", files / "out")
    assert (result.exit_code, "never overwritten" in result.stderr) == (1, True)
    assert list((files / "out").iterdir()) == []


def test_the_familys_own_tasks_go_by_the_references_numbers():
    tasks, split = family_tasks(CHEETAH), CHEETAH.split()
    assert (tasks.names["train"][0], tasks.names["test"][0]) == ("0", "100")
    assert tasks.names["test"][-1] == "129"
    np.testing.assert_array_equal(tasks.split.train, split.train)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[1, 2]", r"the task file is \[1, 2\]; expected"),
        ('{"train": {"a": 1}}', 'the task file is {"train"'),
        ('{"train": {}, "test": {"a": 1}}', "'train' is {}"),
        ('{"train": {"a": 1}, "test": {"a": 2}}', "task 'a' is there twice"),
        (
            '{"train": {"a": 7}, "test": {"b": 2}}',
            r"task 'a' is 7, cheetah-vel expects velocity \(1",
        ),
        ('{"train": {"a": [1, 2]}, "test": {"b": 2}}', r"task 'a' is \[1, 2\]"),
        ('{"train": {"a": true}, "test": {"b": 2}}', "task 'a' is true"),
        ('{"train": {"a": NaN}, "test": {"b": 2}}', "NaN is no number in JSON"),
        ('{"train": {"a": 1, "a": 2}, "test": {"b": 2}}', "key 'a' is given twice"),
        (
            '{"train": {"a": 1, "b": 2}, "test": {"c": 2.0000000000001}}',
            "'b' in 'train' and 'c' in 'test' are the same task, \\[2.0\\]: what is held out",
        ),
    ],
)
def test_a_malformed_task_file_is_refused_by_name_and_value(tmp_path, text, message):
    path = tmp_path / "tasks.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_tasks(path, CHEETAH)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["train", "test", "a", "b"]), inner, max_size=3)
    ),
)


@settings(deadline=None)
@given(st.one_of(json_values, st.fixed_dictionaries({"train": json_values, "test": json_values})))
def test_any_task_file_is_read_or_refused_by_name(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("tasks") / "tasks.json"
    path.write_text(json.dumps(value))
    try:
        tasks = read_tasks(path, CHEETAH)
    except DatasetError as error:
        named = "tasks.json" in str(error)
        assert named
    else:
        assert tasks.split.train.shape == (len(tasks.names["train"]), 1)
