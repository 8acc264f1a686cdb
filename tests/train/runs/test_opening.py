"""A run opens again as what it was, or is refused before anything is created."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldtune.settings import ConfigError
from fieldtune.sim.registry import UnknownFamily
from fieldtune.sim.registry import family as make_family
from fieldtune.train.data.dataset import DatasetError, write_dataset
from fieldtune.train.data.subsample import thinned
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.run import RunError


def test_a_new_run_keeps_its_resolved_configuration(make_config, tmp_path):
    config = make_config("seed=4", "offline.updates=9")
    run = open_run(config, tmp_path / "run")
    assert load_config(tmp_path / "run" / "config.yaml") == config
    assert run.offline_checkpoint.parent.is_dir()
    assert (run.family.name, len(run.dataset.train)) == ("cheetah-vel", 100)


def test_the_same_configuration_opens_the_run_again(make_config, tmp_path):
    open_run(make_config(), tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    open_run(make_config(), tmp_path / "run")
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def test_another_configuration_is_refused_by_the_key_that_differs(make_config, tmp_path):
    open_run(make_config(), tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(RunError, match=r"another algorithm.discount \(0.99, now 0.9\)"):
        open_run(make_config("algorithm.discount=0.9"), tmp_path / "run")
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def test_other_data_in_the_place_of_a_runs_own_are_refused(make_config, tmp_path):
    """Held-out tasks could be trained on, and a bundle say what other data were like."""
    made = open_run(make_config(), tmp_path / "run").dataset
    shorter = [[replace(one, rewards=one.rewards + 1.0) for one in task] for task in made.train]
    family = make_family("cheetah-vel")
    data = [[replace(one, task_index=i) for one in task] for i, task in enumerate(shorter)]
    write_dataset(
        tmp_path / "other",
        family,
        train=[one for task in data for one in task],
        test=[one for task in made.test for one in task],
        how={},
    )
    config = make_config()
    shutil.copytree(config.data.path, tmp_path / "kept")
    config = make_config(f"data.path={tmp_path / 'kept'}")
    open_run(config, tmp_path / "second")
    shutil.rmtree(tmp_path / "kept")
    shutil.copytree(tmp_path / "other", tmp_path / "kept")
    with pytest.raises(RunError, match=r"was made from other data than .*kept holds now"):
        open_run(config, tmp_path / "second")


def test_a_folder_that_is_moved_with_its_data_goes_on(make_config, tmp_path, monkeypatch):
    """As of a demo: its data lie in the run's own folder."""
    shutil.copytree(make_config().data.path, tmp_path / "run" / "data")
    first = open_run(make_config(f"data.path={tmp_path / 'run' / 'data'}"), tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    known = load_config(tmp_path / "moved" / "config.yaml")
    assert known.data.path == str(tmp_path / "moved" / "data")
    assert open_run(known, tmp_path / "moved").dataset.digest == first.dataset.digest
    open_run(make_config(f"data.path={tmp_path / 'moved' / 'data'}"), tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    open_run(make_config("data.path=moved/data"), Path("moved"))
    assert load_config(tmp_path / "moved" / "config.yaml") == known


def test_the_same_data_in_another_place_are_taken_and_remembered(make_config, tmp_path):
    shutil.copytree(make_config().data.path, tmp_path / "one")
    open_run(make_config(f"data.path={tmp_path / 'one'}"), tmp_path / "run")
    (tmp_path / "one").rename(tmp_path / "two")
    open_run(make_config(f"data.path={tmp_path / 'two'}", "robot.seed=9"), tmp_path / "run")
    known = load_config(tmp_path / "run" / "config.yaml")
    assert known == make_config(f"data.path={tmp_path / 'two'}")  # the robot's stays as it was

    (tmp_path / "run" / "data.sha256").unlink()  # a run from before that was kept
    (tmp_path / "two").rename(tmp_path / "three")
    with pytest.raises(RunError, match=r"another data\.path"):
        open_run(make_config(f"data.path={tmp_path / 'three'}"), tmp_path / "run")


def test_the_robots_section_may_change_from_one_opening_to_the_next(make_config, tmp_path):
    open_run(make_config(), tmp_path / "run")
    run = open_run(make_config("robot.bridge='tcp://127.0.0.1:5000'"), tmp_path / "run")
    assert run.config.robot.bridge == "tcp://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["data.path=/nowhere"], DatasetError, "/nowhere: no dataset here"),
        (["family=reach", "robot.family=reach"], DatasetError, "family is 'cheetah-vel'"),
        (["family=reech", "robot.family=reech"], UnknownFamily, "reech"),
        (["data.relabelled=999"], DatasetError, "data.relabelled is 999"),
        (
            ["family=ant-dir", "robot.family=ant-dir", "algorithm.clamp_q=true"],
            RunError,
            "algorithm.clamp_q is true, but 'ant-dir' declares no bounds",
        ),
    ],
)
def test_nothing_is_created_for_a_run_that_cannot_be(
    make_config, tmp_path, overrides, error, message
):
    with pytest.raises(error, match=message):
        open_run(make_config(*overrides), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_learns_from_what_its_tasks_were_given_too(make_config, tmp_path):
    opened = {n: open_run(make_config(f"data.relabelled={n}"), tmp_path / str(n)) for n in (0, 3)}
    for split in ("train", "test"):
        plain, more = (getattr(run.dataset, split) for run in opened.values())
        assert [len(e) for e in more] == [len(e) + 3 for e in plain]
    with pytest.raises(RunError, match=r"another data\.relabelled \(3, now 2\)"):
        open_run(make_config("data.relabelled=2"), tmp_path / "3")


def test_no_step_is_looked_ahead_to_that_was_left_out(
    make_config, random_episodes, short_family, tmp_path
):
    data = tmp_path / "thinned"
    train, test = (
        [thinned(episode, np.arange(0, episode.steps, 2)) for episode in part]
        for part in random_episodes
    )
    write_dataset(data, short_family, train=train, test=test, how={})
    overrides = f"data.path={data}", "algorithm.n_step=3"
    with pytest.raises(RunError, match=r"algorithm.n_step is 3, but .*steps left out.*set 1"):
        open_run(make_config(*overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert open_run(make_config(overrides[0]), tmp_path / "run").dataset.thinned


def test_a_damaged_configuration_is_named(make_config, tmp_path):
    open_run(make_config(), tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("family: [")
    with pytest.raises(ConfigError, match=r"config.yaml: is not valid YAML"):
        open_run(make_config(), tmp_path / "run")
