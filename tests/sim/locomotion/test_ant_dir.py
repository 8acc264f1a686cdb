"""ant-dir is gymnasium's ant with the reference's observation, tasks and reward."""

import json
from pathlib import Path

import mujoco
import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv

from fieldtune.sim.locomotion.ant_dir import AntBody, AntDirFamily

FAMILY = AntDirFamily()


def test_random_steps_match_gymnasium_stepped_one_by_one(random_episodes) -> None:
    """Observations, rewards from gymnasium's own terms, and the step at which an ant falls."""
    runs = []
    for strength in (0.1, 1.2):
        runs += zip(*random_episodes(FAMILY, 4, strength), strict=True)
    environment = AntEnv(include_cfrc_ext_in_observation=False)
    for episode, task, seed in runs:
        mujoco.mj_resetData(environment.model, environment.data)
        environment.set_state(*AntBody().start(int(seed), task))
        np.testing.assert_array_equal(episode.observations[0], environment._get_obs())
        for step, action in enumerate(episode.actions):
            seen, _, terminated, _, info = environment.step(action)
            np.testing.assert_allclose(episode.observations[step + 1], seen, rtol=0, atol=1e-6)
            angle = task[0] / 180 * np.pi
            forward = info["x_velocity"] * np.cos(angle) + info["y_velocity"] * np.sin(angle)
            expected = forward + info["reward_ctrl"] + info["reward_contact"] + 1.0
            np.testing.assert_allclose(episode.rewards[step], expected, rtol=0, atol=1e-6)
            assert terminated == (episode.terminated and step == episode.steps - 1)
    environment.close()
    assert sum(episode.steps for episode, _, _ in runs) > 400
    assert {episode.terminated for episode, _, _ in runs} == {True, False}


def test_contacts_cost_something(random_episodes) -> None:
    """They do in gymnasium from version 5 on; under mujoco-py 2 they read as 0."""
    episodes, _, _ = random_episodes(FAMILY, 10)
    efforts = np.concatenate([episode.signals[:, 2] for episode in episodes])
    assert 0.02 < (efforts > 0).mean() < 1.0
    assert (efforts >= 0).all()
    assert (efforts <= 84).all()


def test_split_is_the_references_own() -> None:
    path = Path(__file__).parents[3] / "sim" / "tasks" / "ant-dir-tasks.json"
    listed = json.loads(path.read_text())
    split = FAMILY.split()
    assert (split.train.shape, split.test.shape) == ((100, 1), (20, 1))
    np.testing.assert_array_equal(
        np.concatenate([split.train, split.test])[:, 0],
        np.array(listed["values"])[listed["train"] + listed["eval"]],
    )


def test_running_its_way_is_worth_its_speed() -> None:
    still = np.zeros(27)
    signals = np.array([0.0, 2.0, 4.0])
    ahead, back, aside = (
        FAMILY.reward(still, np.zeros(8), still, np.array([angle]), signals)
        for angle in (90.0, 270.0, 0.0)
    )
    np.testing.assert_allclose([ahead, back, aside], [2.998, -1.002, 0.998], atol=1e-12)
