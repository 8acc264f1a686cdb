from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.train.data.replay import (
    Lookahead,
    Replay,
    Trajectory,
    concatenate,
    discounted_returns,
    stack_tasks,
)


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


@pytest.mark.parametrize(
    ("episodes", "there"),
    [(1, set(range(200, 220))), (2, {*range(100, 105), *range(200, 220)})],
)
def test_the_latest_episodes_alone_are_drawn_from_and_the_whole_stays(replay, episodes, there):
    latest, rng = replay.latest(episodes), np.random.default_rng(0)
    assert set(starts(latest.transitions(rng, [0], 200))) == there
    assert set(starts(latest.context(rng, [0], 200, trajectories=5))) <= there
    assert latest.tasks_with_data == replay.tasks_with_data
    assert len(set(starts(replay.transitions(rng, [0], 400)))) == 35


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


FAR = Lookahead(steps=4, discount=0.5)


def looking_ahead(*trajectories):
    replay = Replay(1, 200, 2, 1, FAR)
    for one in trajectories:
        replay.add(0, one)
    return replay


def test_rows_look_as_far_ahead_as_asked_and_never_past_their_episode():
    """Against a loop over the episode that each row is from."""
    ended, cut = trajectory(0, 6, terminated=True), trajectory(100, 3)
    replay = looking_ahead(ended, cut)
    batch = replay.transitions(np.random.default_rng(0), [0], 300)
    assert batch.ahead is not None
    seen = set()
    for row in range(300):
        first = int(batch.observation[0, row, 0])
        episode, at = (cut, first - 100) if first >= 100 else (ended, first)
        rewards = episode.rewards[at : at + FAR.steps]
        paid = sum(FAR.discount**j * reward for j, reward in enumerate(rewards))
        assert batch.ahead.reward[0, row] == pytest.approx(paid, rel=1e-6)
        assert batch.ahead.discount[0, row] == FAR.discount ** len(rewards)
        assert batch.ahead.observation[0, row, 0] == first + len(rewards)
        assert batch.ahead.done[0, row] == (first + len(rewards) == 6)
        seen.add(first)
    assert seen == {*range(6), *range(100, 103)}


def test_joined_batches_keep_what_is_ahead():
    replay, rng = looking_ahead(trajectory(0, 6)), np.random.default_rng(0)
    parts = [replay.transitions(rng, [0], n) for n in (3, 2)]
    joined = concatenate(parts)
    assert joined.ahead is not None
    for found, *columns in zip(joined.ahead, *(part.ahead for part in parts), strict=True):
        np.testing.assert_array_equal(found, np.concatenate(columns, axis=1))


def test_a_restored_replay_looks_ahead_as_before():
    replay, again = looking_ahead(trajectory(0, 6, terminated=True)), looking_ahead()
    again.restore(replay.arrays())
    one, other = (held.transitions(np.random.default_rng(1), [0], 50) for held in (replay, again))
    for found, expected in zip(other.ahead, one.ahead, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_thinned_episode_cannot_be_looked_ahead_in():
    whole = trajectory(0, 6)
    kept = replace(
        whole,
        observations=whole.observations[[0, 2, 4, 5]],
        following=whole.observations[[1, 3, 5]],
        actions=whole.actions[::2],
        rewards=whole.rewards[::2],
    )
    replay = looking_ahead()
    with pytest.raises(ValueError, match="thinned out"):
        replay.add(0, kept)
    assert replay.size == 0


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30),
    st.floats(0.0, 0.999),
)
def test_returns_are_the_discounted_sums_to_the_end(rewards, discount):
    found = discounted_returns(np.float32(rewards), discount)
    for step, value in enumerate(found):
        later = [discount**j * reward for j, reward in enumerate(rewards[step:])]
        assert value == pytest.approx(sum(later), rel=1e-5, abs=1e-2)


