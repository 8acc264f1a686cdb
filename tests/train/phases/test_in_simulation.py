from __future__ import annotations

import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from fieldtune.sim.locomotion.cheetah_vel import CheetahVelFamily
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.checkpoint import read_facts
from fieldtune.train.runs.run import RunError


class Killed(Exception):
    pass


def killed_after(updates):
    def on_update(done):
        if done == updates:
            raise Killed

    return on_update


def contents(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def equal(one, other):
    (header, tensors), (other_header, others) = contents(one), contents(other)
    return (
        header == other_header
        and tensors.keys() == others.keys()
        and all(torch.equal(tensors[name], others[name]) for name in tensors)
    )


MANY = "self_supervised.steps=1200", "self_supervised.first_steps=600"


@pytest.mark.parametrize("true_rewards", [True, False], ids=["oracle", "self-labelled"])
def test_killed_at_any_update_and_resumed_equals_never_stopped(make_trained, true_rewards):
    """Its data, gathered in two rounds with an update between, included; on whatever cores."""
    whole = make_trained(*MANY, "workers=1", folder="whole")
    train_in_process(whole, whole.oracle_checkpoint, true_rewards=true_rewards)
    for killed in (1, 4, 7):
        run = make_trained(*MANY, "workers=3", folder=f"killed after {killed}")
        with pytest.raises(Killed):
            train_in_process(
                run,
                run.oracle_checkpoint,
                true_rewards=true_rewards,
                on_update=killed_after(killed),
            )
        torch.manual_seed(killed)
        train_in_process(run, run.oracle_checkpoint, true_rewards=true_rewards)
        assert equal(run.oracle_checkpoint, whole.oracle_checkpoint)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_it_saves_and_goes_on_as_if_never_stopped(make_trained):
    whole = make_trained(*MANY, folder="whole")
    train_in_process(whole, whole.oracle_checkpoint, true_rewards=False)
    run = make_trained(*MANY, folder="interrupted")

    def at(done):
        if done == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_in_process(run, run.oracle_checkpoint, true_rewards=False, on_update=at)
    assert read_facts(run.oracle_checkpoint)["updates"] == 4
    train_in_process(run, run.oracle_checkpoint, true_rewards=False)
    assert equal(run.oracle_checkpoint, whole.oracle_checkpoint)


def test_a_finished_one_is_left_as_it_is(make_trained):
    run = make_trained(*MANY)
    train_in_process(run, run.oracle_checkpoint, true_rewards=True)
    before = run.oracle_checkpoint.stat()
    phase = train_in_process(run, run.oracle_checkpoint, true_rewards=True)
    assert phase.updates == run.config.self_supervised.updates
    assert run.oracle_checkpoint.stat() == before


def test_checkpoints_come_every_so_many_updates_and_at_the_end(make_trained):
    run = make_trained()
    seen = []

    def look(_):
        path = run.oracle_checkpoint
        seen.append(read_facts(path)["updates"] if path.exists() else 0)

    train_in_process(run, run.oracle_checkpoint, true_rewards=True, on_update=look)
    assert seen == [0, 0, 0, 3, 3, 3, 6, 6]
    assert read_facts(run.oracle_checkpoint)["updates"] == 8


def test_the_oracle_learns_from_true_rewards(make_trained):
    run = make_trained()
    phase = train_in_process(run, run.oracle_checkpoint, true_rewards=True)
    constants, held = phase.average.normalisation, phase.labelled.arrays()
    tasks = np.empty((phase.steps, 1))
    for task, start, length in held["trajectories"]:
        tasks[start : start + length] = run.dataset.train_tasks[task]
    s, s_next = (
        held[name] * constants.observation_std + constants.observation_mean
        for name in ("observation", "next_observation")
    )
    a = held["action"] * constants.action_half_range + constants.action_centre
    found = held["reward"] * constants.reward_std + constants.reward_mean
    low, high = constants.observation_low, constants.observation_high
    clipped = [
        ((held[name] == low) | (held[name] == high)) & (low < high)
        for name in ("observation", "next_observation")
    ]
    inside = ~np.any(clipped, axis=(0, 2))  # what is clipped cannot be taken back
    assert inside.mean() > 0.9
    expected = run.family.reward(s, a, s_next, tasks)
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-2)


def test_phase_two_stops_collecting_at_its_steps(make_trained):
    run = make_trained("self_supervised.steps=250")
    phase = train_in_process(run, run.finetune_checkpoint, true_rewards=False)
    assert phase.full
    assert phase.steps == 260  # a whole number of episodes of twenty steps


