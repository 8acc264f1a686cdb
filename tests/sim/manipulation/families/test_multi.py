"""multi hides the job alone: where things stand is seen, and each job has its own success."""

import numpy as np
import pytest

from fieldtune.sim.family import width
from fieldtune.sim.manipulation.families.multi import (
    BUTTON_X,
    EPISODE_SPREAD,
    JOBS,
    LANES,
    MultiFamily,
)

FAMILY = MultiFamily()
WIDTH = width(FAMILY.observation_fields)
TABLE = FAMILY.arm.table_height


def seen(**parts: object) -> np.ndarray:
    """An observation with the named fields set, the others 0."""
    observation = np.zeros(WIDTH)
    at = 0
    for field in FAMILY.observation_fields:
        if field.name in parts:
            observation[at : at + field.width] = parts[field.name]
        at += field.width
    return observation


@pytest.mark.parametrize(
    ("job", "done", "not_quite"),
    [
        ("press", seen(button_pressed=0.016), seen(button_pressed=0.014)),
        ("open", seen(drawer_opening=0.081), seen(drawer_opening=0.079)),
        (
            "place",
            seen(block_position=(0.6, 0.1, TABLE + 0.06), shelf_top=(0.63, 0.13, TABLE + 0.04)),
            seen(block_position=(0.6, 0.1, TABLE + 0.02), shelf_top=(0.63, 0.13, TABLE + 0.04)),
        ),
    ],
)
def test_each_job_is_done_in_its_own_states_only(
    job: str, done: np.ndarray, not_quite: np.ndarray
) -> None:
    task = FAMILY.sample_tasks(0, 3)[JOBS.index(job)]
    assert FAMILY.success(done, task)
    assert not FAMILY.success(not_quite, task)
    for other in {0, 1, 2} - {JOBS.index(job)}:
        assert not FAMILY.success(done, np.append(other, task[1:]))


def test_jobs_are_evenly_shared_out() -> None:
    split = FAMILY.split()
    for tasks in (split.train, split.test):
        counts = np.bincount(tasks[:, 0].astype(int), minlength=3)
        assert counts.max() - counts.min() <= 1


def test_things_stand_where_the_task_says_and_apart() -> None:
    for seed, task in enumerate(FAMILY.sample_tasks(1, 100)):
        start = FAMILY.start(seed, task)
        np.testing.assert_allclose(start.fixtures[0, :2], task[1:3], atol=EPISODE_SPREAD)
        assert BUTTON_X[0] <= task[1] <= BUTTON_X[1]
        another = FAMILY.start(seed + 1, task)
        assert (start.fixtures[:, :2] != another.fixtures[:, :2]).all()  # nothing to learn by heart
        across = np.sort(start.fixtures[:, 1])
        assert np.diff(across).min() > LANES[2] - 0.05


def test_another_task_of_the_scene_is_another_job_in_the_same_place() -> None:
    rng, task = np.random.default_rng(0), FAMILY.sample_tasks(0, 1)[0]
    for _ in range(10):
        other = FAMILY.other_task(task, rng)
        assert other[0] != task[0]
        np.testing.assert_array_equal(other[1:], task[1:])
