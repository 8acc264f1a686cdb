"""Scripted data goes everywhere, is labelled for its own task, and follows from its seed."""

import numpy as np
import pytest

from fieldtune.sim.family import bounds
from fieldtune.sim.manipulation.reach.family import ReachFamily
from fieldtune.sim.manipulation.reach.scripted import (
    STYLES,
    collect_scripted,
    plan,
    scripted_return,
)
from fieldtune.sim.rollout import random_return

FAMILY = ReachFamily()
TASKS = FAMILY.split().train[:5]


@pytest.mark.parametrize("style", STYLES)
def test_a_plan_stays_above_the_table_and_follows_from_its_generator(style: str) -> None:
    first = plan(FAMILY, TASKS[0], style, np.random.default_rng(3))
    again = plan(FAMILY, TASKS[0], style, np.random.default_rng(3))
    assert first.aims.shape == first.noise.shape == (FAMILY.horizon, 3)
    assert (first.aims[:, 2] > FAMILY.arm.table_height).all()
    np.testing.assert_array_equal(first.aims, again.aims)
    np.testing.assert_array_equal(first.noise, again.noise)
    assert first.seed == again.seed


@pytest.mark.slow
def test_collected_episodes_are_labelled_for_their_own_task() -> None:
    jobs = [(task, episode) for task in range(5) for episode in range(4)]
    episodes = collect_scripted(FAMILY, 0, TASKS, jobs)
    assert [episode.task_index for episode in episodes] == [task for task, _ in jobs]
    low, high = bounds(FAMILY.action_fields)
    for episode in episodes:
        assert episode.steps == FAMILY.horizon
        assert not episode.terminated
        assert ((episode.actions >= low) & (episode.actions <= high)).all()
        distance = np.linalg.norm(
            FAMILY.end_effector(episode.observations[1:]) - TASKS[episode.task_index], axis=1
        )
        np.testing.assert_allclose(episode.rewards, -distance)


@pytest.mark.slow
def test_an_episode_depends_neither_on_how_many_there_are_nor_on_threads() -> None:
    jobs = [(task, episode) for task in range(5) for episode in range(3)]
    many = dict(zip(jobs, collect_scripted(FAMILY, 7, TASKS, jobs, threads=2), strict=True))
    few = [(1, 2), (0, 0), (0, 1)]
    for job, episode in zip(few, collect_scripted(FAMILY, 7, TASKS, few), strict=True):
        np.testing.assert_array_equal(episode.observations, many[job].observations)
    (other,) = collect_scripted(FAMILY, 8, TASKS, [(0, 0)])
    assert not np.array_equal(other.actions, many[0, 0].actions)


@pytest.mark.slow
def test_a_tasks_data_covers_more_than_its_own_target() -> None:
    """Else the state alone explains the reward, and no encoder learns anything."""
    episodes = collect_scripted(FAMILY, 0, TASKS, [(0, n) for n in range(24)], threads=2)
    ends = np.array([FAMILY.end_effector(episode.observations[-1]) for episode in episodes])
    near = np.linalg.norm(ends - TASKS[0], axis=1) < 0.05
    assert 0.1 < near.mean() < 0.5
    assert (ends[~near].std(axis=0) > 0.05).all()


@pytest.mark.slow
def test_going_straight_is_far_better_than_chance() -> None:
    seeds = np.arange(2)
    straight = scripted_return(FAMILY, TASKS, seeds)
    assert straight > -2.5
    assert random_return(FAMILY, TASKS, seeds) < 3 * straight
