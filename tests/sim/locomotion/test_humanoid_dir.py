"""humanoid-dir is gymnasium's humanoid with the reference's observation and reward."""

import mujoco
import numpy as np
from gymnasium.envs.mujoco.humanoid_v4 import HumanoidEnv as OldHumanoidEnv
from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv, mass_center

from fieldtune.sim.locomotion.humanoid_dir import HumanoidBody, HumanoidDirFamily

FAMILY = HumanoidDirFamily()


def test_random_steps_match_gymnasium_stepped_one_by_one(random_episodes) -> None:
    """The 376 numbers of its old environment, the terms of its new one's reward, and the fall."""
    episodes, tasks, seeds = random_episodes(FAMILY, 12)
    environment = HumanoidEnv()
    for episode, task, seed in zip(episodes, tasks, seeds, strict=True):
        mujoco.mj_resetData(environment.model, environment.data)
        environment.set_state(*HumanoidBody().start(int(seed), task))
        seen = OldHumanoidEnv._get_obs(_Showing(environment))
        np.testing.assert_array_equal(episode.observations[0], seen)
        for step, action in enumerate(episode.actions):
            before = mass_center(environment.model, environment.data)
            _, _, terminated, _, info = environment.step(action)
            moved = mass_center(environment.model, environment.data) - before
            seen = OldHumanoidEnv._get_obs(_Showing(environment))
            np.testing.assert_allclose(episode.observations[step + 1], seen, rtol=0, atol=1e-6)
            angle = task[0] / 180 * np.pi
            forward = 0.25 * moved @ [np.cos(angle), np.sin(angle)] / environment.model.opt.timestep
            expected = forward + info["reward_ctrl"] + info["reward_contact"] + 5.0
            np.testing.assert_allclose(episode.rewards[step], expected, rtol=0, atol=1e-6)
            assert terminated == (episode.terminated and step == episode.steps - 1)
    environment.close()
    assert sum(episode.steps for episode in episodes) > 200
    assert all(episode.terminated for episode in episodes)


class _Showing:
    """What gymnasium's old observation is made from, over the new environment's physics."""

    _exclude_current_positions_from_observation = True

    def __init__(self, environment: HumanoidEnv) -> None:
        self.data = environment.data


def test_a_hard_landing_costs_at_most_ten() -> None:
    before, after = np.zeros(376), np.zeros(376)
    after[-84:] = 1e6
    reward = FAMILY.reward(before, np.zeros(17), after, np.zeros(1), np.zeros(2))
    assert reward == 5.0 - 10.0


def test_split_is_fixed_and_covers_the_turn() -> None:
    split = FAMILY.split()
    assert (split.train.shape, split.test.shape) == ((100, 1), (30, 1))
    np.testing.assert_array_equal(split.train, HumanoidDirFamily().split().train)
    quarters = np.histogram(split.train, bins=4, range=(0, 360))[0]
    assert quarters.min() >= 15
    assert not np.isin(split.test, split.train).any()
