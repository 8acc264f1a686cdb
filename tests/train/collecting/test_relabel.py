from __future__ import annotations

import numpy as np
import pytest

from fieldtune.sim.registry import family as make_family
from fieldtune.train.collecting.relabel import CannotRelabel, check_relabelled, share_episodes


@pytest.fixture
def shared(short_family, random_episodes):
    train, _ = random_episodes
    tasks = short_family.split().train
    return share_episodes(train, short_family, tasks, 1, np.random.default_rng(0))


def test_every_task_has_as_many_episodes_as_before(shared, random_episodes):
    def indices(episodes):
        return [episode.task_index for episode in episodes]

    assert indices(shared) == indices(random_episodes[0])


def test_a_shared_episode_was_another_tasks_and_carries_this_ones_rewards(
    shared, short_family, random_episodes
):
    tasks = short_family.split().train
    acted_for = {e.actions.tobytes(): e.task_index for e in random_episodes[0]}
    foreign = 0
    for episode in shared:
        expected = short_family.reward(
            episode.observations[:-1],
            episode.actions,
            episode.observations[1:],
            tasks[episode.task_index],
        )
        np.testing.assert_array_equal(episode.rewards, expected)
        foreign += acted_for[episode.actions.tobytes()] != episode.task_index
    assert foreign == len(tasks)


def test_nothing_changes_where_nothing_is_shared(short_family, random_episodes):
    train, _ = random_episodes
    tasks = short_family.split().train
    kept = share_episodes(train, short_family, tasks, 0, np.random.default_rng(0))
    assert all(one is other for one, other in zip(kept, train, strict=True))


def test_who_gets_whose_episodes_follows_from_the_seed(short_family, random_episodes):
    train, _ = random_episodes
    tasks = short_family.split().train

    def rewards(seed):
        found = share_episodes(train, short_family, tasks, 1, np.random.default_rng(seed))
        return np.stack([episode.rewards for episode in found])

    np.testing.assert_array_equal(rewards(1), rewards(1))
    assert not np.array_equal(rewards(1), rewards(2))


def test_dynamics_cannot_be_relabelled_and_a_task_keeps_an_episode_of_its_own():
    with pytest.raises(CannotRelabel, match=r"data\.agent\.relabelled is 1.*dynamics.*set 0"):
        check_relabelled(make_family("hopper-params"), 6, 1)
    with pytest.raises(CannotRelabel, match=r"is 6 of data\.episodes_per_task 6"):
        check_relabelled(make_family("cheetah-vel"), 6, 6)
    check_relabelled(make_family("hopper-params"), 6, 0)
