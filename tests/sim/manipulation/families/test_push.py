"""push hides its goal, and success is where the block is."""

import numpy as np

from fieldtune.sim.family import width
from fieldtune.sim.manipulation.families.push import CLOSE_ENOUGH, FURTHEST, NEAREST, PushFamily

FAMILY = PushFamily()


def test_no_observation_field_speaks_of_the_goal() -> None:
    names = [field.name for field in FAMILY.observation_fields]
    reported = ["gripper_opening", "block_position", "block_orientation"]
    assert names[4:] == [*reported, "gripper_to_block"]
    assert width(FAMILY.observation_fields) == 31


def test_goals_lie_on_the_ring() -> None:
    distance = np.linalg.norm(FAMILY.sample_tasks(0, 500) - [0.56, 0.0], axis=1)
    assert distance.min() >= NEAREST
    assert distance.max() <= FURTHEST


def test_success_is_the_blocks_centre_near_the_goal_from_above() -> None:
    goal, seen = np.array([0.6, 0.1]), np.zeros(31)
    for offset, expected in ((0.99, True), (1.01, False)):
        seen[21:24] = (0.6, 0.1 + offset * CLOSE_ENOUGH, 0.3)
        assert bool(FAMILY.success(seen, goal)) is expected


def test_a_start_depends_on_its_seed_and_not_on_the_hidden_goal() -> None:
    tasks = FAMILY.sample_tasks(0, 2)
    first, second = FAMILY.start(3, tasks[0]), FAMILY.start(3, tasks[1])
    np.testing.assert_array_equal(first.blocks, second.blocks)
    np.testing.assert_array_equal(first.joints, second.joints)
    assert not np.array_equal(first.blocks, FAMILY.start(4, tasks[0]).blocks)
