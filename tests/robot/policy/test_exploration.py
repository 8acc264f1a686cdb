"""The exploration schedule: a function of the logged seed and the episode's number."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fieldtune.robot.config import ExplorationConfig, ZHold
from fieldtune.robot.episodes.episode import Mode
from fieldtune.robot.policy.exploration import Draws, Exploration, ZSource
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.posterior import GaussianPosterior

EMBEDDINGS = np.arange(12.0).reshape(6, 2)


def exploration(prior=2, posterior=2, hold=ZHold.EPISODE, seed=0) -> Exploration:
    settings = ExplorationConfig(prior_episodes=prior, posterior_episodes=posterior, z_hold=hold)
    return Exploration(settings, seed, EMBEDDINGS, GaussianPosterior.prior(2))


@given(st.integers(1, 4), st.integers(0, 4), st.integers(1, 10**6))
def test_a_trial_is_prior_episodes_then_posterior_ones(prior, posterior, first):
    schedule = exploration(prior, posterior)
    length = prior + posterior
    for number in range(first, first + 3 * length):
        plan = schedule.plan(number)
        within = (number - first) % length
        assert plan.mode is (Mode.PRIOR if within < prior else Mode.POSTERIOR)
        assert plan.trial == number - within
        schedule.finish()


def test_one_embedding_labels_a_whole_trial_and_trials_differ():
    schedule = exploration()
    labels = []
    for number in range(1, 161):
        labels.append(tuple(schedule.plan(number).label_z))
        schedule.finish()
    by_trial = [set(labels[start : start + 4]) for start in range(0, 160, 4)]
    assert all(len(trial) == 1 for trial in by_trial)
    assert set.union(*by_trial) == {tuple(row) for row in EMBEDDINGS}


def test_context_lasts_a_trial_and_no_longer():
    schedule = exploration(1, 1)
    schedule.plan(1)
    schedule.learn(schedule.posterior.update(np.array([3.0, 3.0]), np.array([0.1, 0.1])))
    schedule.finish()
    schedule.plan(2)
    assert (schedule.posterior.mean > 2).all()
    schedule.finish()
    schedule.plan(3)
    assert schedule.posterior.mean.tolist() == [0.0, 0.0]


def test_prior_episodes_ignore_the_context_and_posterior_ones_follow_it():
    schedule = exploration(2, 1)
    far = np.array([50.0, 50.0])
    plan = schedule.plan(1)
    schedule.learn(schedule.posterior.update(far, np.array([1e-6, 1e-6])))
    assert np.abs(schedule.z_source(plan, Draws(0, 1).z).next()).max() < 10
    schedule.finish()
    schedule.plan(2)
    schedule.finish()
    plan = schedule.plan(3)
    np.testing.assert_allclose(schedule.z_source(plan, Draws(0, 3).z).next(), far, atol=0.1)


def test_restart_begins_a_new_trial_with_the_new_embeddings():
    schedule = exploration()
    schedule.plan(1)
    schedule.finish()
    schedule.restart(np.full((1, 3), 7.0), GaussianPosterior.prior(3))
    plan = schedule.plan(2)
    assert (plan.trial, plan.mode, plan.label_z.tolist()) == (2, Mode.PRIOR, [7.0] * 3)
    assert len(schedule.posterior.mean) == 3


def test_planning_again_before_the_end_changes_nothing():
    schedule = exploration()
    one, other = schedule.plan(5), schedule.plan(5)
    assert one.label_z.tolist() == other.label_z.tolist()
    assert (one.trial, one.mode) == (other.trial, other.mode)


def test_with_particles_prior_episodes_draw_any_of_them_and_posterior_ones_by_weight():
    particles = np.arange(20.0).reshape(10, 2)
    settings = ExplorationConfig(prior_episodes=40, posterior_episodes=40)
    schedule = Exploration(settings, 0, EMBEDDINGS, ParticlePosterior.prior(particles))
    drawn: dict[Mode, set[float]] = {Mode.PRIOR: set(), Mode.POSTERIOR: set()}
    for number in range(1, 81):
        plan = schedule.plan(number)
        drawn[plan.mode].add(schedule.z_source(plan, Draws(0, number).z).next()[0] / 2)
        likely = np.where(np.isin(np.arange(10), [3, 8]), 0.0, -100.0)
        schedule.learn(schedule.posterior.update(likely))
        schedule.finish()
    assert drawn[Mode.POSTERIOR] == {3.0, 8.0}
    assert len(drawn[Mode.PRIOR]) > 7
    assert drawn[Mode.PRIOR] <= set(range(10))


def test_an_episode_that_counts_takes_the_likeliest_particle_and_a_draw_while_none_is():
    prior = ParticlePosterior.prior(EMBEDDINGS)
    known = prior.update(np.array([0.0, -1.0, 0.5, -2.0, 0.0, 0.0]))

    def first(posterior, seed):
        rng = np.random.default_rng(seed)
        return tuple(ZSource(posterior, ZHold.EPISODE, rng, counts=True).next())

    assert {first(known, seed) for seed in range(20)} == {(4.0, 5.0)}
    assert len({first(prior, seed) for seed in range(40)}) == len(EMBEDDINGS)


@pytest.mark.parametrize(("hold", "distinct"), [(ZHold.EPISODE, 1), (ZHold.STEP, 20), (7, 3)])
def test_z_is_held_as_configured(hold, distinct):
    config = ExplorationConfig.model_validate_json(f'{{"z_hold": {json.dumps(hold)}}}')
    source = ZSource(GaussianPosterior.prior(2), config.z_hold, np.random.default_rng(0))
    held = [tuple(source.next()) for _ in range(20)]
    assert len(set(held)) == distinct
    assert len(set(held[: 20 // distinct])) == 1


@pytest.mark.parametrize("hold", ["0", "-3", "2.5", "true", '"never"'])
def test_z_can_be_held_for_no_other_time(hold):
    with pytest.raises(ValidationError, match="z_hold"):
        ExplorationConfig.model_validate_json(f'{{"z_hold": {hold}}}', strict=True)


@given(st.integers(0, 2**63), st.integers(1, 2**40))
def test_an_episode_is_reproducible_from_its_header(seed, number):
    one, other = Draws(seed, number), Draws(seed, number)
    assert one.z.normal() == other.z.normal()
    assert one.noise.normal() == other.noise.normal()
    assert one.start_seed == other.start_seed


def test_streams_of_an_episode_are_independent_of_each_other():
    draws, following = Draws(0, 1), Draws(0, 2)
    assert len({draws.z.normal(), draws.noise.normal(), following.z.normal()}) == 3
