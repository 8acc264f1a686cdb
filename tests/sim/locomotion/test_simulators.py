"""What the locomotion families have in common."""

import threading

import numpy as np
import pytest

from fieldtune.sim.family import MissingSignals, bounds, width
from fieldtune.sim.locomotion.simulators import model
from fieldtune.sim.registry import family
from fieldtune.sim.rollout import rollout

NAMES = ("ant-dir", "humanoid-dir", "walker-params", "hopper-params")
SIZES = {
    "ant-dir": (27, 8),
    "humanoid-dir": (376, 17),
    "walker-params": (17, 6),
    "hopper-params": (11, 3),
}
each = pytest.mark.parametrize("name", NAMES)  # what can fall, and is measured


@pytest.mark.parametrize("name", [*NAMES, "cheetah-vel"])
def test_a_control_period_is_the_models_own(name) -> None:
    """A family says it without loading the model."""
    one = family(name)
    timestep = model(one.body.asset).opt.timestep
    assert one.period_s == pytest.approx(one.body.substeps * timestep, rel=1e-12)


def actions_for(one, steps: int, copies: int) -> np.ndarray:
    low, high = bounds(one.action_fields)
    return np.random.default_rng(1).uniform(low, high, (steps, copies, len(low)))


@each
def test_sizes_are_the_papers(name) -> None:
    one = family(name)
    assert (width(one.observation_fields), width(one.action_fields)) == SIZES[name]
    assert one.horizon == 200
    simulator = one.simulator(2)
    assert simulator.reset(np.arange(2), one.sample_tasks(0, 2)).shape == (2, SIZES[name][0])
    assert simulator.signals().shape == (2, width(one.signal_fields))
    simulator.close()


@each
def test_batching_and_threads_change_no_bit(name) -> None:
    one = family(name)
    actions, tasks = actions_for(one, 40, 7), one.sample_tasks(0, 7)

    def run(copies: slice, threads: int) -> tuple[np.ndarray, np.ndarray]:
        simulator = one.simulator(len(tasks[copies]), threads)
        seen = [simulator.reset(np.arange(7)[copies], tasks[copies])]
        measured = []
        for action in actions:
            seen.append(simulator.step(action[copies])[0])
            measured.append(simulator.signals())
        simulator.close()
        return np.array(seen), np.array(measured)

    together = run(slice(None), 1)
    for alone, threaded in zip(together, run(slice(None), 3), strict=True):
        np.testing.assert_array_equal(alone, threaded)
    for whole, part in zip(together, run(slice(4, 5), 1), strict=True):
        np.testing.assert_array_equal(whole[:, 4:5], part)


@each
def test_a_second_reset_forgets_the_first_episode(name) -> None:
    one = family(name)
    simulator, task = one.simulator(1), one.sample_tasks(0, 1)
    actions = actions_for(one, 60, 1)
    simulator.reset(np.array([4]), task)
    first = simulator.step(actions[0])[0], simulator.signals()
    for action in actions:
        simulator.step(action)
    simulator.reset(np.array([4]), task)
    np.testing.assert_array_equal(first[0], simulator.step(actions[0])[0])
    np.testing.assert_array_equal(first[1], simulator.signals())
    simulator.close()


@each
def test_a_fallen_copy_rests_until_the_next_reset(name) -> None:
    one = family(name)
    simulator, tasks = one.simulator(24), one.sample_tasks(0, 24)
    simulator.reset(np.arange(24), tasks)
    last, ended = None, np.zeros(24, dtype=bool)
    for action in actions_for(one, 200, 24):
        seen, now = simulator.step(action)
        assert (now | ~ended).all()
        if last is not None:
            np.testing.assert_array_equal(seen[ended], last[ended])
        last, ended = seen, now
    assert ended.any()
    simulator.reset(np.arange(24), tasks)
    assert not simulator.step(np.zeros_like(action))[1].any()
    simulator.close()


