from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fieldtune.train.phases.labelling import decoded_rewards
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.checkpoint import CheckpointError, load_checkpoint
from fieldtune.train.runs.run import RunError
from fieldtune.train.runs.trained import after_offline
from fieldtune.train.runs.untrained import untrained


@pytest.fixture
def episodes(random_episodes):
    """Ten of twenty steps."""
    return random_episodes[0][:10]


@pytest.fixture
def end_of(state):
    def read(phase):
        return {
            **state(phase.learner),
            "average": dict(phase.average.networks.state_dict()),
            "torch": torch.get_rng_state(),
            "numpy": str(phase.rng.bit_generator.state),
            "labelled": {n: torch.from_numpy(a) for n, a in phase.labelled.arrays().items()},
            "updates": phase.updates,
        }

    return read


def take_in(phase, episodes):
    """Episodes of robots that had no task in mind."""
    phase.add_unlabelled(episodes, [None] * len(episodes))


def advance(phase, updates):
    for _ in range(updates):
        phase.update()


AUTHORS = ("self_supervised.offline_share=pooled", "self_supervised.keep_optimisers=true")


@pytest.mark.parametrize("overrides", [(), AUTHORS], ids=["ours", "pooled, with Adam's state"])
def test_a_phase_saved_and_restored_goes_on_as_if_never_stopped(
    make_trained, tmp_path, episodes, end_of, same, overrides, monkeypatch
):
    phase = SelfSupervisedPhase(make_trained(*overrides))
    take_in(phase, episodes[:4])
    advance(phase, 3)
    phase.facts = {"episodes": ["a", "b"]}
    phase.save(tmp_path / "phase.safetensors")
    held = load_file(tmp_path / "phase.safetensors")
    assert len(held["array.labelled.reward"]) == 80  # and none of the offline data
    take_in(phase, episodes[4:])
    advance(phase, 3)
    expected = end_of(phase)

    torch.manual_seed(999)
    resumed = SelfSupervisedPhase(phase.run)
    take_in(resumed, episodes[7:])  # what it did before is not kept
    resumed.restore(tmp_path / "phase.safetensors")
    assert resumed.facts["episodes"] == ["a", "b"]
    assert (resumed.updates, resumed.steps) == (3, 80)
    take_in(resumed, episodes[4:])
    advance(resumed, 3)
    assert same(end_of(resumed), expected)

    whole = phase.labelled.arrays()  # as earlier versions wrote it, offline data and all
    monkeypatch.setattr(phase.labelled, "arrays", lambda _: whole)
    phase.save(tmp_path / "earlier.safetensors")
    resumed.restore(tmp_path / "earlier.safetensors")
    assert resumed.labelled.size == phase.labelled.size


def test_it_starts_from_the_offline_agent(make_trained, make_run, same):
    run = make_trained()
    phase = SelfSupervisedPhase(run)
    assert same(
        dict(phase.average.networks.state_dict()), dict(after_offline(run).agent.state_dict())
    )
    with pytest.raises(CheckpointError, match="run `fieldtune train` first"):
        SelfSupervisedPhase(make_run(folder="untrained"))


def test_in_a_pool_every_task_is_trained_on_and_contexts_mix(make_trained, episodes, monkeypatch):
    """One episode, of one task, beside the offline data of six."""
    mixing = "self_supervised.context={source: transitions, size: [40, 40]}"
    phase = SelfSupervisedPhase(make_trained(AUTHORS[0], mixing, "inference=encoder"))
    assert (phase.steps, phase.labelled.size) == (0, phase.offline.size)
    elsewhere = replace(episodes[0], observations=episodes[0].observations + 1e-3)
    phase.add_unlabelled([elsewhere], [2])
    assert phase.steps == 20
    explored = {row.tobytes() for row in phase.labelled.arrays()["observation"][-20:]}
    shares = {"context": [], "batch": []}  # of exploration, by update and task
    update = phase.learner.self_supervised_update

    def noted(context, batch, *settings, **options):
        for name, part in (("context", context), ("batch", batch)):
            rows = part.observation.numpy()
            shares[name].append([[row.tobytes() in explored for row in task] for task in rows])
        return update(context, batch, *settings, **options)

    monkeypatch.setattr(phase.learner, "self_supervised_update", noted)
    advance(phase, 12)
    for found in (np.mean(known, axis=2) for known in shares.values()):
        assert found.shape == (12, 3)
        assert ((found > 0).sum(axis=1) <= 1).all()
        assert 0 < found.max() < 1


def test_adams_states_are_phase_ones_where_they_are_kept(make_trained, same):
    run = make_trained(AUTHORS[1])
    learned = untrained(run)
    load_checkpoint(run.offline_checkpoint, learned, np.random.default_rng())
    phase, fresh = SelfSupervisedPhase(run), SelfSupervisedPhase(make_trained(folder="fresh"))
    for name, one in phase.learner.optimisers.items():
        assert one.state_dict()["state"]
        assert same(one.state_dict()["state"], learned.optimisers[name].state_dict()["state"])
        assert one.param_groups[0]["lr"] == run.config.self_supervised.learning_rate
        assert not fresh.learner.optimisers[name].state_dict()["state"]


def test_the_average_follows_at_its_rate(make_trained, episodes):
    phase = SelfSupervisedPhase(make_trained("self_supervised.average_rate=0.3"))
    take_in(phase, episodes)
    before = [parameter.clone() for parameter in phase.average.networks.parameters()]
    phase.update()
    now = phase.learner.agent.parameters()
    for old, average, new in zip(before, phase.average.networks.parameters(), now, strict=True):
        torch.testing.assert_close(average, 0.7 * old + 0.3 * new)


