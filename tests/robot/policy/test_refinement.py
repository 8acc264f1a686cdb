"""Places between particles: near what is likely, in their box, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.policy import policy as policies
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.policy import Policy, PolicyError
from fieldtune.robot.policy.refinement import PLACES, places
from tests.robot.conftest import PARTICLES

NUMBER = st.floats(-1e3, 1e3)


@pytest.fixture
def policy(point_bundle):
    return Policy(read_bundle(point_bundle(particles=PARTICLES)))


def transition(reward):
    """What it earns is z[0]: see `point_bundle`."""
    return np.array([0.1, 0.2]), np.array([0.3]), reward, np.array([0.2, 0.2])


def told(policy, rewards):
    posterior, context = policy.prior(), [transition(reward) for reward in rewards]
    for one in context:
        posterior = policy.update(posterior, *one)
    return posterior, context


def test_places_are_near_the_likely_ones():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1_000, 3))
    log_weights = -200.0 * np.square(z - [0.5, -0.5, 0.2]).sum(axis=1)
    found = places(z, log_weights, len(z))
    nearest, far = found - [0.5, -0.5, 0.2], z - [0.5, -0.5, 0.2]
    assert len(found) == PLACES
    assert np.linalg.norm(nearest, axis=1).mean() < 0.6 * np.linalg.norm(far, axis=1).mean()
    np.testing.assert_array_equal(places(z, log_weights, len(z)), found)


@given(
    st.integers(1, 30).flatmap(lambda n: arrays(np.float64, (n, 2), elements=NUMBER)),
    st.randoms(use_true_random=False),
    st.integers(0, 40),
)
def test_no_place_is_outside_the_particles_whatever_was_added_before(own, random, added):
    inside = [own[random.randrange(len(own))] for _ in range(added)]
    z = np.vstack([own, *inside])
    log_weights = np.array([random.uniform(-1e4, 0.0) for _ in z])
    found = places(z, log_weights, len(own))
    assert found.shape == (PLACES, 2)
    assert (found >= own.min(axis=0)).all()
    assert (found <= own.max(axis=0)).all()


def test_where_nothing_is_said_every_place_is_a_particle():
    z = np.arange(10.0).reshape(5, 2)
    found = places(z, np.zeros(5), 5)
    assert {tuple(one) for one in found} == {tuple(one) for one in z}


def test_the_likeliest_of_the_places_before_stays():
    z = np.vstack([np.array(PARTICLES), [[1.7, 0.3]]])
    found = places(z, np.array([-9.0, -8.0, -7.0, -6.0, -1.0]), 4)
    assert found[0].tolist() == [1.7, 0.3]


def test_an_episode_leaves_a_likelier_place_than_every_particle(policy):
    """Rewards of 1.3 say z[0] is 1.3, between particles at 0.5 and 3."""
    posterior, context = told(policy, [1.3] * 5)
    refined = policy.refined(posterior, context)
    assert posterior.likeliest.tolist() == list(PARTICLES[0])
    assert abs(refined.likeliest[0] - 1.3) < 0.2
    expected = [-2.5 * (z[0] - 1.3) ** 2 for z in refined.z]
    np.testing.assert_allclose(refined.log_weights, expected, rtol=1e-4, atol=1e-6)
    assert (refined.own, refined.added, refined.transitions) == (4, PLACES, 5)
    assert refined.effective == posterior.effective  # of the particles
    assert refined.explained == posterior.explained


def test_again_it_comes_nearer_and_the_number_of_places_stays(policy):
    posterior, context = told(policy, [1.3] * 5)
    once = policy.refined(posterior, context)
    twice = policy.refined(once, context)
    assert twice.log_weights.max() >= once.log_weights.max()
    assert len(twice.z) == len(once.z) == 4 + PLACES


def test_within_the_next_episode_every_place_is_followed(policy):
    posterior, context = told(policy, [1.3] * 5)
    refined = policy.refined(posterior, context)
    after = policy.update(refined, *transition(1.0))
    expected = refined.log_weights - (refined.z[:, 0] - 1.0) ** 2 / 2
    np.testing.assert_allclose(after.log_weights, expected, rtol=1e-4, atol=1e-6)
    assert (after.transitions, after.added) == (6, PLACES)


def test_what_cannot_be_refined_is_left_as_it_is(policy, point_bundle, monkeypatch):
    posterior, context = told(policy, [1.3] * 3)
    assert policy.refined(policy.prior(), []).added == 0
    assert policy.refined(posterior, context, stopped=lambda: True) is posterior
    monkeypatch.setattr(policies, "MOST", 2)
    assert policy.refined(posterior, context) is posterior
    sparse = Policy(read_bundle(point_bundle(particles=PARTICLES, sparse_reward=True)))
    posterior, context = told(sparse, [-1.0] * 3)
    assert sparse.refined(posterior, context) is posterior
    encoder = Policy(read_bundle(point_bundle()))
    gaussian = encoder.update(encoder.prior(), *context[0])
    assert encoder.refined(gaussian, context) is gaussian


@pytest.mark.parametrize("spoilt", [np.nan, -np.inf, PolicyError("it cannot be run")])
def test_a_place_that_cannot_be_weighed_costs_nothing_that_is_known(policy, monkeypatch, spoilt):
    posterior, context = told(policy, [1.3] * 3)

    def weigh(*_):
        if isinstance(spoilt, Exception):
            raise spoilt
        return np.where(np.arange(PLACES) == 7, spoilt, -1.0)

    monkeypatch.setattr(policy, "log_likelihood", weigh)
    assert policy.refined(posterior, context) is posterior


def test_places_whose_likelihood_is_no_number_are_refused():
    posterior = ParticlePosterior.prior(np.array(PARTICLES))
    with pytest.raises(ValueError, match="places"):
        posterior.joined(np.zeros((2, 2)), np.array([0.0, np.nan]))
