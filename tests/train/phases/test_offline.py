from __future__ import annotations

import signal

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fieldtune.train.phases.offline import train_offline
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.checkpoint import load_checkpoint, read_facts
from fieldtune.train.runs.seeds import seed_everything
from fieldtune.train.runs.trained import after_offline
from fieldtune.train.runs.untrained import untrained, untrained_from_seed


class Killed(Exception):
    pass


def killed_after(updates):
    def on_update(done):
        if done == updates:
            raise Killed

    return on_update


def interrupted_at(update):
    def on_update(done):
        if done == update:
            signal.raise_signal(signal.SIGINT)

    return on_update


@pytest.fixture
def end_of(state):
    """Everything that a run's last checkpoint holds."""

    def read(run):
        learner, rng = untrained_from_seed(run, 1e-3, 0)
        load_checkpoint(run.offline_checkpoint, learner, rng)
        facts = read_facts(run.offline_checkpoint)
        return {
            **state(learner),
            "torch": torch.get_rng_state(),
            "numpy": str(rng.bit_generator.state),
            "facts": facts,
        }

    return read


@pytest.fixture
def never_stopped(make_run, end_of):
    run = make_run(folder="never stopped")
    train_offline(run)
    return end_of(run)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_stopped_after_k_updates_and_resumed_equals_never_stopped(
    make_run, end_of, never_stopped, same, k
):
    run = make_run(folder="stopped")
    train_offline(run, until=k)
    assert read_facts(run.offline_checkpoint)["updates"] == k
    torch.manual_seed(12345)  # another process has another random state
    np.random.default_rng(9)
    train_offline(run)
    assert same(end_of(run), never_stopped)


@pytest.mark.parametrize(("killed", "left"), [(1, None), (3, 2), (5, 4)])
def test_killed_between_checkpoints_and_resumed_equals_never_stopped(
    make_run, end_of, never_stopped, same, killed, left
):
    """`left`: the update that the last checkpoint before the kill is of."""
    run = make_run("offline.checkpoint_every=2", folder="killed")
    with pytest.raises(Killed):
        train_offline(run, on_update=killed_after(killed))
    assert run.offline_checkpoint.exists() == (left is not None)
    if left is not None:
        assert read_facts(run.offline_checkpoint)["updates"] == left
    train_offline(run)
    assert same(end_of(run), never_stopped)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_it_saves_the_update_under_way_and_goes_on_as_if_never_stopped(
    make_run, end_of, never_stopped, same
):
    run = make_run(folder="interrupted")
    with pytest.raises(KeyboardInterrupt):
        train_offline(run, on_update=interrupted_at(3))
    assert read_facts(run.offline_checkpoint)["updates"] == 3
    train_offline(run)
    assert same(end_of(run), never_stopped)


def test_signals_that_a_host_program_answers_itself_are_left_to_it(make_run):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("asked"))
    try:
        run = make_run(folder="hosted")
        train_offline(run, on_update=lambda _: signal.raise_signal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(heard) == read_facts(run.offline_checkpoint)["updates"]


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_waits_for_nothing(make_run):
    run = make_run("offline.checkpoint_every=2", folder="interrupted")

    def twice(done):
        for _ in range(2 if done == 3 else 0):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_offline(run, on_update=twice)
    assert read_facts(run.offline_checkpoint)["updates"] == 2


def test_phase_1_may_leave_the_average_of_its_weights_stopped_or_not(make_run, end_of, same):
    def weights(networks):
        return torch.cat([p.detach().flatten() for p in networks.parameters()])

    run = make_run("offline.average_rate=0.25", folder="averaged")
    expected = weights(untrained(seeded(run)).networks)
    for done in range(1, run.config.offline.updates + 1):
        train_offline(run, until=done)
        learner, rng = untrained_from_seed(run, 1e-3, 0)
        load_checkpoint(run.offline_checkpoint, learner, rng)
        expected = expected + 0.25 * (weights(learner.networks) - expected)
    torch.testing.assert_close(weights(train_offline(run).networks), expected)
    torch.testing.assert_close(weights(after_offline(run).networks), expected)
    torch.testing.assert_close(weights(SelfSupervisedPhase(run).average.networks), expected)
    whole = make_run("offline.average_rate=0.25", folder="whole")
    train_offline(whole)
    assert same(end_of(whole), end_of(run))
    assert torch.equal(weights(after_offline(whole).networks), weights(after_offline(run).networks))


def seeded(run):
    seed_everything(run.config.seed)
    return run


def test_a_checkpoint_comes_every_so_many_updates_and_at_the_end(make_run):
    run = make_run("offline.checkpoint_every=4")
    seen = []

    def look(_):
        path = run.offline_checkpoint
        seen.append(read_facts(path)["updates"] if path.exists() else 0)

    train_offline(run, on_update=look)
    assert seen == [0, 0, 0, 0, 4, 4]
    facts = read_facts(run.offline_checkpoint)
    assert (facts["updates"], facts["phase"]) == (6, "offline")


def test_a_run_that_is_done_does_nothing_more(make_run):
    run = make_run()
    train_offline(run)
    before = run.offline_checkpoint.stat().st_mtime_ns
    told = []
    train_offline(run, on_update=told.append)
    assert told == [6]
    assert run.offline_checkpoint.stat().st_mtime_ns == before


def test_updates_are_counted_from_where_the_run_stood(make_run):
    run = make_run()
    train_offline(run, until=4)
    told = []
    train_offline(run, on_update=told.append)
    assert told == [4, 5, 6]


def test_the_seed_decides_everything(make_run, end_of, never_stopped, same):
    again, other = make_run(folder="again"), make_run("seed=1", folder="other")
    for run in (again, other):
        train_offline(run)
    assert same(end_of(again), never_stopped)
    assert not same(end_of(other)["networks"], never_stopped["networks"])


@pytest.mark.usefixtures("curve_files_in_order")
def test_curves_of_a_resumed_run_have_each_update_once(make_run, monkeypatch):
    """Update 5 was drawn twice: before the kill, and again from the checkpoint of update 4."""
    monkeypatch.setattr("fieldtune.train.runs.curves.EVERY", 1)
    run = make_run("offline.checkpoint_every=2")
    with pytest.raises(Killed):
        train_offline(run, on_update=killed_after(5))
    train_offline(run)
    events = EventAccumulator(str(run.curves / "offline"))
    events.Reload()
    assert [event.step for event in events.Scalars("critic/loss")] == [1, 2, 3, 4, 5, 6]
