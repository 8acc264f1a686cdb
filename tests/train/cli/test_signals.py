"""Signals and varying dynamics, from the simulator through data and networks to a robot's log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.episodes.episode import (
    EndReason,
    Episode,
    EpisodeFooter,
    EpisodeHeader,
    Mode,
    Step,
)
from fieldtune.sim.family import MissingSignals
from fieldtune.sim.locomotion.ant_dir import AntDirFamily
from fieldtune.sim.locomotion.hopper_params import HopperParamsFamily
from fieldtune.sim.rollout import LabelledEpisode, rollout
from fieldtune.train.agent.actor import Acting
from fieldtune.train.agent.trials import explore
from fieldtune.train.collecting.agent_replay import collect_replay
from fieldtune.train.config import AgentReplay
from fieldtune.train.data.dataset import DatasetError, read_dataset, write_dataset
from fieldtune.train.data.robot_episode import as_trajectory
from fieldtune.train.runs.bundles import Exporter
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.seeds import seed_everything
from fieldtune.train.runs.untrained import untrained

FAMILY = HopperParamsFamily()


def episodes_of(tasks) -> list[LabelledEpisode]:
    rng = np.random.default_rng(0)
    simulator = FAMILY.simulator(len(tasks))
    made = rollout(
        simulator,
        FAMILY,
        lambda seen: rng.uniform(-1, 1, (len(seen), 3)),
        np.arange(len(tasks)),
        tasks,
    )
    simulator.close()
    return made


@pytest.fixture(scope="module")
def hopper_data(tmp_path_factory):
    """One random episode of every task of hopper-params."""
    folder = tmp_path_factory.mktemp("hopper") / "data"
    split = FAMILY.split()
    made = {"train": episodes_of(split.train), "test": episodes_of(split.test)}
    write_dataset(folder, FAMILY, **made, how={"policy": "random"})
    return folder


def run_on(folder, tmp_path, write_config) -> Run:
    config = load_config(
        write_config(tmp_path / "run.yaml"),
        overrides=["family=hopper-params", "robot.family=hopper-params", f"data.path={folder}"],
    )
    return Run(config, tmp_path / "run", FAMILY, read_dataset(folder, FAMILY))


def test_a_dataset_keeps_what_its_rewards_need(hopper_data):
    data = read_dataset(hopper_data, FAMILY)
    for task, (episode,) in zip(data.train_tasks, data.train, strict=True):
        parts = episode.observations[:-1], episode.actions, episode.observations[1:]
        rewards = FAMILY.reward(*parts, task, episode.signals)
        np.testing.assert_allclose(episode.rewards, rewards, atol=1e-12)


def test_data_without_their_signals_are_not_written(tmp_path):
    bare = [replace(episode, signals=None) for episode in episodes_of(FAMILY.split().train[:1])]
    with pytest.raises(MissingSignals, match="mean_forward_velocity"):
        write_dataset(tmp_path / "data", FAMILY, train=bare, test=[], how={})
    assert not (tmp_path / "data").exists()


def test_data_with_other_signals_are_refused(hopper_data):
    class Renamed(HopperParamsFamily):
        @property
        def signal_fields(self):
            return AntDirFamily().signal_fields

    with pytest.raises(DatasetError, match=r"signal_fields are .*mean_forward_velocity"):
        read_dataset(hopper_data, Renamed())


@pytest.mark.parametrize("varies", [True, False])
def test_the_encoder_sees_the_next_observation_where_dynamics_vary(
    hopper_data, tmp_path, write_config, varies
):
    run = run_on(hopper_data, tmp_path, write_config)
    if not varies:

        class Alike(HopperParamsFamily):
            dynamics_vary = False

        run = replace(run, family=Alike())
    seed_everything(0)
    agent = untrained(run).agent
    replay = offline_replay(run, agent)
    context = replay.context(np.random.default_rng(0), [0, 1], 8, None)
    elsewhere = context._replace(next_observation=context.next_observation + 1)
    moved = (agent.infer(context)[0] - agent.infer(elsewhere)[0]).abs().max()
    assert (float(moved.detach()) > 0) == varies


def test_the_bundle_says_that_the_context_holds_the_next_observation(
    hopper_data, tmp_path, write_config
):
    run = run_on(hopper_data, tmp_path, write_config)
    seed_everything(0)
    path = tmp_path / "hopper.bundle"
    Exporter(run, untrained(run)).write(path, phase="offline", updates=0)
    assert read_bundle(path).manifest.context_has_next_observation


def test_exploration_with_other_rewards_keeps_the_signals(hopper_data, tmp_path, write_config):
    run = run_on(hopper_data, tmp_path, write_config)
    seed_everything(0)
    simulator = FAMILY.simulator(2)
    trials = explore(
        untrained(run).agent,
        FAMILY,
        simulator,
        FAMILY.split().train[:2],
        np.random.default_rng(0),
        prior_episodes=1,
        posterior_episodes=1,
        acting=Acting(),
        relabel=lambda episode, _: np.ones(episode.steps),
    )
    simulator.close()
    for episode in (episode for trial in trials for episode in trial):
        assert (episode.rewards == 1).all()
        assert episode.signals.shape == (episode.steps, 1)


def test_an_agent_told_the_task_learns_where_the_reward_needs_signals():
    few = AgentReplay(rounds=1, updates_per_round=2)
    data = collect_replay(FAMILY, 0, 1, few)
    assert len(data.train) == 40
    assert all(len(episode.signals) == episode.steps for episode in data.train)


def test_transitions_of_one_body_are_never_passed_off_as_anothers(monkeypatch):
    asked = []
    reward = HopperParamsFamily.reward

    def watched(self, observation, action, following, task, signals=None):
        asked.append((observation, task))
        return reward(self, observation, action, following, task, signals)

    monkeypatch.setattr(HopperParamsFamily, "reward", watched)
    data = collect_replay(FAMILY, 0, 1, AgentReplay(rounds=1, updates_per_round=2))
    tasks = FAMILY.split().train
    owner = {
        row.tobytes(): episode.task_index for episode in data.train for row in episode.observations
    }
    drawn = [
        (owner[row.tobytes()], task)
        for observations, given in asked
        if given.shape == (len(observations), tasks.shape[1])
        for row, task in zip(observations, given, strict=True)
        if row.tobytes() in owner
    ]
    assert len(drawn) > 100
    assert all(np.array_equal(tasks[index], task) for index, task in drawn)


def log_of(episode: LabelledEpisode, *, measured: bool = True, whole: bool = True) -> Episode:
    """What a robot would have logged of `episode`."""
    unmeasured = EpisodeFooter(end_reason=EndReason.HORIZON, steps=0, final_observation=[])
    rows = [unmeasured.final_signals] * (episode.steps + 1)
    if measured:
        rows[1:] = [row.tolist() for row in episode.signals]
    steps = [
        Step(
            index=index,
            sense_ns=index,
            observation=episode.observations[index].tolist(),
            observation_age_ns=0,
            requested=action.tolist(),
            applied=action.tolist(),
            reason="",
            z=[0.0],
            infer_ns=0,
            apply_ns=0,
            overrun=False,
            signals=rows[index],
        )
        for index, action in enumerate(episode.actions)
    ]
    header = EpisodeHeader("r", FAMILY.name, "b", 1, 1, "i", Mode.PRIOR, 0, 0, 0.008)
    footer = EpisodeFooter(
        end_reason=EndReason.TERMINATED if whole else EndReason.INTERRUPTED,
        steps=len(steps),
        final_observation=episode.observations[-1].tolist(),
        final_signals=rows[-1] if whole else unmeasured.final_signals,
    )
    return Episode(header, steps, footer)


@pytest.mark.parametrize("whole", [True, False])
def test_a_robots_log_can_be_scored_offline(whole):
    tasks = FAMILY.split().test[:1]
    (episode,) = episodes_of(tasks)
    logged = as_trajectory(log_of(episode, whole=whole))
    rewards = FAMILY.reward(
        logged.observations[:-1], logged.actions, logged.observations[1:], tasks[0], logged.signals
    )
    assert len(rewards) == episode.steps - (not whole)
    np.testing.assert_array_equal(rewards, episode.rewards[: len(rewards)])


def test_a_log_without_signals_is_still_a_trajectory():
    (episode,) = episodes_of(FAMILY.split().test[:1])
    logged = as_trajectory(log_of(episode, measured=False))
    assert logged.signals is None
    np.testing.assert_array_equal(logged.observations, episode.observations)
