"""reach declares an arm that is really robosuite's, and targets that are hard to find."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldtune.sim.family import bounds, width
from fieldtune.sim.manipulation.arms import ARMS, arm
from fieldtune.sim.manipulation.reach.family import (
    INNER_RADIUS,
    OUTER_RADIUS,
    TABLE_CLEARANCE,
    ReachFamily,
)
from fieldtune.sim.manipulation.start import start_joints

FAMILY = ReachFamily()


@pytest.mark.slow
@pytest.mark.parametrize("robot", sorted(ARMS))
def test_declared_arm_is_robosuites(robot: str) -> None:
    from fieldtune.sim.manipulation.reach.environment import Reach
    from fieldtune.sim.manipulation.simulators.tabletop import (
        ACTION_LIMIT,
        CONTROL_HZ,
        TABLE_OFFSET,
    )

    family, declared = ReachFamily(robot=robot), arm("reach", robot)
    environment = Reach(declared)
    model = environment.sim.model._model
    joints = environment.robots[0]._ref_arm_joint_indexes
    np.testing.assert_allclose(model.jnt_range[joints, 0], declared.joint_low, atol=1e-4)
    np.testing.assert_allclose(model.jnt_range[joints, 1], declared.joint_high, atol=1e-4)
    np.testing.assert_array_equal(environment.robots[0].robot_model.init_qpos, declared.home_joints)
    table = TABLE_OFFSET[2] - environment.base_position[2]
    assert table == pytest.approx(declared.table_height)
    environment.sim.data.qpos[environment.joint_qpos] = declared.home_joints
    home = family.end_effector(environment.observe())
    np.testing.assert_allclose(home, declared.home_position, atol=1e-4)
    assert family.period_s == environment.control_timestep == 1 / CONTROL_HZ
    assert bounds(family.action_fields)[1].tolist() == [ACTION_LIMIT] * 3
    environment.close()


def test_no_observation_field_speaks_of_the_target() -> None:
    assert [field.name for field in FAMILY.observation_fields] == [
        "joint_position",
        "joint_velocity",
        "end_effector_position",
        "end_effector_velocity",
    ]
    assert width(FAMILY.observation_fields) == 20


@given(seed=st.integers(0, 2**31), robot=st.sampled_from(sorted(ARMS)))
def test_targets_lie_on_the_shell_above_the_table(seed: int, robot: str) -> None:
    family = ReachFamily(robot=robot)
    targets = family.sample_tasks(seed, 30)
    np.testing.assert_array_equal(targets, family.sample_tasks(seed, 30))
    distance = np.linalg.norm(targets - np.array(family.arm.home_position), axis=1)
    assert (distance >= INNER_RADIUS - 1e-9).all()
    assert (distance <= OUTER_RADIUS + 1e-9).all()
    assert (targets[:, 2] >= family.arm.table_height + TABLE_CLEARANCE).all()
    low, high = bounds(family.task_fields)
    assert ((targets >= low) & (targets <= high)).all()


def test_split_is_fixed_and_holds_tasks_out() -> None:
    split = FAMILY.split()
    assert split.train.shape == (100, 3)
    assert split.test.shape == (10, 3)
    np.testing.assert_array_equal(split.train, ReachFamily().split().train)
    assert not set(map(tuple, split.train)) & set(map(tuple, split.test))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), steps=st.integers(1, 4), tasks=st.integers(1, 4))
def test_reward_broadcasts_over_leading_dimensions(seed: int, steps: int, tasks: int) -> None:
    rng = np.random.default_rng(seed)
    after, targets = rng.normal(size=(steps, 20)), FAMILY.sample_tasks(seed, tasks)
    labelled = FAMILY.reward(after, after[:, :3], after, targets[:, None])
    assert labelled.shape == (tasks, steps)
    for i in range(tasks):
        for j in range(steps):
            distance = np.sqrt(sum((after[j, 14 + k] - targets[i, k]) ** 2 for k in range(3)))
            assert labelled[i, j] == pytest.approx(-distance)


def test_starts_differ_by_seed_and_stay_near_home() -> None:
    starts = np.array([start_joints(FAMILY.arm.home_joints, seed) for seed in range(200)])
    assert len(np.unique(starts, axis=0)) == 200
    noise = starts - np.array(FAMILY.arm.home_joints)
    assert abs(noise.mean()) < 0.005
    assert noise.std() == pytest.approx(0.02, rel=0.1)
