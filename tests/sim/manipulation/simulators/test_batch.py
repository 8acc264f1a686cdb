"""The compiled tables move as robosuite's own, each as if it were alone."""

import numpy as np
import pytest

from fieldtune.sim.family import TaskFamily, bounds
from fieldtune.sim.manipulation.family import ManipulationFamily
from fieldtune.sim.registry import family

pytestmark = pytest.mark.slow
NAMES = ("drawer-door", "multi", "pick-place", "push")
# Compiled code adds in another order, so the two differ by rounding: 1e-15 measured with Sawyer, up
# to 5e-11 with Panda, through touching and grasping. Where the arm is pressed onto the table with
# all its strength, MuJoCo's solver may stop an iteration sooner for one of them: 1e-5 all at once,
# and 2e-4 (joint velocities, rad/s) after 15 more actions.
TOLERANCE = 1e-7
# After twenty steps pressed onto the table: at which iteration the contact solver stops hangs on
# the last bit, and so on the processor (2e-3 rad/s on one, 1.7e-2 on another).
PRESSED_HARD, BEFORE_TOUCHING = 5e-2, 5


def towards(one: ManipulationFamily, seen: np.ndarray, name: str) -> np.ndarray:
    """The displacement from the hand to a thing on the table."""
    return one.part(seen, name) - one.part(seen, "end_effector_position")


def thing(one: ManipulationFamily) -> str:
    return next(f.name for f in one.observation_fields[5:] if f.width == 3)


def made(name: str, robot: str = "sawyer") -> ManipulationFamily:
    one = family(name, robot=robot)
    assert isinstance(one, ManipulationFamily)
    return one


@pytest.mark.parametrize(
    ("name", "robot"), [*((name, "sawyer") for name in NAMES), ("multi", "panda")]
)
def test_tracks_robosuites_own_step_through_contact(name: str, robot: str) -> None:
    """30 actions each: random beyond the bounds; into the table; grasping a thing and lifting."""
    one = made(name, robot)
    truth, simulator = one.single_robot(), one.simulator(1)
    tasks = one.sample_tasks(0, 3)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        expected = truth.reset(seed, tasks[seed])
        actual = simulator.reset(np.array([seed]), tasks[seed : seed + 1])[0]
        np.testing.assert_array_equal(actual, expected)
        for step in range(30):
            action = np.append(rng.uniform(-0.06, 0.06, 3), rng.uniform(-1, 1))
            if seed == 1:
                action[:3] = [0.03, 0.02 * np.sin(step), -0.05]
            if seed == 2:
                action[:3] = np.clip(3 * towards(one, expected, thing(one)), -0.05, 0.05)
                action[2:] = (0.04, 1.0) if step > 20 else (action[2], 1.0 if step > 10 else -1.0)
            expected, _ = truth.step(action)
            actual = simulator.step(action[None])[0][0]
            pressed = seed == 1 and step >= BEFORE_TOUCHING
            tolerance = PRESSED_HARD if pressed else TOLERANCE
            np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
    truth.close()
    simulator.close()


@pytest.mark.parametrize("name", NAMES)
def test_batching_and_threads_change_no_bit(name: str) -> None:
    one = made(name)
    tasks = one.sample_tasks(0, 5)
    low, high = bounds(one.action_fields)
    actions = np.random.default_rng(1).uniform(low, high, (8, 5, 4))

    def run(copies: slice, threads: int) -> np.ndarray:
        seeds = np.arange(5)[copies]
        simulator = one.simulator(len(seeds), threads)
        seen = [simulator.reset(seeds, tasks[copies])]
        seen += [simulator.step(action[copies])[0] for action in actions]
        simulator.close()
        return np.array(seen)

    together = run(slice(None), 1)
    np.testing.assert_array_equal(together, run(slice(None), 3))
    np.testing.assert_array_equal(together[:, 3:4], run(slice(3, 4), 1))


def test_a_second_reset_forgets_the_first_episode() -> None:
    one = made("push")
    tasks = one.sample_tasks(0, 1)
    simulator, action = one.simulator(1), np.array([[0.02, -0.05, 0.03, 1.0]])
    simulator.reset(np.array([4]), tasks)
    first = simulator.step(action)[0]
    for _ in range(15):
        simulator.step(-action)
    simulator.reset(np.array([4]), tasks)
    np.testing.assert_array_equal(first, simulator.step(action)[0])
    simulator.close()


def test_a_gripper_closes_for_any_positive_command_and_opens_for_a_negative_one() -> None:
    one = made("push")
    simulator = one.simulator(3)
    start = simulator.reset(np.zeros(3, dtype=np.int64), one.sample_tasks(0, 3))
    for _ in range(10):
        seen, _ = simulator.step(np.array([[0, 0, 0, g] for g in (0.01, 1.0, -0.01)]))
    opening = one.part(seen, "gripper_opening")[:, 0]
    assert opening[0] == opening[1] < 0.01
    assert opening[2] > opening[0] + 0.03
    assert (one.part(start, "gripper_opening") > opening[0]).all()
    simulator.close()


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.zeros((3, 4)), np.full((2, 4), np.nan)])
def test_malformed_actions_are_refused(bad: np.ndarray) -> None:
    one = made("push")
    simulator = one.simulator(2)
    simulator.reset(np.arange(2), one.sample_tasks(0, 2))
    with pytest.raises(ValueError, match=r"expected finite \(2, 4\)"):
        simulator.step(bad)
    with pytest.raises(ValueError, match="3 seeds and 2 tasks for 2 arms"):
        simulator.reset(np.arange(3), one.sample_tasks(0, 2))
    simulator.close()


def test_the_single_robot_refuses_malformed_actions() -> None:
    one = made("push")
    robot = one.single_robot()
    robot.reset(0, one.sample_tasks(0, 1)[0])
    with pytest.raises(ValueError, match="expected 4 finite numbers"):
        robot.step(np.zeros(3))
    robot.close()


def test_every_family_is_a_task_family() -> None:
    for name in NAMES:
        one: TaskFamily = made(name)
        assert one.robot == "sawyer"
