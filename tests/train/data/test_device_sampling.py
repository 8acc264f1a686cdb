"""Draws of torch's on a device follow the laws of numpy's, and give the same rows for the same
places. On the CPU here; what only a GPU's memory can show is skipped."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from fieldtune.train.config import AlgorithmSettings, Context, Offline, SelfSupervised
from fieldtune.train.data import sampling
from fieldtune.train.data.device_sampling import (
    draw_context,
    draw_offline,
    draw_union,
    meta_batch,
    transitions,
)
from fieldtune.train.data.replay import Lookahead, Replay, Trajectory
from fieldtune.train.data.resident_replay import ResidentReplay

CPU = torch.device("cpu")
LENGTHS = {0: (5, 9, 2), 1: (), 2: (4, 12), 3: (7,)}  # of each task's trajectories


def trajectory(first, length, ended=False):
    steps = np.arange(first, first + length + 1, dtype=np.float32)
    return Trajectory(
        observations=np.stack([steps, steps + 0.5], axis=1),
        actions=steps[:-1, None] / 50,
        rewards=np.sin(steps[:-1]),
        terminated=ended,
    )


def filled(lookahead=None, capacity=60, return_discount=None):
    """Observations count through all transitions, ten thousand times the task on."""
    replay = Replay(len(LENGTHS), capacity, 2, 1, lookahead, return_discount=return_discount)
    for task, lengths in LENGTHS.items():
        for index, length in enumerate(lengths):
            first = 1000 * task + 100 * index
            replay.add(task, trajectory(first, length, ended=index == 0))
    return replay


@pytest.fixture
def resident():
    torch.manual_seed(0)
    return ResidentReplay(filled(), CPU)


def numbers(batch):
    """Which transition each is, `(task, transition)`."""
    return batch.observation[..., 0].long()


def counted(context, task=0):
    """Those that belong to a context, as a list."""
    return numbers(context)[task][context.counted[task] > 0].tolist()


@pytest.mark.parametrize("lookahead", [None, Lookahead(3, 0.9)])
def test_the_same_rows_are_the_same_transitions(lookahead):
    replay = filled(lookahead)
    resident = ResidentReplay(replay, CPU)
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    tasks = [0, 3, 2]
    expected = replay.transitions(rng, tasks, 40)
    rows = torch.from_numpy(
        np.stack([replay._rows[t][again.integers(len(replay._rows[t]), size=40)] for t in tasks])
    )
    found = resident.gather(rows)
    assert all(torch.equal(a, b) for a, b in zip(found[:5], expected[:5], strict=True))
    if lookahead is not None:
        ahead = resident.look_ahead(rows, lookahead)
        for one, other in zip(ahead, expected.ahead, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_a_copy_follows_a_replay_that_grows_and_says_when_its_tables_do():
    replay = Replay(2, 60, 2, 1)
    replay.add(0, trajectory(0, 7))
    resident = ResidentReplay(replay, CPU)
    assert not resident.refresh()
    table, width = resident.rows, resident.shape.rows
    replay.add(0, trajectory(100, 1))  # eight rows: as many as the table has room for
    assert resident.refresh()  # a second trajectory: the other table had room for one
    assert resident.shape.rows == width
    replay.add(1, trajectory(1000, 3))
    assert resident.refresh(), "a task more is known"
    assert resident.rows is not table
    table = resident.rows
    replay.add(1, trajectory(1100, 2))
    assert not resident.refresh()
    assert resident.rows is table, "a graph reads where it read before"
    drawn = numbers(transitions(resident, torch.tensor([0, 1]), 400))
    assert set(drawn[0].tolist()) == {*range(7), 100}
    assert set(drawn[1].tolist()) == {1000, 1001, 1002, 1100, 1101}


def test_transitions_are_drawn_evenly_from_their_own_task(resident):
    drawn = numbers(transitions(resident, torch.tensor([2, 0]), 16_000))
    for task, found in zip((2, 0), drawn, strict=True):
        expected = [
            1000 * task + 100 * i + s for i, n in enumerate(LENGTHS[task]) for s in range(n)
        ]
        times = Counter(found.tolist())
        assert sorted(times) == expected
        assert max(times.values()) / min(times.values()) < 1.35


def test_meta_batches_are_different_tasks_with_data(resident):
    drawn = [tuple(meta_batch(resident, 2).tolist()) for _ in range(600)]
    assert all(len(set(tasks)) == 2 for tasks in drawn)
    times = Counter(task for tasks in drawn for task in tasks)
    assert sorted(times) == [0, 2, 3]
    assert max(times.values()) < 1.25 * min(times.values())
    assert sorted(meta_batch(resident, 8).tolist()) == [0, 2, 3]
    times = Counter(meta_batch(resident, 3000, repeat=True).tolist())
    assert sorted(times) == [0, 2, 3]
    assert max(times.values()) < 1.25 * min(times.values())


@pytest.mark.parametrize("source", ["transitions", "trajectories"])
def test_contexts_vary_in_length_and_repeat_rows_only_where_there_are_too_few(resident, source):
    settings = Context(source=source, trajectories=1, size=(3, 10))
    lengths = set()
    for _ in range(200):
        context = draw_context(resident, torch.tensor([0, 3]), settings)
        assert context.observation.shape == (2, 10, 2)
        for task in (0, 1):
            found = counted(context, task)
            lengths.add(len(found))
            known = 16 if task == 0 else 7
            if source == "transitions":
                assert (len(set(found)) == len(found)) == (len(found) <= known)
            assert {number // 1000 for number in found} == {0 if task == 0 else 3}
    assert lengths == set(range(3, 11))


def test_contexts_of_trajectories_come_from_so_many(resident):
    settings = Context(source="trajectories", trajectories=2, size=(12, 12))
    mixed = Counter()
    for _ in range(300):
        found = counted(draw_context(resident, torch.tensor([0]), settings))
        mixed[len({number // 100 for number in found})] += 1
    assert set(mixed) == {1, 2}
    assert mixed[1] / 300 == pytest.approx(0.5 + 0.5 / 3, abs=0.09)  # one, or the same one twice


@pytest.mark.parametrize("source", ["transitions", "trajectories"])
def test_both_ways_of_drawing_contexts_follow_one_law(source):
    """How often each transition is in a context, by either: within what chance allows."""
    replay, n = filled(), 3000
    settings = Context(source=source, trajectories=3, size=(2, 14))
    resident, rng = ResidentReplay(replay, CPU), np.random.default_rng(1)
    torch.manual_seed(1)
    ours, theirs = Counter(), Counter()
    for _ in range(n):
        ours.update(set(counted(draw_context(resident, torch.tensor([2]), settings))))
        drawn = sampling.draw_context(replay, rng, [2], settings)
        theirs.update(set(numbers(drawn)[0].tolist()))
    assert ours.keys() == theirs.keys()
    apart = [abs(ours[number] - theirs[number]) / n for number in theirs]
    assert max(apart) < 4.5 * (0.25 * 2 / n) ** 0.5


def test_an_offline_draw_has_the_shapes_of_its_settings(resident):
    phase = Offline(context=Context(source="transitions", size=(2, 5)))
    settings = AlgorithmSettings(name="any", meta_batch=2, batch=6)
    context, batch = draw_offline(resident, settings, phase)
    assert context.observation.shape == (2, 5, 2)
    assert batch.observation.shape == (2, 6, 2)
    assert batch.counted is None
    own = torch.stack([numbers(context)[:, 0] // 1000, numbers(batch)[:, 0] // 1000])
    assert torch.equal(own[0], own[1]), "both are of the same tasks"
    _, wider = draw_offline(resident, settings, phase.model_copy(update={"batch": 9}))
    assert wider.observation.shape == (2, 9, 2)


def test_a_union_has_its_share_of_offline_rows_and_its_context_from_either(resident):
    explored = Replay(len(LENGTHS), 60, 2, 1)
    explored.add(2, trajectory(2500, 9))
    labelled = ResidentReplay(explored, CPU)
    settings = AlgorithmSettings(name="any", meta_batch=3, batch=8)
    phase = SelfSupervised(offline_share=0.25, context=Context(source="transitions", size=(2, 5)))
    for offline in (True, False):
        context, batch = draw_union(resident, labelled, settings, phase, context_offline=offline)
        assert (numbers(batch)[:, :2] < 2500).all()
        assert (numbers(batch)[:, 2:] >= 2500).all()
        assert batch.observation.shape == (1, 8, 2)
        assert ((numbers(context) < 2500) == offline).all()
    longer = Context(source="transitions", size=(7, 7))
    context, _ = draw_union(resident, labelled, settings, phase, longer, context_offline=True)
    assert context.observation.shape == (1, 7, 2)
    assert (numbers(context) < 2500).all()


def test_draws_look_to_their_ends_as_the_replays_do():
    replay = filled(return_discount=0.9)
    resident = ResidentReplay(replay, CPU)
    tasks = torch.tensor([0, 2])
    context = draw_context(resident, tasks, Context(source="transitions", size=(5, 5)))
    for batch in (transitions(resident, tasks, 30), context):
        known = replay.transitions(np.random.default_rng(0), [0, 2], 400)
        for task in range(2):
            rows = {int(n): i for i, n in enumerate(known.observation[task, :, 0])}
            same = [rows[int(n)] for n in batch.observation[task, :, 0]]
            for ours, theirs in zip(batch.to_end, known.to_end, strict=True):
                torch.testing.assert_close(ours[task], theirs[task, same])
    assert transitions(ResidentReplay(filled(), CPU), tasks, 3).to_end is None