def test_transitions_and_contexts_look_to_their_ends_where_returns_are_asked_for():
    replay = Replay(tasks=2, capacity=9, observation=2, action=1, return_discount=0.5)
    replay.add(1, trajectory(10, 3, terminated=True))
    replay.add(0, trajectory(100, 2))
    replay.add(1, trajectory(20, 4))
    ends = {
        10: (1.0 + 0.55 + 0.3, 13, 1, 0.125),
        11: (1.1 + 0.6, 13, 1, 0.25),
        12: (1.2, 13, 1, 0.5),
        20: (2.0 + 1.05 + 0.55 + 2.3 / 8, 24, 0, 0.0625),
        21: (2.1 + 1.1 + 2.3 / 4, 24, 0, 0.125),
        22: (2.2 + 1.15, 24, 0, 0.25),
        23: (2.3, 24, 0, 0.5),
    }
    rng = np.random.default_rng(0)
    for batch in (replay.transitions(rng, [1], 50), replay.context(rng, [1], 7, None)):
        steps = starts(batch).astype(int).tolist()
        assert set(steps) == ends.keys()
        total, reached, done, left = (column[0].numpy() for column in batch.to_end)
        found = np.stack([total, reached[:, 0], done, left], axis=1)
        np.testing.assert_allclose(found, [ends[step] for step in steps], rtol=1e-6)
    joined = concatenate([replay.transitions(rng, [0, 1], n) for n in (2, 3)])
    assert joined.to_end.observation.shape == (2, 5, 2)
    halved = joined.each(lambda column: column[:1])
    assert halved.to_end.reward.shape == (1, 5)
    restored = Replay(tasks=2, capacity=9, observation=2, action=1, return_discount=0.5)
    restored.restore(replay.arrays())
    np.testing.assert_array_equal(restored.arrays()["return"], replay.arrays()["return"])


def test_returns_of_an_episode_that_was_thinned_out_are_refused():
    replay = Replay(tasks=1, capacity=9, observation=2, action=1, return_discount=0.5)
    whole = trajectory(0, 4)
    thinned = Trajectory(
        whole.observations, whole.actions, whole.rewards, False, whole.next_observations + 1
    )
    with pytest.raises(ValueError, match="thinned out has no steps ahead"):
        replay.add(0, thinned)
    assert replay.size == 0


def test_episodes_are_whole_and_in_order_and_what_fills_them_up_does_not_count(replay):
    lengths = set()
    for seed in range(30):
        batch = replay.episodes(np.random.default_rng(seed), [0, 2, 0], 2)
        assert batch.counted.shape == batch.reward.shape
        for task in range(3):
            seen = starts(batch, task)[batch.counted[task].numpy() == 1]
            first = seen[np.flatnonzero(np.diff(seen, prepend=-1e9) != 1)]
            assert set(first) <= {0, 100, 200, 1000}
            whole = {0: 10, 100: 5, 200: 20, 1000: 4}
            expected = [np.arange(n, n + whole[n]) for n in first.astype(int)]
            np.testing.assert_array_equal(seen, np.concatenate(expected))
            assert len(first) == 2
            lengths.add(len(seen))
    assert lengths == {8, 15, 25, 30}  # task 2 has one alone, which is drawn twice
    assert batch.counted[1].sum() == 8


def test_tasks_are_stacked_and_what_fills_one_up_stays_uncounted(replay):
    rng = np.random.default_rng(0)
    filled = replay.episodes(rng, [0, 2], 1)
    whole = replay.transitions(rng, [0], filled.reward.shape[1])
    stacked = stack_tasks([whole, filled])
    np.testing.assert_array_equal(stacked.belonging[0], np.ones(filled.reward.shape[1]))
    np.testing.assert_array_equal(stacked.belonging[1:], filled.counted)
    np.testing.assert_array_equal(starts(stacked, 0), starts(whole))
    np.testing.assert_array_equal(starts(stacked, 2), starts(filled, 1))
    assert stack_tasks([whole, whole]).counted is None
