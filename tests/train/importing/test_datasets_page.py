"""docs/datasets.md, *your own data*: every command on it, on tiny files of each format."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from typer.testing import CliRunner

from fieldtune.sim.registry import family as make_family
from fieldtune.train.cli.app import app
from fieldtune.train.data.dataset import read_dataset

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text()
FENCED = re.findall(r"^```([^\n]*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILES = [(head.split()[1], text) for head, text in FENCED if len(head.split()) == 2]
COMMANDS = [
    shlex.split(line)[1:]
    for head, text in FENCED
    if not head
    for line in text.replace("\\\n", " ").splitlines()
    if line.startswith(("fieldtune import", "fieldtune export-dataset"))
]
CHEETAH = make_family("cheetah-vel")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def walk(task):
    """s, a, r of a family's own flat kind."""
    rng = np.random.default_rng(int(1000 * task))
    s, a = rng.normal(size=(10, 20)), rng.uniform(-1, 1, (9, 6))
    return s, a, CHEETAH.reward(s[:-1], a, s[1:], np.array([task]))


def flat_minari(folder, tasks, names):
    (folder / "data").mkdir(parents=True)
    seen, done = (gymnasium.spaces.Box(-np.inf, np.inf, (n,), np.float64) for n in (20, 6))
    storage = MinariStorage.new(folder / "data", observation_space=seen, action_space=done)
    storage.update_metadata({"dataset_id": "my/own-v0", "minari_version": minari.__version__})
    end = np.arange(9) == 8
    storage.update_episodes(
        EpisodeBuffer(None, None, None, s, a, list(r), end, np.zeros_like(end))
        for s, a, r in map(walk, tasks)
    )
    storage.update_episode_metadata([{"velocity_name": name} for name in names])


def flat_hdf5(path: Path, task: float) -> None:
    s, a, r = walk(task)
    with h5py.File(path, "w") as file:
        file["obs"], file["next_obs"], file["actions"], file["rewards"] = s[:-1], s[1:], a, r
        file["terminals"] = np.zeros(len(r))


@pytest.fixture
def files(tmp_path, monkeypatch, others, lerobot_dataset, robomimic_file, minari_dicts):
    """The page's own files, and data where its commands look for them."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES:
        Path(name).write_text(text)
    told = ["go left", "go ahead", "go right"]
    camera = {"observation.images.top": {"dtype": "video", "shape": [3, 96, 96]}}
    episodes = [others.reaching(seed) | {"task": task} for seed, task in enumerate(told)]
    lerobot_dataset(Path("logs/reach"), episodes, **camera)
    Path("demos").mkdir()
    targets = np.array([[0.45, 0.36, 0.11], [0.45, -0.04, 0.11], [0.65, 0.16, 0.11]])
    demos = [others.demo(target, seed) for seed, target in enumerate([*targets, targets[0]])]
    masks = {"good": ["demo_0", "demo_1", "demo_2"]}
    robomimic_file(Path("demos/low_dim.hdf5"), demos, masks=masks)
    Path("d4rl").mkdir()
    for seed, name in enumerate(("slow", "medium", "fast")):
        others.halfcheetah(Path(f"d4rl/{name}.hdf5"), seed, [230, 20])
    ants = [others.ant(direction, seed) for seed, direction in enumerate([0.5, 1.5, 2.5])]
    minari_dicts(tmp_path / "datasets/ants", ants)
    tasks = {"0": 0.075, "1": 0.15, "2": 0.225}
    Path("cheetah_vel").mkdir()
    for name, task in tasks.items():
        flat_hdf5(Path(f"cheetah_vel/buffers_cheetah_vel_train_{name}_sub_task_0.hdf5"), task)
        flat_minari(tmp_path / f"datasets/cheetah-{name}", [task], [name])
    Path("new").mkdir()
    new = {"train": {"3": [0.3], "4": [0.4]}, "test": {"5": [0.35]}}
    Path("new.json").write_text(json.dumps(new))
    for name, (task,) in (new["train"] | new["test"]).items():
        flat_hdf5(Path(f"new/{name}.hdf5"), task)
    flat_minari(tmp_path / "datasets/all", tasks.values(), tasks)
    return tmp_path


@pytest.mark.usefixtures("files")
def test_every_command_on_the_page_does_what_it_says():
    assert len(COMMANDS) >= 11
    for command in COMMANDS:
        result = run(*command)
        assert result.exit_code == 0, f"{command}: {result.stderr}"
        out = command[command.index("--out") + 1] if "--out" in command else None
        assert (out is None) == ("--dry-run" in command)
        if out is None:  # every field beside the family's bounds, and nothing is there
            assert "joint_position              rad" in result.stdout
            assert "-4.712 to 4.712, simulated" in result.stdout
            assert "'observation.images.top': video, which is never read" in result.stdout
            assert "nothing was written" in result.stdout
            assert not Path("data").exists()
    ant = make_family("ant-dir")
    again, before = (read_dataset(Path(f"data/{name}"), ant) for name in ("again", "ants"))
    assert again.digest == before.digest
    assert "policy: lerobot data reach" in Path("data/arm/README.md").read_text()


@pytest.mark.usefixtures("files")
def test_a_dry_run_shows_degrees_beside_bounds_in_radians_and_says_that_they_are_refused():
    text = Path("lerobot.yaml").read_text()
    Path("lerobot.yaml").write_text(text.replace('"0:7", unit: deg}', '"0:7", scale: 57.3}', 1))
    result = run(*COMMANDS[0])
    assert result.exit_code == 1
    (line,) = [one for one in result.stdout.splitlines() if " joint_position " in one]
    assert line.endswith(" <- outside")
    assert re.search(r"error: .*episode \d: observation 'joint_position'\[", result.stderr)
    assert not Path("data").exists()


def test_a_runs_file_may_say_family_robot_and_where_the_dataset_goes(files):
    config = {
        "family": "reach",
        "data": {"path": "data/mine"},
        "algorithm": {"name": "smac"},
        "robot": {"name": "arm", "family": "reach", "model": "panda", "driver": {"name": "sim"}},
    }
    Path("run.yaml").write_text(json.dumps(config))
    Path("targets.json").write_text(
        Path("targets.json").read_text().replace("0.3, 0.2", "0.1, 0.2")
    )
    data = ["--mapping", "lerobot.yaml", "--from", "logs/reach", "--tasks", "targets.json"]
    result = run("import", "--config", "run.yaml", *data, "--trust-units")
    assert result.exit_code == 0, result.stderr
    read_dataset(files / "data" / "mine", make_family("reach", robot="panda"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "x"], "--family and --config: neither given"),
        (["--family", "reach", "--mapping", "lerobot.yaml", "--from", "x"], "--out is missing"),
        (["--family", "reach", "--out", "x", "--from", "x"], "--from is for --mapping"),
        (["--family", "reach", "--out", "x", "--mapping", "lerobot.yaml"], "needs --from"),
        (
            ["--family", "reach", "--out", "x", "--mapping", "m", "--from", "x", "--stride", "2"],
            "--stride is not for --mapping",
        ),
    ],
)
def test_options_of_a_mapping_that_cannot_be_are_explained(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = run("import", *arguments)
    assert (result.exit_code, words in result.stderr) == (1, True), result.stderr
    assert list(tmp_path.iterdir()) == []