@each
def test_the_single_robot_moves_like_a_batched_one(name) -> None:
    one = family(name)
    robot, simulator = one.single_robot(), one.simulator(1)
    for task, seed in ((one.sample_tasks(0, 1), 9), (one.sample_tasks(1, 1), 10)):
        seen = robot.reset(seed, task[0])
        np.testing.assert_array_equal(seen, simulator.reset(np.array([seed]), task)[0])
        for action in actions_for(one, 60, 1):
            seen, terminated = robot.step(action[0])
            batched, ended = simulator.step(action)
            np.testing.assert_array_equal(seen, batched[0])
            np.testing.assert_array_equal(robot.signals(), simulator.signals()[0])
            assert terminated == ended[0]
            if terminated:
                break
    robot.close()
    simulator.close()


@each
def test_any_episode_can_be_scored_for_any_task(name, random_episodes) -> None:
    """From what a rollout keeps, all tasks at once or one by one."""
    one = family(name)
    episode = random_episodes(one, 3)[0][0]
    tasks = one.sample_tasks(8, 4)
    parts = episode.observations[:-1], episode.actions, episode.observations[1:]
    every = one.reward(*parts, tasks[:, None], episode.signals)
    assert every.shape == (4, episode.steps)
    for row, task in zip(every, tasks, strict=True):
        np.testing.assert_allclose(row, one.reward(*parts, task, episode.signals), rtol=1e-12)
    assert episode.signals.shape == (episode.steps, width(one.signal_fields))


@each
def test_a_reward_without_its_signals_is_refused(name) -> None:
    one = family(name)
    seen, action = np.zeros(SIZES[name][0]), np.zeros(SIZES[name][1])
    wanted = one.signal_fields[0].name
    with pytest.raises(MissingSignals, match=rf"{name}: .*{wanted}.*got none"):
        one.reward(seen, action, seen, one.sample_tasks(0, 1)[0])
    with pytest.raises(MissingSignals, match="got 7 numbers"):
        one.reward(seen, action, seen, one.sample_tasks(0, 1)[0], np.zeros(7))


@each
def test_an_episodes_signals_end_where_it_does(name) -> None:
    one = family(name)
    low, high = bounds(one.action_fields)
    rng = np.random.default_rng(0)
    simulator = one.simulator(16)
    episodes = rollout(
        simulator,
        one,
        lambda seen: rng.uniform(low, high, (len(seen), len(low))),
        np.arange(16),
        one.sample_tasks(0, 16),
    )
    simulator.close()
    assert len({episode.steps for episode in episodes}) > 1
    assert all(len(episode.signals) == episode.steps for episode in episodes)


@each
def test_tasks_depend_on_the_seed_alone_and_stay_in_range(name) -> None:
    one = family(name)
    low, high = bounds(one.task_fields)
    for seed in range(5):
        tasks = one.sample_tasks(seed, 20)
        np.testing.assert_array_equal(tasks, one.sample_tasks(seed, 20))
        assert (low <= tasks).all()
        assert (tasks <= high).all()


@each
def test_malformed_actions_are_refused(name) -> None:
    one = family(name)
    simulator, robot = one.simulator(2), one.single_robot()
    simulator.reset(np.arange(2), one.sample_tasks(0, 2))
    robot.reset(0, one.sample_tasks(0, 1)[0])
    count = SIZES[name][1]
    for bad in (np.zeros((2, count + 1)), np.zeros((3, count)), np.full((2, count), np.nan)):
        with pytest.raises(ValueError, match=rf"expected finite \(2, {count}\)"):
            simulator.step(bad)
    with pytest.raises(ValueError, match=f"expected {count} finite"):
        robot.step(np.full(count, np.nan))
    robot.close()
    simulator.close()


def test_one_thread_starts_no_thread() -> None:
    one, before = family("ant-dir"), threading.active_count()
    simulator = one.simulator(4, threads=1)
    simulator.reset(np.arange(4), one.sample_tasks(0, 4))
    simulator.step(np.zeros((4, 8)))
    assert threading.active_count() == before
    simulator.close()


def test_unequal_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="2 seeds and 3 tasks for 3 copies"):
        family("hopper-params").simulator(3).reset(
            np.arange(2), family("hopper-params").sample_tasks(0, 3)
        )
