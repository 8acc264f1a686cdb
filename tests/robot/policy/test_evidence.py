"""The posterior of an episode is the product over the rewards that count now."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.robot.policy.evidence import Evidence, certainty, first_z
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.posterior import GaussianPosterior

STEPS = 6


class Reading:
    """A policy whose factor has the reward in it and the observation; counts its inferences."""

    def __init__(self):
        self.inferences = 0

    def factor(self, posterior, observation, action, reward, next_observation):  # noqa: ARG002
        self.inferences += 1
        return np.array([reward, observation[0]]), np.array([1.0, 0.5])


def evidence(base=None) -> tuple[Evidence, Reading]:
    policy = Reading()
    made = Evidence(policy, GaussianPosterior.prior(2) if base is None else base)
    for step in range(STEPS):
        made.add((np.full(2, step), np.zeros(1), np.full(2, step + 1)))
    return made, policy


def product(rewards, base=None) -> GaussianPosterior:
    known = GaussianPosterior.prior(2) if base is None else base
    for step, reward in sorted(rewards.items()):
        known = known.update(np.array([reward, float(step)]), np.array([1.0, 0.5]))
    return known


words = st.lists(
    st.dictionaries(st.integers(0, STEPS + 2), st.floats(-5, 5), max_size=STEPS), max_size=6
)


@given(words)
def test_whatever_was_said_before_the_posterior_is_of_the_rewards_that_count(said):
    """Rewards come, change and go, and name steps that are not there yet."""
    made, _ = evidence()
    for rewards in said:
        made.heed(rewards)
        there = {step: reward for step, reward in rewards.items() if step < STEPS}
        assert made.rewards == there
        known = product(there)
        np.testing.assert_allclose(made.posterior.mean, known.mean, rtol=1e-12, atol=1e-12)
        made.settle()
        assert made.posterior.mean.tolist() == known.mean.tolist()
        assert made.posterior.variance.tolist() == known.variance.tolist()


def test_only_what_is_new_is_inferred():
    made, policy = evidence()
    made.heed({0: -1.0, 1: -1.0})
    made.heed({0: -1.0, 1: -1.0, 2: -1.0})
    assert policy.inferences == 3
    made.heed({0: -1.0, 1: 0.0, 2: -1.0})
    assert policy.inferences == 4
    made.heed({0: -1.0})
    assert policy.inferences == 4


def test_it_goes_on_from_what_was_known():
    base = GaussianPosterior.prior(2).update(np.array([3.0, 1.0]), np.array([0.1, 0.1]))
    made, _ = evidence(base)
    assert made.posterior is base
    made.heed({4: 1.5})
    assert made.posterior.mean.tolist() == product({4: 1.5}, base).mean.tolist()
    made.heed({})
    assert made.posterior is base


def test_an_episode_begins_with_the_likeliest_z_or_with_a_particle_where_all_are_alike():
    particles = np.arange(40.0).reshape(20, 2)
    prior = ParticlePosterior.prior(particles)
    begun = {tuple(first_z(prior, np.random.default_rng(seed))) for seed in range(40)}
    assert len(begun) > 5
    assert begun <= {tuple(row) for row in particles}
    known = prior.update(np.where(np.arange(20) == 7, 0.0, -3.0))
    assert first_z(known, np.random.default_rng(0)).tolist() == particles[7].tolist()
    assert first_z(product({1: 2.0}), np.random.default_rng(0)).tolist() == (
        product({1: 2.0}).mean.tolist()
    )


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (ParticlePosterior.prior(np.zeros((20, 2))), "20.0 effective particles"),
        (GaussianPosterior.prior(2), "deviations of z up to 1"),
    ],
)
def test_how_much_is_known_is_said(known, said):
    assert certainty(known) == said
