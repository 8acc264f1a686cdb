from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldtune.robot.policy.posterior import GaussianPosterior
from fieldtune.train.agent.posterior import product_of_factors, sample
from fieldtune.train.algorithms.losses import kl_to_prior

LATENT = 3


@st.composite
def factors(draw, smallest=0):
    """Means and variances, each `(transition, latent)`."""
    shape = (draw(st.integers(smallest, 12)), LATENT)
    mean = draw(arrays(np.float64, shape, elements=st.floats(-10, 10)))
    variance = draw(arrays(np.float64, shape, elements=st.floats(1e-3, 1e3)))
    return mean, variance


def product(mean, variance, prior_factor=True):
    given_factors = map(torch.from_numpy, (mean, variance))
    return tuple(
        part.numpy() for part in product_of_factors(*given_factors, prior_factor=prior_factor)
    )


@given(factors(), st.booleans())
def test_the_product_is_the_plain_one_of_densities_with_the_prior_or_not(given_factors, with_prior):
    """Two Gaussians at a time, by the textbook's formula for their product."""
    known = list(zip(*given_factors, strict=True))
    if with_prior or not known:
        known.insert(0, (np.zeros(LATENT), np.ones(LATENT)))
    mean, variance = known[0]
    for factor_mean, factor_variance in known[1:]:
        total = variance + factor_variance
        mean = (mean * factor_variance + factor_mean * variance) / total
        variance = variance * factor_variance / total
    found_mean, found_variance = product(*given_factors, with_prior)
    np.testing.assert_allclose(found_mean, mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found_variance, variance, rtol=1e-9)


@given(factors(smallest=1), st.randoms())
def test_the_order_of_transitions_does_not_matter(given_factors, random):
    mean, variance = given_factors
    order = list(range(len(mean)))
    random.shuffle(order)
    for one, other in zip(
        product(mean, variance), product(mean[order], variance[order]), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@given(factors(), st.booleans())
def test_the_robots_one_at_a_time_posterior_is_the_same(given_factors, with_prior):
    online = GaussianPosterior.prior(LATENT, prior_factor=with_prior)
    for mean, variance in zip(*given_factors, strict=True):
        online = online.update(mean, variance)
    found_mean, found_variance = product(*given_factors, with_prior)
    np.testing.assert_allclose(found_mean, online.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found_variance, online.variance, rtol=1e-9)


@pytest.mark.parametrize("with_prior", [True, False])
def test_an_empty_context_gives_the_prior(with_prior):
    for rows in (0, 3):  # none there, or none that counts
        factors = torch.randn(2, rows, LATENT), torch.rand(2, rows, LATENT) + 0.1
        counted = torch.zeros(2, rows) if rows else None
        mean, variance = product_of_factors(*factors, counted, prior_factor=with_prior)
        assert torch.equal(mean, torch.zeros(2, LATENT))
        assert torch.equal(variance, torch.ones(2, LATENT))


def test_without_the_prior_a_context_that_is_filled_up_is_the_shorter_one():
    mean, variance = torch.randn(2, 6, LATENT), torch.rand(2, 6, LATENT) + 0.1
    counted = (torch.arange(6) < 4).float().expand(2, 6)
    found = product_of_factors(mean, variance, counted, prior_factor=False)
    short = product_of_factors(mean[:, :4], variance[:, :4], prior_factor=False)
    torch.testing.assert_close(found, short)


def test_each_task_has_its_own_product():
    mean, variance = torch.randn(4, 6, LATENT), torch.rand(4, 6, LATENT) + 0.1
    together = product_of_factors(mean, variance)
    for task in range(4):
        alone = product_of_factors(mean[task], variance[task])
        torch.testing.assert_close(alone, (together[0][task], together[1][task]))


def test_kl_is_that_of_torchs_distributions():
    mean, variance = torch.randn(5, LATENT), torch.rand(5, LATENT) + 0.1
    found = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, variance.sqrt()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(kl_to_prior(mean, variance), found.sum(-1))
    assert kl_to_prior(torch.zeros(LATENT), torch.ones(LATENT)).item() == 0


def test_draws_have_the_posteriors_moments_and_carry_its_gradient():
    torch.manual_seed(0)
    mean = torch.tensor([1.0, -2.0], requires_grad=True)
    variance = torch.tensor([0.25, 4.0], requires_grad=True)
    draws = sample(mean.expand(20_000, -1), variance.expand(20_000, -1))
    assert draws.mean(0).tolist() == pytest.approx([1.0, -2.0], abs=0.05)
    assert draws.var(0).tolist() == pytest.approx([0.25, 4.0], rel=0.05)
    gradients = torch.autograd.grad(draws.sum(), [mean, variance])
    assert torch.equal(gradients[0], torch.full((2,), 20_000.0))
    assert gradients[1].abs().min() > 0
