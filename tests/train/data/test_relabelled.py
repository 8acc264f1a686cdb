"""Each task is given other tasks' episodes with its own rewards, half of them its successes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fieldtune.sim.family import width
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import Dataset, DatasetError
from fieldtune.train.data.relabelled import with_relabelled

PUSH = make_family("push")
TASKS = np.array([[0.70, 0.0], [0.56, 0.14], [0.42, 0.0], [0.56, -0.14]])
STEPS = 3


def ending_at(place, number, index):
    """An episode whose block ends at `place`, told from others by its actions."""
    observations = np.zeros((STEPS + 1, width(PUSH.observation_fields)))
    PUSH.part(observations, "block_position")[-1, :2] = place
    actions = np.full((STEPS, 4), float(number))
    rewards = PUSH.reward(observations[:-1], actions, observations[1:], TASKS[index])
    return LabelledEpisode(index, observations, actions, rewards, terminated=False)


@pytest.fixture
def dataset():
    """Ten episodes of each task; of the first, two end at each of the other tasks' goals, and all
    others end at the first's own. Held-out tasks are the first two again, with their episodes."""
    split = []
    for index in range(4):
        ends = [TASKS[0]] * 10
        if index == 0:
            ends = [TASKS[0]] * 4 + [TASKS[other] for other in (1, 1, 2, 2, 3, 3)]
        split.append([ending_at(end, 10 * index + n, index) for n, end in enumerate(ends)])
    return Dataset("x", TASKS, TASKS[:2], split, split[:2])


def numbers(episodes):
    return [int(episode.actions[0, 0]) for episode in episodes]


def test_every_task_gets_other_tasks_episodes_with_its_own_rewards(dataset):
    found = with_relabelled(dataset, PUSH, 6)
    for split, before, tasks in (("train", dataset.train, TASKS), ("test", dataset.test, TASKS)):
        for index, episodes in enumerate(getattr(found, split)):
            assert episodes[:10] == before[index]
            added = episodes[10:]
            assert len(set(numbers(added))) == 6
            for episode in added:
                number = int(episode.actions[0, 0])
                assert number // 10 != index
                assert episode.task_index == index
                origin = before[number // 10][number % 10]
                assert episode.observations is origin.observations  # no memory of its own
                seen = episode.observations
                expected = PUSH.reward(seen[:-1], episode.actions, seen[1:], tasks[index])
                np.testing.assert_array_equal(episode.rewards, expected)


def test_half_of_them_succeed_where_there_are_such(dataset):
    found = with_relabelled(dataset, PUSH, 6)
    ended = [sum(e.rewards[-1] == 0 for e in episodes[10:]) for episodes in found.train]
    assert ended == [6, 2, 2, 2]  # all others' end at the first's goal; at the rest's, two do
    plain = with_relabelled(dataset, PUSH, 1)  # of one, none has to
    assert [len(episodes) for episodes in plain.train] == [11] * 4


def test_data_that_hold_relabelled_episodes_already_give_none_twice(dataset):
    taken = [replace(dataset.train[1][n], task_index=0) for n in range(4)]  # by `collect`
    train = [dataset.train[0] + taken, *dataset.train[1:]]
    dataset = replace(dataset, train=train, test=[], test_tasks=TASKS[:0])
    for index, episodes in enumerate(with_relabelled(dataset, PUSH, 20).train):
        assert len(set(numbers(episodes))) == len(episodes), index


def test_who_gets_which_follows_from_the_data_alone(dataset):
    one, again = (with_relabelled(dataset, PUSH, 6) for _ in range(2))
    assert one.digest == again.digest != dataset.digest
    assert with_relabelled(dataset, PUSH, 0) is dataset


def test_what_cannot_be_shared_is_refused(dataset):
    with pytest.raises(DatasetError, match=r"relabelled is 1.*'hopper-params' differ.*set 0"):
        with_relabelled(dataset, make_family("hopper-params"), 1)
    with pytest.raises(
        DatasetError, match=r"is 31.*all training tasks but task 0 have 30 .*set 30 or"
    ):
        with_relabelled(replace(dataset, test=[], test_tasks=TASKS[:0]), PUSH, 31)
    with pytest.raises(DatasetError, match=r"ant-dir: the reward needs signals.*or set 0"):
        with_relabelled(dataset, make_family("ant-dir"), 1)
