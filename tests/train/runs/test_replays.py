"""A run's data in training units: whole, apart by split, and looking as far ahead as the critic."""

from __future__ import annotations

import numpy as np
import pytest

from fieldtune.train.data.replay import Lookahead
from fieldtune.train.runs.replays import filled_replay, held_out_replay, offline_replay
from fieldtune.train.runs.untrained import untrained


def test_the_replay_of_a_run_looks_as_far_ahead_as_its_critic(make_run):
    run = make_run("algorithm.n_step=3", "algorithm.discount=0.5")
    assert offline_replay(run, untrained(run).agent).lookahead == Lookahead(3, 0.5)
    assert offline_replay(make_run(folder="other"), untrained(run).agent).lookahead is None


def test_held_out_data_are_kept_apart_from_what_is_trained_on(make_run):
    run = make_run()
    agent = untrained(run).agent
    trained, held = offline_replay(run, agent), held_out_replay(run, agent)
    assert (len(trained.tasks_with_data), len(held.tasks_with_data)) == (6, 2)
    seen = trained.arrays()["observation"]
    assert not any((row == seen).all(axis=1).any() for row in held.arrays()["observation"])


def test_a_replay_holds_each_tasks_episodes_in_training_units(make_run):
    run = make_run()
    agent = untrained(run).agent
    replay = filled_replay(agent, run.config.algorithm, run.dataset.train)
    assert replay.size == replay.capacity == 6 * 2 * 20
    held = replay.arrays()
    np.testing.assert_allclose(held["observation"].mean(axis=0), 0, atol=1e-4)
    assert held["reward"].std() == pytest.approx(1, abs=1e-4)
    assert held["trajectories"][:, 0].tolist() == [task for task in range(6) for _ in range(2)]
    assert not held["done"].any()
