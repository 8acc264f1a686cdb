"""cheetah-vel is gymnasium's cheetah with the paper's observation and reward."""

import json
import threading
from pathlib import Path

import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldtune.sim.locomotion.cheetah_vel import CheetahBody, CheetahVelFamily

FAMILY = CheetahVelFamily()


def test_a_thousand_random_steps_match_gymnasium_stepped_one_by_one() -> None:
    """Observations and rewards to 1e-6, with the torso's position from MuJoCo's own kinematics."""
    seeds, tasks = np.arange(5), FAMILY.sample_tasks(seed=3, n=5)
    simulator = FAMILY.simulator(5)
    observations = [simulator.reset(seeds, tasks)]
    actions = np.random.default_rng(0).uniform(-1.2, 1.2, (200, 5, 6))  # some beyond the range
    for action in actions:
        following, terminated = simulator.step(action)
        assert not terminated.any()
        observations.append(following)
    simulator.close()
    rewards = FAMILY.reward(np.array(observations[:-1]), actions, np.array(observations[1:]), tasks)

    environment = HalfCheetahEnv()
    for env in range(5):
        environment.reset()
        environment.set_state(*CheetahBody().start(env, tasks[env]))
        np.testing.assert_allclose(observations[0][env], expected_observation(environment))
        for step in range(200):
            x_before = environment.data.qpos[0]
            environment.step(actions[step, env])
            velocity = (environment.data.qpos[0] - x_before) / environment.dt
            cost = 0.05 * (actions[step, env] ** 2).sum()
            reward = -abs(velocity - tasks[env, 0]) - cost
            np.testing.assert_allclose(
                observations[step + 1][env], expected_observation(environment), rtol=0, atol=1e-6
            )
            np.testing.assert_allclose(rewards[step, env], reward, rtol=0, atol=1e-6)
    environment.close()


def expected_observation(environment: HalfCheetahEnv) -> np.ndarray:
    """The definition, with fresh kinematics, computed apart from the environment's own state."""
    data = mujoco.MjData(environment.model)
    data.qpos[:] = environment.data.qpos
    mujoco.mj_forward(environment.model, data)
    qpos, qvel = environment.data.qpos, environment.data.qvel
    return np.concatenate([qpos[1:], qvel, data.body("torso").xpos])


def test_batching_and_threads_change_no_bit() -> None:
    actions = np.random.default_rng(1).uniform(-1, 1, (30, 7, 6))
    tasks = FAMILY.sample_tasks(0, 7)

    def run(copies: slice, threads: int) -> np.ndarray:
        seeds = np.arange(7)[copies]
        simulator = FAMILY.simulator(len(seeds), threads)
        seen = [simulator.reset(seeds, tasks[copies])]
        seen += [simulator.step(action[copies])[0] for action in actions]
        simulator.close()
        return np.array(seen)

    together = run(slice(None), 1)
    np.testing.assert_array_equal(together, run(slice(None), 3))
    np.testing.assert_array_equal(together[:, 4:5], run(slice(4, 5), 1))


def test_a_second_reset_forgets_the_first_episode() -> None:
    simulator, task = FAMILY.simulator(1), FAMILY.sample_tasks(0, 1)
    action = np.full((1, 6), 0.5)
    simulator.reset(np.array([4]), task)
    first = simulator.step(action)[0]
    for _ in range(20):
        simulator.step(-action)
    simulator.reset(np.array([4]), task)
    np.testing.assert_array_equal(first, simulator.step(action)[0])


def test_one_thread_starts_no_thread() -> None:
    before = threading.active_count()
    simulator = FAMILY.simulator(8, threads=1)
    simulator.reset(np.arange(8), FAMILY.sample_tasks(0, 8))
    simulator.step(np.zeros((8, 6)))
    assert threading.active_count() == before


def test_the_single_robot_moves_like_a_batched_one() -> None:
    robot, simulator = FAMILY.single_robot(), FAMILY.simulator(1)
    task = FAMILY.sample_tasks(0, 1)
    np.testing.assert_array_equal(robot.reset(9, task[0]), simulator.reset(np.array([9]), task)[0])
    for action in np.random.default_rng(2).uniform(-1, 1, (50, 6)):
        seen, terminated = robot.step(action)
        assert not terminated
        np.testing.assert_array_equal(seen, simulator.step(action[None])[0][0])
    robot.close()


def test_split_is_the_references_own() -> None:
    path = Path(__file__).parents[3] / "sim" / "tasks" / "cheetah-vel-tasks.json"
    listed = json.loads(path.read_text())
    split = FAMILY.split()
    assert split.train.shape == (100, 1)
    assert split.test.shape == (30, 1)
    np.testing.assert_array_equal(
        np.concatenate([split.train, split.test])[:, 0],
        np.array(listed["values"])[listed["train"] + listed["eval"]],
    )


@given(seed=st.integers(0, 2**31), n=st.integers(0, 20))
def test_tasks_depend_on_the_seed_alone_and_stay_in_range(seed: int, n: int) -> None:
    tasks = FAMILY.sample_tasks(seed, n)
    assert tasks.shape == (n, 1)
    assert ((tasks >= 0) & (tasks <= 3)).all()
    np.testing.assert_array_equal(tasks, FAMILY.sample_tasks(seed, n))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), steps=st.integers(1, 4), tasks=st.integers(1, 4))
def test_reward_broadcasts_over_leading_dimensions(seed: int, steps: int, tasks: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.normal(size=(2, steps, 20))
    action, goals = rng.normal(size=(steps, 6)), FAMILY.sample_tasks(seed, tasks)
    labelled = FAMILY.reward(before, action, after, goals[:, None])
    assert labelled.shape == (tasks, steps)
    for i in range(tasks):
        for j in range(steps):
            one = FAMILY.reward(before[j], action[j], after[j], goals[i])
            np.testing.assert_allclose(labelled[i, j], one, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.zeros((2, 5)), np.zeros((3, 6)), np.full((2, 6), np.nan)])
def test_malformed_actions_are_refused(bad: np.ndarray) -> None:
    simulator = FAMILY.simulator(2)
    simulator.reset(np.arange(2), FAMILY.sample_tasks(0, 2))
    with pytest.raises(ValueError, match=r"expected finite \(2, 6\)"):
        simulator.step(bad)


@pytest.mark.parametrize(("copies", "threads"), [(0, 1), (1, 0)])
def test_impossible_sizes_are_refused(copies: int, threads: int) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        FAMILY.simulator(copies, threads)
