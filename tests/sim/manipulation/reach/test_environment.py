"""robosuite itself still steps, and the single robot is robosuite's arm with a target in sight."""

import numpy as np
import pytest

from fieldtune.sim.manipulation.arms import arm
from fieldtune.sim.manipulation.reach.environment import Reach
from fieldtune.sim.manipulation.reach.family import ReachFamily

pytestmark = pytest.mark.slow
FAMILY = ReachFamily()
TARGET = FAMILY.sample_tasks(0, 1)[0]


def test_robosuites_own_lift_steps_with_the_installed_mujoco() -> None:
    """mujoco 3.10 and later pass `pip check` and fail in every robosuite environment."""
    import robosuite

    lift = robosuite.make(
        "Lift",
        robots="Sawyer",
        has_offscreen_renderer=False,
        use_camera_obs=False,
        control_freq=20,
    )
    lift.reset()
    for _ in range(3):
        seen, reward, _, _ = lift.step(np.zeros(lift.action_dim))
    assert np.isfinite(seen["robot0_joint_pos"]).all()
    assert np.isfinite(reward)
    lift.close()


def test_a_start_depends_on_its_seed_alone() -> None:
    robot = FAMILY.single_robot()
    first = robot.reset(5, TARGET)
    moved = [robot.step(np.array([0.05, 0.0, 0.02]))[0] for _ in range(5)]
    robot.reset(6, -TARGET)
    robot.step(np.array([-0.05, 0.03, 0.0]))
    np.testing.assert_array_equal(first, robot.reset(5, TARGET))
    again = [robot.step(np.array([0.05, 0.0, 0.02]))[0] for _ in range(5)]
    np.testing.assert_allclose(moved, again, rtol=0, atol=1e-9)
    robot.close()


def test_a_displacement_moves_the_end_effector_along_it() -> None:
    robot = FAMILY.single_robot()
    start = FAMILY.end_effector(robot.reset(0, TARGET))
    for _ in range(10):
        seen, terminated = robot.step(np.array([0.0, 0.03, 0.03]))
        assert not terminated
    moved = FAMILY.end_effector(seen) - start
    assert moved[1] > 0.03
    assert moved[2] > 0.03
    assert abs(moved[0]) < 0.01
    robot.close()


def test_the_environments_reward_is_the_familys() -> None:
    environment = Reach(arm("reach", "sawyer"))
    before = environment.start(1, TARGET)
    reward = environment.step(np.array([0.5, -0.5, 0.2, 0.0]))[1]
    after = environment.observe()
    expected = FAMILY.reward(before, np.array([0.025, -0.025, 0.01]), after, TARGET)
    assert reward == pytest.approx(float(expected), abs=1e-12)
    environment.close()


def test_observed_velocity_is_the_positions_rate() -> None:
    environment = Reach(arm("reach", "panda"))
    environment.start(1, TARGET)
    for _ in range(5):
        environment.step(np.array([0.3, 0.5, -0.2, 0.0]))
    before = environment.observe()
    environment.sim.step()
    after = environment.observe()
    rate = (after[14:17] - before[14:17]) / environment.model_timestep
    np.testing.assert_allclose(rate, (before[17:] + after[17:]) / 2, atol=2e-3)
    environment.close()


def test_a_picture_shows_the_target_where_it_is() -> None:
    robot = FAMILY.single_robot()
    robot.reset(0, TARGET)

    def green(picture: np.ndarray) -> np.ndarray:
        red, lime, blue = np.moveaxis(picture.astype(int), -1, 0)
        return np.argwhere((lime > red + 40) & (lime > blue + 40))

    seen = green(robot.render(320, 240))
    assert len(seen) > 20
    robot.reset(0, TARGET + np.array([0.0, 0.0, 0.15]))
    higher = green(robot.render(320, 240))
    assert higher[:, 0].mean() < seen[:, 0].mean() - 5  # rows count from the top
    assert robot.render(64, 48).shape == (48, 64, 3)
    robot.close()


@pytest.mark.parametrize("bad", [np.zeros(4), np.array([0.0, np.nan, 0.0])])
def test_malformed_actions_are_refused(bad: np.ndarray) -> None:
    robot = FAMILY.single_robot()
    robot.reset(0, TARGET)
    with pytest.raises(ValueError, match="expected 3 finite numbers"):
        robot.step(bad)
    robot.close()
