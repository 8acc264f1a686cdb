"""multi hides the job alone: where things stand is seen, and each job has its own success."""

import numpy as np
import pytest

from fieldtune.sim.family import width
from fieldtune.sim.manipulation.families.multi import (
    BUTTON_X,
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


def test_everything_stands_elsewhere_in_every_episode_and_apart() -> None:
    task = FAMILY.split().train[0]
    starts = [FAMILY.start(seed, task) for seed in range(100)]
    for start in starts:
        across = np.sort(start.fixtures[:, 1])
        assert np.diff(across).min() > LANES[2] - 0.05
        assert BUTTON_X[0] <= start.fixtures[0, 0] <= BUTTON_X[1]
    orders = {tuple(np.argsort(start.fixtures[:, 1])) for start in starts}
    assert len(orders) == 6  # who is left of whom is drawn as well
    places = np.stack([start.fixtures[:, :2] for start in starts])
    assert len(np.unique(places, axis=0)) == 100  # nothing to learn by heart
    np.testing.assert_array_equal(starts[7].fixtures, FAMILY.start(7, task).fixtures)


def test_layouts_of_held_out_tasks_are_no_trained_tasks_and_say_nothing_of_the_job() -> None:
    split = FAMILY.split()
    trained, held_out = (
        {FAMILY.start(0, task).fixtures.tobytes() for task in tasks}
        for tasks in (split.train, split.test)
    )
    assert len(trained | held_out) == 60
    start = FAMILY.start(0, split.train[0])
    for job in range(3):
        same = FAMILY.start(0, np.array([job, split.train[0][1]]))
        np.testing.assert_array_equal(same.fixtures, start.fixtures)
        np.testing.assert_array_equal(same.blocks, start.blocks)


def test_another_task_of_the_scene_is_another_job_in_the_same_layouts() -> None:
    rng, task = np.random.default_rng(0), FAMILY.sample_tasks(0, 1)[0]
    for _ in range(10):
        other = FAMILY.other_task(task, rng)
        assert other[0] != task[0]
        np.testing.assert_array_equal(other[1:], task[1:])
