"""Rollouts store what happened, in order, with the rewards of each episode's own task."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldtune.sim.family import Array
from fieldtune.sim.locomotion.cheetah_vel import CheetahVelFamily
from fieldtune.sim.rollout import mean_return, pairs, random_return, rollout

FAMILY = CheetahVelFamily()


def test_an_episode_holds_each_step_and_its_reward() -> None:
    tasks, seeds = FAMILY.sample_tasks(0, 2), np.array([5, 6])
    simulator = FAMILY.simulator(2)
    episodes = rollout(simulator, FAMILY, lambda s: np.tanh(s[:, :6]), seeds, tasks, [30, 31])
    simulator.close()
    for task, episode in zip(tasks, episodes, strict=True):
        assert episode.steps == FAMILY.horizon
        assert not episode.terminated
        assert episode.observations.shape == (FAMILY.horizon + 1, 20)
        np.testing.assert_array_equal(episode.actions, np.tanh(episode.observations[:-1, :6]))
        np.testing.assert_allclose(
            episode.rewards,
            FAMILY.reward(
                episode.observations[:-1], episode.actions, episode.observations[1:], task
            ),
        )
    assert [episode.task_index for episode in episodes] == [30, 31]


def test_who_heeds_is_told_each_rewarded_step_before_the_next_action() -> None:
    tasks, seeds = FAMILY.sample_tasks(0, 2), np.array([5, 6])
    simulator = FAMILY.simulator(2)
    told: list[tuple[Array, ...]] = []
    asked: list[int] = []

    def act(s: Array) -> Array:
        asked.append(len(told))
        return np.tanh(s[:, :6])

    episodes = rollout(simulator, FAMILY, act, seeds, tasks, heed=lambda *step: told.append(step))
    simulator.close()
    assert asked == list(range(FAMILY.horizon))
    for copy, episode in enumerate(episodes):
        for part, stored in enumerate(
            (episode.observations[:-1], episode.actions, episode.rewards, episode.observations[1:])
        ):
            np.testing.assert_allclose([step[part][copy] for step in told], stored)


def rest(observations: Array) -> Array:
    return np.zeros((len(observations), 6))


@dataclass
class Falls:
    """A simulator whose copy `i` reaches a terminal state at step `i + 1`."""

    n_envs: int
    steps: int = 0

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:  # noqa: ARG002
        return np.zeros((self.n_envs, 20))

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:  # noqa: ARG002
        self.steps += 1
        ended = np.arange(self.n_envs) < self.steps
        return np.full((self.n_envs, 20), float(self.steps)), ended

    def close(self) -> None: ...


def test_an_episode_ends_where_its_copy_does() -> None:
    episodes = rollout(Falls(3), FAMILY, rest, np.arange(3), FAMILY.sample_tasks(0, 3))
    assert [episode.steps for episode in episodes] == [1, 2, 3]
    assert all(episode.terminated for episode in episodes)
    assert [len(episode.observations) for episode in episodes] == [2, 3, 4]


def test_unequal_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="3 copies, 2 seeds, 3 tasks"):
        rollout(Falls(3), FAMILY, rest, np.arange(2), FAMILY.sample_tasks(0, 3))


def test_pairs_every_task_with_every_seed() -> None:
    tasks, seeds = pairs(np.array([[1.0], [2.0]]), np.array([7, 8, 9]))
    assert tasks[:, 0].tolist() == [1, 1, 1, 2, 2, 2]
    assert seeds.tolist() == [7, 8, 9, 7, 8, 9]


def test_random_return_repeats_from_its_seeds() -> None:
    tasks = FAMILY.sample_tasks(0, 2)
    first = random_return(FAMILY, tasks, np.arange(2))
    assert first == random_return(FAMILY, tasks, np.arange(2), threads=2)
    assert -5 * FAMILY.horizon < first < 0


def test_mean_return_averages_over_episodes() -> None:
    simulator, tasks = FAMILY.simulator(2), FAMILY.sample_tasks(0, 2)
    episodes = rollout(simulator, FAMILY, rest, np.arange(2), tasks)
    simulator.close()
    total = sum(float(episode.rewards.sum()) for episode in episodes)
    assert mean_return(episodes) == pytest.approx(total / 2)
