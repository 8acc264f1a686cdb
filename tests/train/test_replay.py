from __future__ import annotations

import numpy as np
import pytest

from train.replay import Replay, Trajectory, concatenate


def trajectory(start, length, terminated=False):
    """Every number says which trajectory and which step it comes from."""
    steps = np.arange(start, start + length + 1, dtype=np.float32)
    return Trajectory(
        observations=np.stack([steps, steps + 0.5], axis=1),
        actions=steps[:-1, None] + 0.25,
        rewards=steps[:-1] / 10,
        terminated=terminated,
    )


@pytest.fixture
def replay():
    """Task 0: steps 0–9, 100–104 and 200–219; task 1: none; task 2: 1000–1003, terminal."""
    replay = Replay(tasks=3, capacity=39, observation=2, action=1)
    replay.add(0, trajectory(0, 10))
    replay.add(2, trajectory(1000, 4, terminated=True))
    replay.add(0, trajectory(100, 5))
    replay.add(0, trajectory(200, 20))
    return replay


def starts(batch, task=0):
    return batch.observation[task, :, 0].numpy()


def test_transitions_come_from_their_own_task_and_belong_together(replay):
    batch = replay.transitions(np.random.default_rng(0), [2, 0], 200)
    assert set(starts(batch, 0)) == {1000, 1001, 1002, 1003}
    assert set(starts(batch, 1)) == {*range(10), *range(100, 105), *range(200, 220)}
    for task in range(2):
        first = starts(batch, task)
        np.testing.assert_array_equal(batch.observation[task, :, 1], first + 0.5)
        np.testing.assert_array_equal(batch.action[task, :, 0], first + 0.25)
        np.testing.assert_array_equal(batch.reward[task], first / np.float32(10))
        np.testing.assert_array_equal(batch.next_observation[task, :, 0], first + 1)


def test_only_a_terminal_last_step_is_done(replay):
    batch = replay.transitions(np.random.default_rng(0), [2, 0], 200)
    np.testing.assert_array_equal(batch.done[0], starts(batch, 0) == 1003)
    assert not batch.done[1].any()


@pytest.mark.parametrize("trajectories", [1, 2])
def test_a_context_has_at_most_so_many_whole_trajectories(replay, trajectories):
    seen = set()
    for seed in range(30):
        context = replay.context(np.random.default_rng(seed), [0], 60, trajectories)
        sources = set(starts(context) // 100)
        assert 1 <= len(sources) <= trajectories
        seen |= sources
    assert seen == {0, 1, 2}


def test_a_long_context_has_every_step_of_its_trajectory(replay):
    context = replay.context(np.random.default_rng(0), [2], 200, 1)
    assert set(starts(context)) == {1000, 1001, 1002, 1003}


def test_a_short_context_has_no_transition_twice(replay):
    for trajectories in (1, None):
        context = replay.context(np.random.default_rng(1), [2], 4, trajectories)
        assert sorted(starts(context)) == [1000, 1001, 1002, 1003]


def test_without_a_number_of_trajectories_a_context_is_of_all_data(replay):
    context = replay.context(np.random.default_rng(0), [0], 35, None)
    assert set(starts(context)) == {*range(10), *range(100, 105), *range(200, 220)}


def test_tasks_with_data_are_known(replay):
    assert replay.tasks_with_data == [0, 2]


def test_what_does_not_fit_is_refused_and_changes_nothing(replay):
    assert replay.size == replay.capacity == 39
    with pytest.raises(ValueError, match="holds 39 of 39 transitions; 1 more do not fit"):
        replay.add(1, trajectory(0, 1))
    assert (replay.size, replay.tasks_with_data) == (39, [0, 2])


def test_a_replay_restored_from_its_arrays_draws_the_same(replay):
    restored = Replay(tasks=3, capacity=100, observation=2, action=1)
    restored.restore({name: array.copy() for name, array in replay.arrays().items()})
    for one, other in zip(replay.arrays().values(), restored.arrays().values(), strict=True):
        np.testing.assert_array_equal(one, other)
    for trajectories in (None, 1, 3):
        draws = [
            held.context(np.random.default_rng(5), [0, 2], 9, trajectories)
            for held in (replay, restored)
        ]
        for one, other in zip(*draws, strict=True):
            np.testing.assert_array_equal(one, other)
    draws = [held.transitions(np.random.default_rng(5), [2, 0], 9) for held in (replay, restored)]
    for one, other in zip(*draws, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_empty_replay_survives_the_round_trip():
    empty, restored = (Replay(tasks=2, capacity=5, observation=2, action=1) for _ in range(2))
    restored.restore(empty.arrays())
    assert (restored.size, restored.tasks_with_data) == (0, [])


def test_batches_join_along_their_transitions(replay):
    rng = np.random.default_rng(0)
    parts = [replay.transitions(rng, [0, 2], n) for n in (3, 0, 2)]
    joined = concatenate(parts)
    assert joined.observation.shape == (2, 5, 2)
    np.testing.assert_array_equal(joined.reward[:, :3], parts[0].reward)
    np.testing.assert_array_equal(joined.reward[:, 3:], parts[2].reward)
