"""The posterior: a product of Gaussians, in whichever order they come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldtune.robot.policy.posterior import GaussianPosterior

LATENT = 3
_means = arrays(np.float64, LATENT, elements=st.floats(-1e3, 1e3))
_variances = arrays(np.float64, LATENT, elements=st.floats(1e-4, 1e4))
_factors = st.lists(st.tuples(_means, _variances), max_size=20)


def posterior(factors) -> GaussianPosterior:
    result = GaussianPosterior.prior(LATENT)
    for mean, variance in factors:
        result = result.update(mean, variance)
    return result


def test_empty_context_is_the_prior():
    prior = GaussianPosterior.prior(LATENT)
    assert prior.mean.tolist() == [0.0] * LATENT
    assert prior.variance.tolist() == [1.0] * LATENT


@given(_factors, st.randoms())
def test_order_does_not_matter(factors, random):
    shuffled = random.sample(factors, len(factors))
    one, other = posterior(factors), posterior(shuffled)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.variance, other.variance, rtol=1e-9)


@given(_factors)
def test_one_by_one_equals_the_product_of_all_at_once(factors):
    means = np.array([np.zeros(LATENT), *(mean for mean, _ in factors)])
    variances = np.array([np.ones(LATENT), *(variance for _, variance in factors)])
    variance = 1 / (1 / variances).sum(axis=0)
    mean = variance * (means / variances).sum(axis=0)
    result = posterior(factors)
    np.testing.assert_allclose(result.variance, variance, rtol=1e-9)
    np.testing.assert_allclose(result.mean, mean, rtol=1e-9, atol=1e-6)


@given(_factors, _means, _variances)
def test_evidence_never_widens_it(factors, mean, variance):
    before = posterior(factors)
    assert (before.update(mean, variance).variance <= before.variance).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_factor_that_is_no_gaussian_is_refused(bad):
    spoiled = np.array([0.0, bad, 0.0])
    for mean, variance in (
        (spoiled, np.ones(3)),
        (np.zeros(3), spoiled),
        (np.zeros(3), -np.ones(3)),
    ):
        with pytest.raises(ValueError, match="context factor"):
            GaussianPosterior.prior(LATENT).update(mean, variance)


def test_samples_follow_it():
    q = posterior([(np.array([2.0, -1.0, 0.0]), np.array([0.1, 1.0, 10.0]))])
    rng = np.random.default_rng(0)
    drawn = np.array([q.sample(rng) for _ in range(20_000)])
    np.testing.assert_allclose(drawn.mean(axis=0), q.mean, atol=0.03)
    np.testing.assert_allclose(drawn.var(axis=0), q.variance, rtol=0.05)
