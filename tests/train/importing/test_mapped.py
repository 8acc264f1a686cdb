"""Data of others by a mapping: keys, widths and units of theirs, fields and numbers of ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from fieldtune.errors import UserError
from fieldtune.sim.registry import family as make_family
from fieldtune.train.importing.formats.robomimic import Robomimic
from fieldtune.train.importing.mapped import read_mapped

# The mappings under test are those of the page.
PAGE = dict(
    re.findall(
        r"```\w+ (\S+)\n(.*?)```",
        (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(),
        re.DOTALL,
    )
)
REACH, CHEETAH, ANT = (make_family(name) for name in ("reach", "cheetah-vel", "ant-dir"))
LEROBOT, ROBOMIMIC, D4RL, MINARI = (
    PAGE[f"{name}.yaml"] for name in ("lerobot", "robomimic", "d4rl", "minari")
)
HOME = np.array([0.45, 0.16, 0.11])  # near where a Sawyer's hand starts

JOINT_VELOCITY = LEROBOT.splitlines(keepends=True)[3]
TARGETS = {"train": {"go left": [0.6, 0.3, 0.2]}, "test": {"go right": [0.6, 0.0, 0.2]}}


@pytest.fixture
def reached(tmp_path, lerobot_dataset, others):
    """A LeRobot dataset of two tasks with a camera, its mapping and its task file."""
    tasks = ["go left", "go right", "go left"]
    episodes = [others.reaching(seed) | {"task": task} for seed, task in enumerate(tasks)]
    camera = {"dtype": "video", "shape": [3, 96, 96]}
    lerobot_dataset(tmp_path / "logs", episodes, **{"observation.images.top": camera})
    (tmp_path / "mapping.yaml").write_text(LEROBOT)
    (tmp_path / "tasks.json").write_text(json.dumps(TARGETS))
    return tmp_path


def mapped(folder, family, data, text=None, tasks=None):
    if text is not None:
        (folder / "mapping.yaml").write_text(text)
    return read_mapped(family, folder / "mapping.yaml", str(data), tasks)


def test_a_lerobot_log_of_other_widths_and_units_becomes_the_familys_fields(reached, others):
    found = mapped(reached, REACH, reached / "logs", tasks=reached / "tasks.json")
    first, second = found.episodes("go left")
    theirs = others.reaching(0)
    degrees, hand = theirs["observation.state"][:, :7], theirs["observation.state"][:, 7:10]
    assert first.observations.shape == (12, 20)
    np.testing.assert_allclose(first.observations[:, :7], np.deg2rad(degrees))
    velocity = np.deg2rad(np.diff(degrees, axis=0)) / 0.05
    np.testing.assert_allclose(first.observations[1:, 7:14], velocity)
    np.testing.assert_allclose(first.observations[0, 7:14], velocity[0])
    np.testing.assert_allclose(first.observations[:, 14:17], hand / 1000)
    moved = (theirs["action"][:, :3] - hand)[:-1] / 1000  # what the last led to, nobody recorded
    np.testing.assert_allclose(first.actions, moved, atol=1e-12)
    after = first.observations[1:, 14:17]
    np.testing.assert_allclose(
        first.rewards, -np.linalg.norm(after - TARGETS["train"]["go left"], axis=1)
    )
    assert (first.steps, second.steps, len(found.episodes("go right"))) == (11, 11, 1)
    assert found.how()["rewards"].startswith("the family's own")
    notes = "\n".join(found.left_out(["go left", "go right"]))
    assert "3 last steps of episodes: the data do not say what they led to" in notes
    assert "'observation.images.top': video, which is never read" in notes


TARGETS_SEEN = list(HOME + np.array([[0.0, 0.2, 0.0], [0.0, -0.2, 0.0], [0.2, 0.0, 0.0]]))


@pytest.mark.parametrize("theirs", [False, True], ids=["the-familys-rewards", "the-datas"])
def test_a_robomimic_file_brings_its_tasks_along(tmp_path, robomimic_file, others, theirs):
    targets = [*TARGETS_SEEN, TARGETS_SEEN[0]]
    demos = [others.demo(target, seed) for seed, target in enumerate(targets)]
    masks = {"good": ["demo_0", "demo_1", "demo_2"]}
    path = robomimic_file(tmp_path / "low_dim.hdf5", demos, masks=masks)
    rewards = "reward: {from: rewards, offset: -1}\n" if theirs else ""
    found = mapped(tmp_path, REACH, path, ROBOMIMIC + rewards)
    assert {split: len(names) for split, names in found.tasks.names.items()} == {
        "train": 2,
        "test": 1,
    }
    name = " ".join(f"{value:.9g}" for value in TARGETS_SEEN[1])
    (episode,) = found.episodes(name)
    np.testing.assert_array_equal(episode.observations[:-1, :7], demos[1]["obs/robot0_joint_pos"])
    np.testing.assert_array_equal(
        episode.observations[-1, :7], demos[1]["next_obs/robot0_joint_pos"][-1]
    )
    np.testing.assert_allclose(episode.actions, 0.05 * demos[1]["actions"][:, :3])
    away = np.linalg.norm(episode.observations[1:, 14:17] - TARGETS_SEEN[1], axis=1)
    np.testing.assert_allclose(episode.rewards, demos[1]["rewards"] - 1 if theirs else -away)
    assert sum(len(of) for of in found.by_task.values()) == 3  # the fourth is not in the mask
    assert any("agentview_image" in sentence for sentence in found.notes)


def test_attributes_of_robomimics_data_are_those_of_each_demonstration(
    tmp_path, robomimic_file, others
):
    demos = [others.demo(target, seed) for seed, target in enumerate(TARGETS_SEEN[:2])]
    path = robomimic_file(tmp_path / "low_dim.hdf5", demos)

    def named(file):
        file["data"].attrs["goal"] = "everyone's"
        file["data/demo_1"].attrs["goal"] = "its own"

    edit(path, named)
    found = [episode.attributes for episode in Robomimic(str(path)).episodes(frozenset())]
    assert [each["goal"] for each in found] == ["everyone's", "its own"]
    assert all("env_args" in each for each in found)


LABELLED = """
name: carry
robot: my-arm
period_s: 0.05
horizon: 50
observation: [{name: state, unit: m, width: 11}]
action: [{name: target, unit: mm, low: [-2000, -2000, -2000], high: [2000, 2000, 2000]}]
task: [{name: goal, unit: m, low: [0], high: [9]}]
"""
BRINGS = """
format: lerobot
observation: {state: observation.state}
action: {target: {from: action, take: "0:3"}}
reward: {from: observation.state, take: "0:1"}
tasks: {parameters: {goal: goal}, held_out: 1}
"""


def test_tasks_in_the_data_are_enough_for_a_family_of_labelled_data(
    tmp_path, lerobot_dataset, others
):
    (tmp_path / "carry.yaml").write_text(LABELLED)
    episodes = [
        others.reaching(seed) | {"task": "carry", "goal": np.full((12, 1), float(seed))}
        for seed in (1, 2, 3)
    ]
    lerobot_dataset(tmp_path / "logs", episodes)
    family = make_family(str(tmp_path / "carry.yaml"))
    found = mapped(tmp_path, family, tmp_path / "logs", BRINGS)
    assert sorted(found.by_task) == ["1", "2", "3"]
    named = changed(BRINGS, "{parameters: {goal: goal}, held_out: 1}", "{name: task}")
    with pytest.raises(UserError, match="its file lists no tasks: add them, or give"):
        mapped(tmp_path, family, tmp_path / "logs", named)


VELOCITIES = "file,velocity,split\nslow.hdf5,0.5,train\nfast.hdf5,2.5,test\n"


def test_d4rls_cheetah_is_cut_to_the_horizon_and_labelled_for_a_velocity(tmp_path, others):
    slow = others.halfcheetah(tmp_path / "slow.hdf5", 0, [450, 3, 1])
    others.halfcheetah(tmp_path / "fast.hdf5", 1, [30])
    (tmp_path / "velocities.csv").write_text(VELOCITIES)
    found = mapped(tmp_path, CHEETAH, tmp_path / "*.hdf5", D4RL)
    episodes = found.episodes("0.5")
    assert [episode.steps for episode in episodes] == [200, 200, 49, 2]
    x, z = slow["infos/qpos"][:, :1], slow["infos/qpos"][:, 1:2]
    np.testing.assert_array_equal(
        episodes[1].observations[:, 17:],
        np.hstack([x, 0 * x, z + 0.7])[200:401],
    )
    velocity = np.diff(x[200:401, 0]) / 0.05
    expected = -np.abs(velocity - 0.5) - 0.05 * np.square(slow["actions"][200:400]).sum(1)
    np.testing.assert_allclose(episodes[1].rewards, expected)
    assert found.tasks.split.test.tolist() == [[2.5]]
    said = "\n".join(found.notes)
    assert "1 episodes without a complete step" in said
    assert "1 episodes cut into pieces" in said


def test_minaris_dicts_and_tuples_are_flattened_and_signals_label(tmp_path, minari_dicts, others):
    episodes = [others.ant(direction, seed) for seed, direction in enumerate([0.5, 1.5, 2.5])]
    minari_dicts(tmp_path / "ants", episodes)
    found = mapped(tmp_path, ANT, tmp_path / "ants", MINARI)
    seen, actions, _, infos = episodes[1]
    (episode,) = found.episodes(f"{np.rad2deg(1.5):.9g}")
    np.testing.assert_array_equal(
        episode.observations[:, 1:5], seen["torso"]["quaternion"][:, [3, 0, 1, 2]]
    )
    np.testing.assert_array_equal(episode.observations[:, 5:13], seen["joints"][0])
    np.testing.assert_allclose(episode.observations[:, 16:19], np.deg2rad(seen["velocity"][:, 3:]))
    np.testing.assert_array_equal(episode.actions, actions[:, ::-1])
    signals = np.hstack([infos["velocity"], infos["effort"]])[1:]
    np.testing.assert_array_equal(episode.signals, signals)
    task = np.array([np.rad2deg(1.5)])
    np.testing.assert_allclose(
        episode.rewards,
        ANT.reward(episode.observations[:-1], episode.actions, episode.observations[1:], task,
                   signals),
    )  # fmt: skip
    assert episode.terminated


def test_infos_that_repeat_an_observation_are_of_the_same_step(tmp_path, minari_dicts, others):
    episodes = [others.ant(direction, seed) for seed, direction in enumerate([0.5, 1.5, 2.5])]
    for seen, _, _, infos in episodes:
        infos["height"], infos["joints"] = seen["torso"]["height"], seen["joints"][0]
    minari_dicts(tmp_path / "ants", episodes)
    less = "{from: actions, scale: 0, minus: {from: JOINTS, scale: 0.01}}"
    text = re.sub(r"joint_torque: \{.*?\}", f"joint_torque: {less}", MINARI)

    def episode(text):
        found = mapped(tmp_path, ANT, tmp_path / "ants", text)
        return found.episodes(f"{np.rad2deg(1.5):.9g}")[0]

    plain = episode(changed(text, "JOINTS", "observations/joints/0"))
    noted = changed(text, "JOINTS", "infos/joints")
    found = episode(changed(noted, "observations/torso/height", "infos/height"))
    np.testing.assert_array_equal(found.observations, plain.observations)
    np.testing.assert_array_equal(found.actions, plain.actions)
    np.testing.assert_array_equal(found.signals, plain.signals)


def changed(text, before, after):
    assert before in text
    return text.replace(before, after)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (JOINT_VELOCITY, "",
         r"missing key 'observation.joint_velocity' \(7, rad/s\) of reach \(sawyer\)"),
        ("joint_position:", "joint_positon:", "no field of reach .* did you mean 'joint_position'"),
        ('"0:7", unit: deg}', '"0:6", unit: deg}',
         r"logs: episode 0: 'joint_position' gets 6 numbers from 'observation.state', .* has 7"),
        ('"0:7", unit: deg}', '"0:7", unit: mm}',
         r"'unit' is 'mm', .* become 'rad': expected one of \['rad', 'deg'"),
        ('"7:10", unit: mm}', '"9:12", unit: mm}', "position 11, the key has 11 numbers, 0 to 10"),
        ('"7:10", unit: mm}', '"0:99999999999", unit: mm}', "position 99999999998, the key has 11"),
        ('"0:7", unit: deg}', '"7:0", unit: deg}', "'take' is '7:0': expected \"FIRST:END\""),
        ("from: action", "from: actions", r"no key 'actions' .* there are action \(4\)"),
        ("from: action", "from: observation.images.top", "video, which is never read"),
        ("format: lerobot", "format: lerobt", "'format' is 'lerobt': .* did you mean 'lerobot'"),
        ("format: lerobot", "format: lerobot\noptions: {fps: 5}", "'options' are .* has none"),
        ("format: lerobot", "format: lerobot\nperiod_s: 0.1",
         r"a step is 0.1 s \(10 a second\), reach's control period is 0.05 s: resample"),
        ("tasks: {name: task}", "", "'tasks' is missing, and --from has no {task}"),
        ("name: task", "name: goal", r"no attribute or key 'goal' .*\['episode_index', 'task'\]"),
        ("name: task", "file: none.csv", "none.csv: cannot be read"),
        ("from: action", "constant: 0", "a constant is as it is: remove 'minus'"),
        ("minus: {", "minnus: {", "unknown key 'action.end_effector_displacement.minnus'"),
    ],
)  # fmt: skip
def test_a_mapping_that_does_not_fit_is_refused_by_field_value_and_cure(
    reached, before, after, words
):
    text = changed(LEROBOT, before, after)
    with pytest.raises(UserError, match=words):
        mapped(reached, REACH, reached / "logs", text, reached / "tasks.json")


def rewrite(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def cut_off(folder):
    (folder / "data/chunk-000/file-001.parquet").unlink()


def spoiled(folder):
    (folder / "data/chunk-000/file-001.parquet").write_bytes(b"PAR1 no more")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: rewrite(f / "meta/info.json", lambda i: i | {"codebase_version": "v2.1"}),
         "'codebase_version' is 'v2.1', expected 'v3.0': convert it with LeRobot's own"),
        (lambda f: rewrite(f / "meta/info.json", lambda i: i | {"fps": 30}),
         r"a step is 0.03333 s \(30 a second\), reach's control period is 0.05 s"),
        (lambda f: (f / "meta/info.json").unlink(), "info.json: not the description of a LeRobot"),
        (lambda f: rewrite(f / "meta/info.json", lambda i: i | {"features": 3}), "info.json: not"),
        (cut_off, "meta/episodes has episode 1 and data/ has not"),
        (spoiled, "file-001.parquet: not a readable Parquet file"),
        (lambda f: (f / "meta/tasks.parquet").unlink(), "tasks.parquet: cannot be read"),
    ],
)  # fmt: skip
def test_a_damaged_lerobot_dataset_is_refused_by_file_and_cure(reached, damage, words):
    damage(reached / "logs")
    with pytest.raises(UserError, match=words):
        mapped(reached, REACH, reached / "logs", tasks=reached / "tasks.json")


def test_episodes_of_a_task_that_nobody_named_are_refused_and_one_without_any_too(reached):
    others = {"train": {"go left": TARGETS["train"]["go left"]}, "test": {"up": [0.6, 0.16, 0.3]}}
    (reached / "tasks.json").write_text(json.dumps(others))
    found = mapped(reached, REACH, reached / "logs", tasks=reached / "tasks.json")
    with pytest.raises(UserError, match=r"1 episodes are of no task in the task file: 'go right'"):
        found.left_out(["go left", "up"])
    with pytest.raises(UserError, match=r"no episode is of task 'up'; the data have \['go left'"):
        found.episodes("up")


def edit(path, change):
    with h5py.File(path, "a") as file:
        change(file)


def replace_rows(key, rows):
    def change(file):
        del file[key]
        file[key] = rows

    return change


def shuffle(file):
    rows = np.random.default_rng(0).normal(size=(30, 17))
    file["next_observations"] = rows


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: f.pop("timeouts") and f.pop("terminals"), "at least one of .* where episodes"),
        (replace_rows("timeouts", np.zeros(29)), r"'timeouts' is \[29, 1\], expected \[30, 1\]"),
        (replace_rows("infos/qpos", np.zeros((29, 9))), "no key 'infos/qpos' .*not a row a trans"),
        (replace_rows("infos/qpos", np.full((30, 9), np.nan)),
         "fast.hdf5: episode 0 .*: observation 'root_height' at step 0 is nan"),
        (replace_rows("actions", np.full((30, 6), 57.3)),
         r"episode 0 .*: action 'joint_torque'\[0\] at step 0 is 57.3 normalised, .*degrees for"),
        (replace_rows("terminals", np.ones(30)), "no episode has a complete step"),
    ],
)  # fmt: skip
def test_a_damaged_d4rl_file_is_refused_by_key_and_cure(tmp_path, damage, words, others):
    for seed, name in enumerate(("slow", "fast")):
        others.halfcheetah(tmp_path / f"{name}.hdf5", seed, [30])
    (tmp_path / "velocities.csv").write_text(VELOCITIES)
    edit(tmp_path / "fast.hdf5", damage)
    place = tmp_path / ("fast.hdf5" if "complete" in words else "*.hdf5")
    with pytest.raises(UserError, match=words):
        mapped(tmp_path, CHEETAH, place, D4RL).episodes("2.5")


def test_shuffled_rows_are_no_episodes(tmp_path, others):
    others.halfcheetah(tmp_path / "fast.hdf5", 1, [30])
    edit(tmp_path / "fast.hdf5", shuffle)
    (tmp_path / "velocities.csv").write_text("file,velocity,split\nfast.hdf5,2.5,test\n")
    text = changed(D4RL, '{from: infos/qpos, take: "2:3"}', '{from: observations, take: "1:2"}')
    with pytest.raises(UserError, match=r"row 0 is not 'observations' of row 1 \(29 such rows\)"):
        mapped(tmp_path, CHEETAH, tmp_path / "fast.hdf5", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,velocity\nfast.hdf5,2.5\nslow.hdf5,0.5\n", "has no split: add a column 'split'"),
        ("file,velocity,split\nfast.hdf5,2.5,held\n", "'split' is 'held', expected one of"),
        (
            "file,velocity,split\nfast.hdf5,9,test\n",
            "task 'episode 0 .*' is .9.0., .* expects",
        ),
        ("file,velocity,split\nfast.hdf5,quick,test\n", 'is ."quick"., cheetah-vel expects'),
        ("file,speed,split\nfast.hdf5,2.5,test\n", "no column 'task', 'velocity' or 'velocity.0'"),
        ("file,velocity,split\nslow.hdf5,2.5,test\n", "0 rows are of fast.hdf5, 'episode 0 "),
        ("name,velocity\nx,1\n", "row 1 is .*expected rows with 'file' or 'episode'"),
        ("", "has no rows"),
        ("file,velocity,split\nfast.hdf5,2.5,test\n", "no task is in split 'train'"),
    ],
)
def test_a_wrong_file_of_tasks_is_refused_by_row_and_column(tmp_path, text, words, others):
    others.halfcheetah(tmp_path / "fast.hdf5", 1, [30])
    (tmp_path / "velocities.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        mapped(tmp_path, CHEETAH, tmp_path / "fast.hdf5", D4RL)


@pytest.mark.parametrize(
    ("policy", "steps"), [("truncate", [200, 3]), ("leave out", [3]), ("cut", [200, 99, 3])]
)
def test_what_becomes_of_longer_episodes_is_a_persons_to_say(tmp_path, policy, steps, others):
    others.halfcheetah(tmp_path / "a.hdf5", 0, [300, 4], terminal=303)
    others.halfcheetah(tmp_path / "b.hdf5", 1, [30])
    (tmp_path / "velocities.csv").write_text("file,velocity,split\na.hdf5,1,train\nb.hdf5,2,test\n")
    text = changed(D4RL, "longer_episodes: cut", f"longer_episodes: {policy}")
    found = mapped(tmp_path, CHEETAH, tmp_path / "*.hdf5", text)
    assert [episode.steps for episode in found.episodes("1")] == steps
    refused = changed(D4RL, "longer_episodes: cut", "")
    with pytest.raises(UserError, match=r"episode 0 .*: it has 299 steps.*'longer_episodes'"):
        mapped(tmp_path, CHEETAH, tmp_path / "*.hdf5", refused).episodes("1")


def test_a_robomimic_file_without_its_group_or_mask_is_refused(tmp_path, robomimic_file, others):
    demos = [others.demo(TARGETS_SEEN[0], 0)]
    path = robomimic_file(tmp_path / "low.hdf5", demos, masks={"all": []})
    for text, words in (
        (ROBOMIMIC, r"'options.mask' is 'good', the file has \['all'\]"),
        (changed(ROBOMIMIC, "mask: good", "mask: all"), "'data' has no demonstration"),
        (changed(ROBOMIMIC, "mask: good", "maks: all"), r"'options' are .*has \['mask'\]"),
        (changed(ROBOMIMIC, "{mask: good}", "{}"), "'tasks.held_out' is 1, the data have 1 tasks"),
    ):
        with pytest.raises(UserError, match=words):
            mapped(tmp_path, REACH, path, text)
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["obs"] = np.zeros(3)
    with pytest.raises(UserError, match=re.escape("no group 'data', only ['obs']")):
        mapped(tmp_path, REACH, tmp_path / "other.hdf5", ROBOMIMIC)


def test_another_format_is_not_called_a_damaged_hdf5_file(tmp_path):
    np.savez(tmp_path / "data.npz", obs=np.zeros((3, 2)))
    with pytest.raises(UserError, match=r"data\.npz: no HDF5 file, .*: convert it"):
        mapped(tmp_path, REACH, tmp_path / "data.npz", ROBOMIMIC)
