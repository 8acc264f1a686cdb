"""Success is the state that an episode ends in, for rewards of −1 and 0 only."""

import numpy as np

from sim.rollout import LabelledEpisode
from sim.success import success_by_task, success_rate


def episode(rewards: list[float], task: int = 0) -> LabelledEpisode:
    steps = len(rewards)
    return LabelledEpisode(
        task, np.zeros((steps + 1, 1)), np.zeros((steps, 1)), np.array(rewards), terminated=False
    )


def test_an_episode_that_passed_through_its_goal_is_no_success() -> None:
    assert success_rate([episode([-1, 0, -1]), episode([-1, -1, 0])]) == 0.5


def test_rewards_of_another_kind_have_no_success() -> None:
    assert success_rate([episode([-1, 0]), episode([-0.5, 0.0])]) is None
    assert success_by_task([episode([-0.5])], 1) is None
    assert success_rate([]) is None


def test_success_by_task_is_each_tasks_own_share() -> None:
    data = [episode([0], 0), episode([-1], 0), episode([0], 2)]
    assert success_by_task(data, 3) == [0.5, 0.0, 1.0]
