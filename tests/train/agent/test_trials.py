from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fieldtune.robot.config import ExplorationConfig
from fieldtune.robot.policy.exploration import ZSource
from fieldtune.robot.policy.posterior import GaussianPosterior
from fieldtune.train.agent.actor import Acting
from fieldtune.train.agent.trials import adapt_to, explore, run_episodes
from fieldtune.train.agent.units import context_of, to_training_units

TASKS = np.array([[0.5], [1.0], [2.5]])


@pytest.fixture(scope="module")
def simulator(short_family):
    simulator = short_family.simulator(3)
    yield simulator
    simulator.close()


@pytest.fixture
def run_three(agent, short_family, simulator):
    """One episode in each of three copies from the same start states."""

    def run(posterior=None, seed=0, **how):
        torch.manual_seed(seed)
        prior = torch.zeros(3, 3), torch.ones(3, 3)
        actor = agent.actor(*(posterior or prior), Acting(**{"noise": 0.0} | how))
        return run_episodes(actor, short_family, simulator, np.arange(3), TASKS)

    return run


def same_actions(one, other):
    return all(np.array_equal(a.actions, b.actions) for a, b in zip(one, other, strict=True))


def test_training_units_are_those_of_the_networks(agent, random_episodes):
    episode = random_episodes[0][0]
    scaled, constants = to_training_units(agent, episode), agent.normalisation
    back = scaled.observations * constants.observation_std + constants.observation_mean
    np.testing.assert_allclose(back, episode.observations, atol=1e-4)
    assert {a.dtype for a in (scaled.observations, scaled.actions, scaled.rewards)} == {
        np.dtype(np.float32)
    }
    assert np.abs(scaled.actions).max() <= 1
    np.testing.assert_allclose(
        scaled.rewards * constants.reward_std + constants.reward_mean, episode.rewards, atol=1e-5
    )


@pytest.mark.parametrize("terminated", [False, True])
def test_reaching_the_horizon_is_not_terminal(agent, random_episodes, terminated):
    episode = replace(random_episodes[0][0], terminated=terminated)
    assert to_training_units(agent, episode).terminated == terminated


def test_a_context_holds_every_transition_of_its_episodes(agent, random_episodes):
    context = context_of(agent, random_episodes[0][:2])
    assert context.observation.shape == (1, 40, 20)
    assert context.reward.shape == (1, 40)
    torch.testing.assert_close(context.observation[0, 1:20], context.next_observation[0, :19])


def test_nothing_seen_gives_the_prior_and_something_less_than_it(agent, random_episodes):
    actor = adapt_to(agent, [[], random_episodes[0][:1], random_episodes[0][:2]])
    mean, variance = actor.mean, actor.variance
    assert torch.equal(mean[0], torch.zeros(3))
    assert torch.equal(variance[0], torch.ones(3))
    assert (variance[1] < variance[0]).all()
    assert (variance[2] < variance[1]).all()


def test_the_mean_action_depends_on_z_alone(run_three):
    certain = torch.ones(3, 3), torch.full((3, 3), 1e-12)
    assert not same_actions(run_three(seed=0), run_three(seed=1))
    for one, other in zip(run_three(certain, 0), run_three(certain, 1), strict=True):
        np.testing.assert_allclose(one.actions, other.actions, atol=1e-3)
    assert not same_actions(run_three(certain, 0), run_three(certain, 0, noise=1.0))


def test_actions_are_as_noisy_as_asked(run_three):
    """In the first step, whose observation is the same: half the noise is half the way in atanh."""
    certain = torch.ones(3, 3), torch.full((3, 3), 1e-12)
    mean, half, full = (
        np.arctanh([episode.actions[0] for episode in run_three(certain, 0, noise=noise)])
        for noise in (0.0, 0.5, 1.0)
    )
    np.testing.assert_allclose(half - mean, 0.5 * (full - mean), atol=1e-4)
    assert np.abs(full - mean).max() > 0.1


def test_z_is_held_for_an_episode_or_drawn_at_each_step(run_three):
    held, redrawn = run_three(z_hold="episode"), run_three(z_hold="step")
    assert not same_actions(held, redrawn)
    twice = run_three(z_hold=4, noise=0.0)
    once = run_three(z_hold="episode", noise=0.0)
    for one, other in zip(once, twice, strict=True):
        np.testing.assert_array_equal(one.actions[:4], other.actions[:4])
        assert not np.array_equal(one.actions[4], other.actions[4])


@pytest.mark.parametrize("hold", ["episode", "step", 3])
def test_z_is_drawn_anew_when_the_robots_is(hold):
    config = ExplorationConfig.model_validate_json(f'{{"z_hold": {json.dumps(hold)}}}')
    source = ZSource(GaussianPosterior.prior(2), config.z_hold, np.random.default_rng(0))
    held = [tuple(source.next()) for _ in range(10)]
    acting = Acting.like_the_robot(config)
    drawn = [step for step in range(1, 10) if held[step] != held[step - 1]]
    assert drawn == [step for step in range(10) if acting.draws_at(step)]


def test_actions_stay_within_the_familys_bounds(run_three):
    assert all(np.abs(episode.actions).max() <= 1 for episode in run_three(noise=1.0))


def test_rewards_are_those_of_each_copys_task(run_three, short_family):
    for episode, task in zip(run_three(), TASKS, strict=True):
        s = episode.observations
        expected = short_family.reward(s[:-1], episode.actions, s[1:], task)
        np.testing.assert_array_equal(episode.rewards, expected)


@pytest.fixture
def trial(agent, short_family, simulator):
    def run(prior, posterior, relabel=None, seed=0, follows_rewards=False):
        torch.manual_seed(seed)
        return explore(
            agent,
            short_family,
            simulator,
            TASKS,
            np.random.default_rng(seed),
            prior_episodes=prior,
            posterior_episodes=posterior,
            acting=Acting(follows_rewards=follows_rewards),
            relabel=relabel,
        )

    return run


def test_exploration_without_rewards_follows_none(trial):
    with pytest.raises(ValueError, match="without rewards cannot follow them"):
        trial(2, 1, relabel=lambda episode, _: episode.rewards, follows_rewards=True)


def test_a_trial_has_its_episodes_in_each_copy(trial):
    assert [len(episodes) for episodes in trial(2, 1)] == [3, 3, 3]


def test_the_context_does_not_matter_to_episodes_from_the_prior(trial):
    plain = trial(2, 1)
    relabelled = trial(2, 1, relabel=lambda episode, _: np.full(episode.steps, 3.0))
    for one, other in zip(plain, relabelled, strict=True):
        assert same_actions(one[:2], other[:2])
        assert not same_actions(one[2:], other[2:])


def test_labels_are_asked_for_once_an_episode_and_replace_the_truth(trial):
    asked = []

    def relabel(episode, env):
        asked.append(env)
        return np.full(episode.steps, float(env))

    trials = trial(1, 2, relabel)
    assert asked == [0, 1, 2] * 3
    for env, episodes in enumerate(trials):
        assert all((episode.rewards == env).all() for episode in episodes)
