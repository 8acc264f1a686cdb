from __future__ import annotations

import numpy as np
import pytest

from fieldtune.train.config import AlgorithmSettings, Context, Offline, SelfSupervised
from fieldtune.train.data.replay import Replay, Trajectory
from fieldtune.train.data.sampling import draw_context, draw_offline, draw_union

TASKS = 6


def filled(first, tasks):
    """Three trajectories of ten steps a task; observations count from `first`, by trajectory."""
    replay = Replay(TASKS, 30 * TASKS, 1, 1)
    for task in tasks:
        for index in range(3):
            value = first + 10 * task + index
            replay.add(
                task,
                Trajectory(
                    np.full((11, 1), value, np.float32),
                    np.zeros((10, 1), np.float32),
                    np.zeros(10, np.float32),
                    terminated=False,
                ),
            )
    return replay


@pytest.fixture
def offline():
    return filled(0, range(TASKS))


@pytest.fixture
def labelled():
    """What exploration was labelled for so far: three of the tasks."""
    return filled(1000, [1, 3, 4])


def task_of(values):
    return (values % 1000) // 10


def contexts(replay, settings, n=60):
    rng = np.random.default_rng(0)
    return [draw_context(replay, rng, [0, 1], settings).observation for _ in range(n)]


def test_context_lengths_vary_over_the_whole_range(offline):
    drawn = contexts(offline, Context(source="transitions", size=(3, 6)))
    assert {context.shape[1] for context in drawn} == {3, 4, 5, 6}


@pytest.mark.parametrize("trajectories", [1, 2, 3])
def test_contexts_of_trajectories_mix_up_to_so_many(offline, trajectories):
    settings = Context(source="trajectories", trajectories=trajectories, size=(30, 30))
    mixed = {len(context[0].unique()) for context in contexts(offline, settings)}
    assert mixed == set(range(1, trajectories + 1))


def test_contexts_of_transitions_mix_all_of_a_tasks_data(offline):
    settings = Context(source="transitions", trajectories=1, size=(30, 30))
    assert {len(context[0].unique()) for context in contexts(offline, settings)} == {3}


def test_offline_draws_are_meta_batches_of_different_tasks(offline):
    settings = AlgorithmSettings(name="any", meta_batch=4, batch=5)
    context, batch = draw_offline(offline, np.random.default_rng(0), settings, Offline())
    assert batch.reward.shape == (4, 5)
    tasks = task_of(batch.observation[:, :, 0])
    assert (tasks == tasks[:, :1]).all()
    assert len(tasks[:, 0].unique()) == 4
    assert (task_of(context.observation[:, :, 0]) == tasks[:, :1]).all()


def test_phase_one_may_have_a_batch_of_its_own(offline, labelled):
    settings, phase = AlgorithmSettings(name="any", meta_batch=2, batch=8), Offline(batch=3)
    rng = np.random.default_rng(0)
    assert draw_offline(offline, rng, settings, phase)[1].reward.shape == (2, 3)
    assert draw_union(offline, labelled, rng, settings, SelfSupervised())[1].reward.shape == (2, 8)


def test_a_meta_batch_is_no_larger_than_the_tasks_there_are(offline):
    _, batch = draw_offline(
        offline, np.random.default_rng(0), AlgorithmSettings(name="any", meta_batch=50), Offline()
    )
    assert len(batch.reward) == TASKS


def test_tasks_may_be_drawn_with_replacement(offline):
    settings = AlgorithmSettings(name="any", meta_batch=50, repeat_tasks=True)
    context, batch = draw_offline(offline, np.random.default_rng(0), settings, Offline())
    tasks = task_of(batch.observation[:, 0, 0])
    assert len(tasks) == 50
    assert len(tasks.unique()) == TASKS
    assert (task_of(context.observation[:, 0, 0]) == tasks).all()


def union(offline, labelled, share, n=1):
    rng = np.random.default_rng(0)
    settings, phase = (
        AlgorithmSettings(name="any", meta_batch=2, batch=8),
        SelfSupervised(offline_share=share),
    )
    return [draw_union(offline, labelled, rng, settings, phase) for _ in range(n)]


@pytest.mark.parametrize(("share", "rows"), [(0.0, 0), (0.25, 2), (1.0, 8)])
def test_a_batch_has_its_share_of_offline_rows(offline, labelled, share, rows):
    ((_, batch),) = union(offline, labelled, share)
    values = batch.observation[:, :, 0]
    assert ((values < 1000).sum(dim=1) == rows).all()
    assert values.shape == (2, 8)


@pytest.mark.parametrize(
    ("share", "sources"), [(0.0, {False}), (0.4, {False, True}), (1.0, {True})]
)
def test_contexts_are_of_offline_data_as_often_as_its_share(offline, labelled, share, sources):
    drawn = [context.observation[:, :, 0] for context, _ in union(offline, labelled, share, 40)]
    assert {bool((values < 1000).all()) for values in drawn} == sources
    assert all((values < 1000).all() or (values >= 1000).all() for values in drawn)


def test_contexts_of_offline_data_alone_leave_the_batch_as_it_is(offline, labelled):
    settings, phase = AlgorithmSettings(name="any", meta_batch=2, batch=8), SelfSupervised()
    context = Context(source="transitions", size=(5, 5))
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn, batch = draw_union(offline, labelled, rng, settings, phase, context)
        assert drawn.reward.shape == (2, 5)
        assert (drawn.observation[:, :, 0] < 1000).all()
        assert ((batch.observation[:, :, 0] < 1000).sum(dim=1) == 2).all()
        assert (task_of(drawn.observation[:, :, 0]) == task_of(batch.observation[:, :1, 0])).all()


def test_a_context_and_its_batch_are_of_one_task_that_exploration_was_labelled_for(
    offline, labelled
):
    for context, batch in union(offline, labelled, 0.5, 20):
        tasks = task_of(batch.observation[:, :, 0])
        assert (tasks == tasks[:, :1]).all()
        assert (task_of(context.observation[:, :, 0]) == tasks[:, :1]).all()
        assert set(tasks[:, 0].tolist()) <= {1, 3, 4}


def test_the_same_generator_draws_the_same(offline, labelled):
    for one, other in zip(*(union(offline, labelled, 0.5, 3) for _ in range(2)), strict=True):
        for left, right in zip(one, other, strict=True):
            assert all((a == b).all() for a, b in zip(left[:5], right[:5], strict=True))
