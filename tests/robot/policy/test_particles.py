"""Weights of particles: the same whatever the order, normalised, and honest about what is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldtune.robot.policy.particles import ParticlePosterior

Z = np.array([[0.0, 1.0], [2.0, -1.0], [4.0, 3.0]])
SMALL = st.floats(-50, 50)


def told(rows, z=Z) -> ParticlePosterior:
    posterior = ParticlePosterior.prior(z)
    for row in rows:
        posterior = posterior.update(np.array(row, dtype=np.float64))
    return posterior


def test_before_any_transition_every_particle_is_as_likely():
    prior = ParticlePosterior.prior(Z)
    assert prior.weights.tolist() == [1 / 3] * 3
    assert prior.effective == pytest.approx(3)
    np.testing.assert_allclose(prior.mean, Z.mean(axis=0))
    assert prior.explained is None
    assert not prior.unlike(np.inf)


@given(arrays(np.float64, (7, 3), elements=SMALL), st.permutations(range(7)))
def test_weights_are_the_normalised_product_in_any_order(rows, order):
    posterior, total = told(rows), rows.sum(axis=0)
    likelihood = np.exp(total - np.logaddexp.reduce(total))
    np.testing.assert_allclose(posterior.weights, likelihood, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(told(rows[order]).weights, posterior.weights, atol=1e-9)
    np.testing.assert_allclose(posterior.mean, likelihood @ Z, atol=1e-9)
    assert 1.0 - 1e-9 <= posterior.effective <= 3.0 + 1e-9
    assert posterior.explained == pytest.approx(total.max() / 7)


def test_a_thousand_steps_that_are_unlikely_under_all_leave_the_likeliest():
    posterior = told([[-900.0, -901.0, -1e4]] * 1_000)
    assert posterior.likeliest.tolist() == Z[0].tolist()
    assert posterior.weights.tolist() == [1.0, 0.0, 0.0]
    assert posterior.effective == 1.0
    assert posterior.explained == -900.0
    assert posterior.unlike(-899.9)
    assert not posterior.unlike(-900.1)


def test_particles_are_drawn_by_weight():
    posterior, rng = told([np.log([0.2, 0.5, 0.3])]), np.random.default_rng(0)
    drawn = np.array([posterior.sample(rng) for _ in range(4_000)])
    shares = [(drawn == z).all(axis=1).mean() for z in Z]
    np.testing.assert_allclose(shares, [0.2, 0.5, 0.3], atol=0.03)


def test_an_update_leaves_the_posterior_before_it_as_it_was():
    before = told([[-1.0, -2.0, -3.0]])
    before.update(np.array([-3.0, -2.0, -1.0]))
    assert before.log_weights.tolist() == [-1.0, -2.0, -3.0]
    assert before.transitions == 1


@pytest.mark.parametrize("wrong", [[-1.0, np.nan, 0.0], [-1.0, -np.inf, 0.0], [-1.0, -1.0]])
def test_what_is_no_likelihood_of_each_particle_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        ParticlePosterior.prior(Z).update(np.array(wrong))
