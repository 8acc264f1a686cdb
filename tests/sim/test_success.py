"""Success is the state that an episode ends in, in families that say what it is."""

import numpy as np
import pytest

from fieldtune.sim.registry import family, names
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.sim.success import success_by_task, success_rate

PUSH = family("push")


def episode(rewards: list[float], task: int = 0) -> LabelledEpisode:
    steps = len(rewards)
    return LabelledEpisode(
        task, np.zeros((steps + 1, 1)), np.zeros((steps, 1)), np.array(rewards), terminated=False
    )


def test_an_episode_that_passed_through_its_goal_is_no_success() -> None:
    assert success_rate(PUSH, [episode([-1, 0, -1]), episode([-1, -1, 0])]) == 0.5


def test_a_family_that_does_not_say_has_no_success_whatever_its_rewards_happen_to_be() -> None:
    assert success_rate(family("cheetah-vel"), [episode([-1, 0])]) is None
    assert success_by_task(family("cheetah-vel"), [episode([0])], 1) is None
    assert success_rate(PUSH, []) is None


def test_an_arm_that_ends_within_five_centimetres_of_its_target_reached_it() -> None:
    reach, home = family("reach"), np.array(family("reach").arm.home_position)
    seen = np.zeros((3, sum(field.width for field in reach.observation_fields)))
    joints = 2 * reach.arm.joints
    seen[:, joints : joints + 3] = home + np.array([[0.049, 0, 0], [0, 0.051, 0], [0, 0, 0]])
    paid = reach.reward(seen, np.zeros((3, 3)), seen, home)
    assert [success_rate(reach, [episode([-1, one])]) for one in paid] == [1.0, 0.0, 1.0]
    assert success_rate(reach, [episode([0, paid[1]])]) == 0.0  # was there, and left


def test_success_by_task_is_each_tasks_own_share() -> None:
    data = [episode([0], 0), episode([-1], 0), episode([0], 2)]
    assert success_by_task(PUSH, data, 3) == [0.5, 0.0, 1.0]


@pytest.mark.parametrize("name", names())
def test_a_family_says_of_its_rewards_what_they_are(name: str) -> None:
    one = family(name)
    rng = np.random.default_rng(0)
    seen, done = (rng.normal(size=(50, sum(f.width for f in one.observation_fields))) for _ in "ab")
    action = rng.normal(size=(50, sum(f.width for f in one.action_fields)))
    signals = rng.normal(size=(50, sum(f.width for f in one.signal_fields)))
    rewards = one.reward(seen, action, done, one.split().train[0], signals)
    assert np.isin(rewards, (-1.0, 0.0)).all() == one.sparse_reward
