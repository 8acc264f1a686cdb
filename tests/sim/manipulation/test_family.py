"""Families on the table declare real arms and fair tasks; their reward is a function of states."""

import numpy as np
import pytest

from fieldtune.sim.family import bounds, width
from fieldtune.sim.manipulation.arms import ARMS
from fieldtune.sim.manipulation.family import ManipulationFamily
from fieldtune.sim.registry import family

NAMES = ("drawer-door", "multi", "pick-place", "push")


@pytest.fixture(params=NAMES)
def one(request: pytest.FixtureRequest) -> ManipulationFamily:
    made = family(request.param)
    assert isinstance(made, ManipulationFamily)
    return made


def test_50_tasks_to_train_on_and_10_held_out_are_fixed_and_differ(one: ManipulationFamily) -> None:
    split = one.split()
    assert len(split.train) == 50
    assert len(split.test) == 10
    np.testing.assert_array_equal(split.train, family(one.name).split().train)
    assert len(np.unique(np.concatenate([split.train, split.test]), axis=0)) == 60


def test_tasks_stay_within_their_declared_range(one: ManipulationFamily) -> None:
    tasks = one.sample_tasks(3, 200)
    low, high = bounds(one.task_fields)
    assert tasks.shape == (200, width(one.task_fields))
    assert ((tasks >= low) & (tasks <= high)).all()
    np.testing.assert_array_equal(tasks, one.sample_tasks(3, 200))


def test_no_episode_starts_in_success(one: ManipulationFamily) -> None:
    tasks = one.sample_tasks(1, 200)
    for seed, task in enumerate(tasks):
        start = one.start(seed, task)
        assert start.blocks.shape == (len(one.scene.blocks), 7)
        assert start.fixtures.shape == (len(one.scene.fixtures), 3)
        assert not one.success(placed(one, seed, task), task)


def placed(one: ManipulationFamily, seed: int, task: np.ndarray) -> np.ndarray:
    """The observation of a start, as far as things on the table go: joints of fixtures at 0."""
    start = one.start(seed, task)
    seen = np.zeros(width(one.observation_fields))
    at = 0
    for field in one.observation_fields:
        for block, pose in zip(one.scene.blocks, start.blocks, strict=True):
            if field.name == f"{block.name}_position":
                seen[at : at + 3] = pose[:3]
        at += field.width
    return seen


def test_reward_is_0_in_success_and_less_by_1_elsewhere_and_broadcasts(
    one: ManipulationFamily,
) -> None:
    tasks = one.sample_tasks(0, 4)
    after = np.stack([placed(one, seed, tasks[0]) for seed in range(3)])
    labelled = one.reward(after, np.zeros((3, 4)), after, tasks[:, None])
    assert labelled.shape == (4, 3)
    assert set(np.unique(labelled)) <= {-1.0, 0.0}
    np.testing.assert_array_equal(labelled == 0, one.success(after, tasks[:, None]))


@pytest.mark.slow
@pytest.mark.parametrize("robot", sorted(ARMS))
def test_declared_postures_hold_the_gripper_over_the_tables_centre(robot: str) -> None:
    from fieldtune.sim.manipulation.scene import Scene, Start
    from fieldtune.sim.manipulation.simulators.tabletop import Tabletop

    arm = ARMS[robot]
    for home, height in (("low", 0.08), ("high", 0.15)):
        scene = Scene(home=home)  # type: ignore[arg-type]
        environment = Tabletop(arm, scene)
        environment.begin(Start(joints=np.array(scene.home_joints(arm))))
        seen = environment.observe()
        hand = seen[2 * arm.joints : 2 * arm.joints + 3]
        np.testing.assert_allclose(hand, [0.56, 0.0, arm.table_height + height], atol=1e-3)
        np.testing.assert_array_equal(environment.base_rotation, np.eye(3))
        environment.close()