def test_true_rewards_are_never_looked_at(make_trained, episodes, same, end_of):
    """Whatever reward an episode carries, what is kept is the decoder's."""
    ends = []
    for index, rewards in enumerate((np.full(20, np.nan), np.full(20, 1e9))):
        phase = SelfSupervisedPhase(make_trained(folder=str(index)))
        take_in(phase, [_with(episode, rewards) for episode in episodes])
        advance(phase, 2)
        ends.append(end_of(phase))
    assert np.isfinite(ends[0]["labelled"]["reward"]).all()
    assert same(*ends)


def _with(episode, rewards):
    return replace(episode, rewards=rewards)


def test_labels_are_the_frozen_decoders_for_a_z_of_the_task_drawn(make_trained, episodes):
    phase = SelfSupervisedPhase(make_trained())
    rng = np.random.default_rng()
    rng.bit_generator.state = phase.rng.bit_generator.state
    torch.manual_seed(4)
    take_in(phase, episodes[:1])
    (kept,) = phase.labelled.arrays()["trajectories"]
    task = int(rng.integers(6, size=1)[0])
    assert kept.tolist() == [task, 0, 20]
    torch.manual_seed(4)
    phase.rng = rng
    z = phase.embeddings([task])[0]
    constants = phase.average.normalisation
    label = decoded_rewards(phase.average.agent, episodes[0], z)
    expected = (label - constants.reward_mean) / constants.reward_std
    np.testing.assert_allclose(phase.labelled.arrays()["reward"], expected, atol=1e-6)


def test_an_episode_is_labelled_for_the_task_that_its_robot_had_in_mind(make_trained, episodes):
    phase = SelfSupervisedPhase(make_trained())
    phase.add_unlabelled(episodes[:4], [5, 0, 5, 2])
    assert phase.labelled.arrays()["trajectories"][:, 0].tolist() == [5, 0, 5, 2]


@pytest.mark.parametrize("unknown", [None, -1, 6, 10**9])
def test_a_task_that_there_is_not_is_drawn_among_those_there_are(make_trained, episodes, unknown):
    phase = SelfSupervisedPhase(make_trained())
    phase.add_unlabelled(episodes, [unknown] * 10)
    assert set(phase.labelled.arrays()["trajectories"][:, 0]) <= set(range(6))
    assert len(phase.labelled.tasks_with_data) > 1


@pytest.mark.parametrize(
    ("given", "allowed"), [(1, 0), (2, 1), (5, 4), (10, 8)], ids=lambda value: str(value)
)
def test_updates_wait_for_the_first_steps_and_then_keep_step_with_the_data(
    make_trained, episodes, given, allowed
):
    """8 updates over 200 steps, none before 40."""
    phase = SelfSupervisedPhase(make_trained())
    take_in(phase, episodes[:given])
    assert (phase.steps, phase.allowed_updates) == (20 * given, allowed)
    assert phase.full == (given == 10)


@pytest.mark.parametrize(
    ("override", "allowed", "full"),
    [
        ("self_supervised.updates=80", 40, False),
        ("self_supervised.first_steps=101", 0, False),
        ("self_supervised.steps=100", 8, True),
    ],
)
def test_how_fast_updates_come_is_set_by_three_keys(
    make_trained, episodes, override, allowed, full
):
    phase = SelfSupervisedPhase(make_trained(override))
    take_in(phase, episodes[:5])
    assert (phase.allowed_updates, phase.full) == (allowed, full)


def test_a_last_episode_that_goes_beyond_the_steps_still_fits(make_trained, episodes):
    phase = SelfSupervisedPhase(make_trained("self_supervised.steps=110"))
    for episode in episodes:
        if not phase.full:
            take_in(phase, [episode])
    assert phase.steps == 120


@pytest.mark.parametrize("true_rewards", [False, True], ids=["self-labelled", "oracle"])
def test_a_trajectory_with_three_labels_is_data_of_three_tasks_and_counts_once(
    make_trained, episodes, true_rewards
):
    phase = SelfSupervisedPhase(make_trained("self_supervised.labels=3"), true_rewards=true_rewards)
    phase.add(5, episodes[0])
    assert (phase.steps, phase.labelled.size) == (20, 60)
    stored = phase.labelled.arrays()
    tasks = stored["trajectories"][:, 0]
    assert tasks[0] == 5
    observations = stored["observation"].reshape(3, 20, -1)
    assert (observations == observations[0]).all()
    if true_rewards:
        constants, s = phase.average.normalisation, episodes[0].observations
        for task, found in zip(tasks[1:], stored["reward"].reshape(3, 20)[1:], strict=True):
            parameters = phase.run.dataset.train_tasks[task]
            expected = phase.run.family.reward(s[:-1], episodes[0].actions, s[1:], parameters)
            expected = (expected - constants.reward_mean) / constants.reward_std
            np.testing.assert_allclose(found, expected, atol=1e-5)
    else:
        assert len({rewards.tobytes() for rewards in stored["reward"].reshape(3, 20)}) == 3


def test_with_several_labels_the_last_episode_still_fits(make_trained, episodes):
    phase = SelfSupervisedPhase(
        make_trained("self_supervised.steps=110", "self_supervised.labels=3")
    )
    for episode in episodes:
        if not phase.full:
            take_in(phase, [episode])
    assert (phase.steps, phase.labelled.size) == (120, 360)


def test_a_label_that_is_no_number_never_joins_the_data(make_trained, episodes):
    """As spoilt weights give it: of a plausible episode."""
    phase = SelfSupervisedPhase(make_trained())
    with torch.no_grad():
        next(phase.learner.agent.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(RunError, match=r"the reward of step 0 for training task \d is nan by the"):
        take_in(phase, episodes[:1])
    assert phase.steps == 0
