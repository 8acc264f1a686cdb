from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from fieldtune.settings import ConfigError
from fieldtune.sim.registry import UnknownFamily
from fieldtune.sim.registry import family as make_family
from fieldtune.train.data.dataset import DatasetError, write_dataset
from fieldtune.train.data.replay import Lookahead
from fieldtune.train.data.subsample import thinned
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.run import RunError, filled_replay, open_run


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
    ],
)
def test_nothing_is_created_for_a_run_that_cannot_be(
    make_config, tmp_path, overrides, error, message
):
    with pytest.raises(error, match=message):
        open_run(make_config(*overrides), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


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


def test_the_replay_of_a_run_looks_as_far_ahead_as_its_critic(make_run):
    run = make_run("algorithm.n_step=3", "algorithm.discount=0.5")
    assert run.offline_replay(run.algorithm().agent).lookahead == Lookahead(3, 0.5)
    assert make_run(folder="other").offline_replay(run.algorithm().agent).lookahead is None


def test_a_damaged_configuration_is_named(make_config, tmp_path):
    open_run(make_config(), tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("family: [")
    with pytest.raises(ConfigError, match=r"config.yaml: is not valid YAML"):
        open_run(make_config(), tmp_path / "run")


def test_a_learner_follows_from_its_seed(make_run, state, same):
    run = make_run()
    first, again, other = (run.learner(1e-3, seed) for seed in (3, 3, 4))
    assert same(state(first[0]), state(again[0]))
    assert first[1].random() == again[1].random()
    assert not same(state(first[0])["networks"], state(other[0])["networks"])


def test_held_out_data_are_kept_apart_from_what_is_trained_on(make_run):
    run = make_run()
    agent = run.algorithm().agent
    trained, held = run.offline_replay(agent), run.held_out_replay(agent)
    assert (len(trained.tasks_with_data), len(held.tasks_with_data)) == (6, 2)
    seen = trained.arrays()["observation"]
    assert not any((row == seen).all(axis=1).any() for row in held.arrays()["observation"])


def test_a_replay_holds_each_tasks_episodes_in_training_units(make_run):
    run = make_run()
    agent = run.algorithm().agent
    replay = filled_replay(agent, run.config.algorithm, run.dataset.train)
    assert replay.size == replay.capacity == 6 * 2 * 20
    held = replay.arrays()
    np.testing.assert_allclose(held["observation"].mean(axis=0), 0, atol=1e-4)
    assert held["reward"].std() == pytest.approx(1, abs=1e-4)
    assert held["trajectories"][:, 0].tolist() == [task for task in range(6) for _ in range(2)]
    assert not held["done"].any()
