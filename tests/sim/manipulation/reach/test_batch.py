"""The compiled arms move as robosuite's own, each as if it were alone."""

import threading

import numpy as np
import pytest

from fieldtune.sim.manipulation.arms import ARMS
from fieldtune.sim.manipulation.reach.family import ReachFamily

pytestmark = pytest.mark.slow
FAMILY = ReachFamily()
TASKS = FAMILY.sample_tasks(0, 9)
TOLERANCE_M = 1e-7  # 3e-15 measured in the air and 5e-12 in contact; the solver may stop elsewhere


@pytest.mark.parametrize("robot", sorted(ARMS))
def test_tracks_robosuites_own_step(robot: str) -> None:
    """60 actions from each of three seeds: random, held, beyond the bounds, into contact."""
    family = ReachFamily(robot=robot)
    truth, simulator = family.single_robot(), family.simulator(1)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        actions = rng.uniform(-0.06, 0.06, (60, 3))
        if seed == 1:
            actions = np.repeat(actions[::10], 10, axis=0)
        if seed == 2:
            actions[:] = [0.05, 0.0, -0.05]  # out and down, onto the table
        expected = truth.reset(seed, TASKS[0])
        actual = simulator.reset(np.array([seed]), TASKS[:1])[0]
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
        for action in actions:
            expected, _ = truth.step(action)
            actual = simulator.step(action[None])[0][0]
            np.testing.assert_allclose(
                family.end_effector(actual), family.end_effector(expected), rtol=0, atol=TOLERANCE_M
            )
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
    truth.close()
    simulator.close()


def test_tracks_robosuite_where_the_arm_is_stretched_out() -> None:
    """Near a singular configuration the control law amplifies rounding: a tenth of a millimetre."""
    truth, simulator = FAMILY.single_robot(), FAMILY.simulator(1)
    truth.reset(0, TASKS[0])
    simulator.reset(np.array([0]), TASKS[:1])
    for _ in range(80):
        expected, _ = truth.step(np.array([0.05, 0.0, 0.05]))
        actual = simulator.step(np.array([[0.05, 0.0, 0.05]]))[0][0]
    np.testing.assert_allclose(
        FAMILY.end_effector(actual), FAMILY.end_effector(expected), rtol=0, atol=1e-4
    )
    truth.close()
    simulator.close()


def test_batching_and_threads_change_no_bit() -> None:
    actions = np.random.default_rng(1).uniform(-0.05, 0.05, (10, 9, 3))

    def run(copies: slice, threads: int) -> np.ndarray:
        seeds = np.arange(9)[copies]
        simulator = FAMILY.simulator(len(seeds), threads)
        seen = [simulator.reset(seeds, TASKS[copies])]
        seen += [simulator.step(action[copies])[0] for action in actions]
        simulator.close()
        return np.array(seen)

    together = run(slice(None), 1)
    np.testing.assert_array_equal(together, run(slice(None), 3))
    np.testing.assert_array_equal(together[:, 4:5], run(slice(4, 5), 1))


def test_a_second_reset_forgets_the_first_episode() -> None:
    simulator, action = FAMILY.simulator(1), np.array([[0.02, -0.05, 0.03]])
    simulator.reset(np.array([4]), TASKS[:1])
    first = simulator.step(action)[0]
    for _ in range(20):
        simulator.step(-action)
    simulator.reset(np.array([4]), TASKS[1:2])
    np.testing.assert_array_equal(first, simulator.step(action)[0])
    simulator.close()


def test_observations_handed_out_are_not_written_to_later() -> None:
    simulator = FAMILY.simulator(1)
    start = simulator.reset(np.array([0]), TASKS[:1])
    kept = start.copy()
    simulator.step(np.array([[0.05, 0.0, 0.0]]))
    np.testing.assert_array_equal(start, kept)
    simulator.close()


def test_one_thread_starts_no_thread() -> None:
    before = threading.active_count()
    simulator = FAMILY.simulator(3, threads=1)
    simulator.reset(np.arange(3), TASKS[:3])
    simulator.step(np.zeros((3, 3)))
    assert threading.active_count() == before
    simulator.close()


@pytest.mark.parametrize("bad", [np.zeros((2, 4)), np.zeros((3, 3)), np.full((2, 3), np.inf)])
def test_malformed_actions_are_refused(bad: np.ndarray) -> None:
    simulator = FAMILY.simulator(2)
    simulator.reset(np.arange(2), TASKS[:2])
    with pytest.raises(ValueError, match=r"expected finite \(2, 3\)"):
        simulator.step(bad)
    simulator.close()