def test_exploration_is_as_noisy_as_the_robots(make_trained):
    found = []
    for noise in (0.0, 1.0):
        run = make_trained(
            *MANY, f"robot.exploration.action_noise={noise}", folder=f"noise {noise}"
        )
        phase = train_in_process(run, run.oracle_checkpoint, true_rewards=True)
        found.append(phase.labelled.arrays()["action"])
    assert found[0].shape == found[1].shape
    assert not np.allclose(*found)


def test_exploration_infers_by_what_the_run_asks_for(make_trained):
    """In the first episodes it draws z in another way, and after them it knows something else."""
    found = {}
    for inference in ("encoder", "likelihood"):
        run = make_trained(*MANY, f"inference={inference}", folder=inference)
        phase = train_in_process(run, run.finetune_checkpoint, true_rewards=False)
        found[inference] = phase.labelled.arrays()["action"]
    assert found["encoder"].shape == found["likelihood"].shape
    assert not np.allclose(found["encoder"], found["likelihood"])


@pytest.mark.parametrize(("kept", "labels"), [("trial", 1), ("trajectory", 2)])
def test_the_z_that_labels_is_a_trials_or_a_trajectorys(make_trained, monkeypatch, kept, labels):
    """Of each simulated robot's two episodes."""
    used = []
    label = SelfSupervisedPhase.label

    def noted(self, episode, z):
        used.append(tuple(z.tolist()))
        return label(self, episode, z)

    monkeypatch.setattr(SelfSupervisedPhase, "label", noted)
    run = make_trained(f"self_supervised.label_z={kept}")
    train_in_process(run, run.finetune_checkpoint, true_rewards=False, trials_at_once=4)
    first, second = used[:4], used[4:8]
    assert len(set(first)) == 4
    assert len({*first, *second}) == 4 * labels


def test_posterior_episodes_may_follow_the_tasks_own_buffer(make_trained, monkeypatch):
    """Those from the prior are as they were; the others follow what the buffer says."""
    asked, held = [], {}
    buffered = SelfSupervisedPhase.buffered

    def noted(self, tasks):
        asked.append(buffered(self, tasks))
        return asked[-1]

    monkeypatch.setattr(SelfSupervisedPhase, "buffered", noted)
    for source in ("trial", "buffer"):
        run = make_trained(
            "inference=encoder",
            "self_supervised.offline_share=pooled",
            f"self_supervised.posterior_from={source}",
            folder=source,
        )
        phase = train_in_process(run, run.finetune_checkpoint, true_rewards=False, trials_at_once=5)
        held[source] = phase.labelled.arrays()["action"][phase.offline.size :]
    trial, buffer = (held[source].reshape(-1, 20, 6) for source in ("trial", "buffer"))
    assert np.array_equal(trial[0], buffer[0])
    assert not np.allclose(trial[1], buffer[1])
    assert [batch.reward.shape for (batch,) in asked] == [(5, 16)]


class Glitching(CheetahVelFamily):
    """In each batch of copies, those whose index is in `broken` show an absurd velocity."""

    def __init__(self, broken):
        self._broken = broken

    @property
    def horizon(self):
        return 20

    def simulator(self, n_envs, threads=1):
        simulator, broken = super().simulator(n_envs, threads), self._broken
        step = simulator.step

        def glitching(actions):
            observations, done = step(actions)
            observations = observations.copy()
            observations[broken, 11] = 1e30
            return observations, done

        simulator.step = glitching
        return simulator


@pytest.mark.parametrize("true_rewards", [True, False], ids=["oracle", "self-labelled"])
def test_a_simulated_episode_with_an_absurd_number_is_not_learned_from(
    make_trained, caplog, true_rewards
):
    run = replace(make_trained(), family=Glitching([0]))
    phase = train_in_process(
        run, run.oracle_checkpoint, true_rewards=true_rewards, trials_at_once=4
    )
    assert "a simulated episode is not learned from: observation 'joint_velocity'[0]" in caplog.text
    assert np.abs(phase.labelled.arrays()["next_observation"]).max() < 1e3
    assert all(
        torch.isfinite(tensor).all() for tensor in phase.average.networks.state_dict().values()
    )


def test_where_no_simulated_episode_can_be_learned_from_it_ends_and_says_why(make_trained):
    run = replace(make_trained(), family=Glitching(slice(None)))
    with pytest.raises(RunError, match=r"none of 4 simulated trials .*'joint_velocity'\[0\] at"):
        train_in_process(run, run.oracle_checkpoint, true_rewards=True, trials_at_once=4)
