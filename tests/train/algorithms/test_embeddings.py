"""What FOCAL, CSRO and UNICORN learn z by: losses and gradients against plain double loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fieldtune.train.agent.actor import MEAN_ACTION, Acting
from fieldtune.train.algorithms.csro import Csro, CsroSettings, RandomActor, club
from fieldtune.train.algorithms.focal import distance_metric
from fieldtune.train.config import Networks


def plain_metric(z, other, power):
    """Every pair one by one."""
    every = [*((i, one) for i, one in enumerate(z)), *((i, one) for i, one in enumerate(other))]
    near, apart = [], []
    for first, (task, one) in enumerate(every):
        for also, two in every[first + 1 :]:
            squared = sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) / len(one)
            if also == task:
                near.append(squared)
            else:
                apart.append(1 / (squared ** (power / 2) + 0.1))
    return sum(near) / len(near) + sum(apart) / len(apart)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_the_distance_metric_and_its_gradient_are_those_of_every_pair(power):
    torch.manual_seed(0)
    z, other = torch.randn(2, 4, 3, dtype=torch.float64).unbind()
    found, slow = ([one.clone().requires_grad_() for one in (z, other)] for _ in range(2))
    quick = distance_metric(*found, power)
    expected = plain_metric(*slow, power)
    torch.testing.assert_close(quick, expected, rtol=1e-9, atol=0)
    for one, two in zip(
        torch.autograd.grad(quick, found), torch.autograd.grad(expected, slow), strict=True
    ):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-9)


def test_embeddings_that_coincide_have_finite_slopes():
    z = torch.zeros(3, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(distance_metric(z, z * 1.0, 1.0), z)
    assert torch.isfinite(slope).all()


def plain_club(points, mean, variance, counted):
    """log q of every embedding by every transition, one by one."""

    def log_q(z, m, v):
        return sum(
            -0.5 * ((a - b) ** 2 / c + math.log(2 * math.pi) + torch.log(c))
            for a, b, c in zip(z, m, v, strict=True)
        )

    total = 0.0
    for task in range(len(points)):
        known = [i for i in range(points.shape[1]) if counted is None or counted[task, i] > 0]
        bound = 0.0
        for i in known:
            of = mean[task, i], variance[task, i]
            others = sum(log_q(points[task, j], *of) for j in known) / len(known)
            bound = bound + (log_q(points[task, i], *of) - others) / len(known)
        total = total + bound / len(points)
    return total


@pytest.mark.parametrize("filled_up", [False, True])
def test_the_club_bound_and_its_gradient_are_those_of_every_pair(filled_up):
    torch.manual_seed(0)
    points, mean = torch.randn(2, 3, 6, 2, dtype=torch.float64).unbind()
    variance = torch.rand(3, 6, 2, dtype=torch.float64) + 0.3
    counted = (torch.arange(6) < 4).double().expand(3, 6) if filled_up else None
    one, two = (points.clone().requires_grad_() for _ in range(2))
    quick, slow = (
        club(one, mean, variance, counted),
        plain_club(two, mean, variance, counted),
    )
    torch.testing.assert_close(quick, slow, rtol=1e-9, atol=1e-12)
    slopes = [torch.autograd.grad(loss, at)[0] for loss, at in ((quick, one), (slow, two))]
    torch.testing.assert_close(*slopes, rtol=1e-7, atol=1e-12)


@pytest.fixture
def csro(make_learner):
    known = make_learner().agent
    narrow = Networks(encoder=(16,), policy=(8,), critic=(8,), decoder=(8,))
    settings = CsroSettings(latent_size=2, networks=narrow, club_weight=0.5)

    def make(**changes):
        torch.manual_seed(0)
        own = settings.model_copy(update=changes)
        return Csro.fresh(known.shape, known.normalisation, own, 3e-3)

    return make


def test_the_bound_makes_embeddings_say_less_of_state_and_action(csro, make_batch):
    """What (s, a) alone explain of an embedding, of data where the reward tells tasks apart."""

    def explained(weight):
        learner = csro(club_weight=weight)
        for seed in range(150):
            draws = [make_batch(2 * seed + i, rows=32) for i in range(2)]
            level = torch.tensor([-1.0, 0.0, 1.0])[:, None]
            draws = [one._replace(reward=level + 0.1 * one.reward) for one in draws]
            metrics = learner.update(*draws)
        rows = draws[0]
        with torch.no_grad():
            points, (mean, _) = learner.agent.factors(rows)[0], learner.agent.guessed(rows)
        inside = points - points.mean(dim=1, keepdim=True)
        guess = mean - mean.mean(dim=1, keepdim=True)
        shared = float((inside * guess).sum() / guess.square().sum())
        return abs(shared) * float(guess.square().mean()), float(metrics["encoder/mean_spread"])

    free, bound = explained(0.0), explained(2.0)
    assert bound[0] < 0.5 * free[0]
    assert bound[1] > 0.3  # and tasks still lie apart


def test_before_any_context_csro_explores_at_random_and_reports_with_z(csro, make_batch):
    learner = csro()
    nothing = make_batch(rows=0)
    exploring = learner.adapt([nothing, nothing], Acting())
    assert isinstance(exploring, RandomActor)
    torch.manual_seed(0)
    exploring.begin(None)
    drawn = np.concatenate([exploring.act(np.zeros((6, 3)), None) for _ in range(200)])
    low, high = np.array([0.0, -2.0]), np.array([1.0, 2.0])  # of `make_learner`'s actions
    assert (drawn >= low).all()
    assert (drawn <= high).all()
    np.testing.assert_allclose(drawn.mean(axis=0), (low + high) / 2, atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=0), (high - low) / 12**0.5, rtol=0.1)
    assert not isinstance(learner.adapt([nothing], MEAN_ACTION), RandomActor)
    assert not isinstance(learner.adapt([make_batch()], Acting()), RandomActor)


def test_an_embedding_is_the_mean_of_its_transitions_whatever_their_order(csro, make_batch):
    learner, rows = csro(), make_batch(rows=9)
    points = learner.agent.factors(rows)[0]
    z = learner.embed(rows)
    torch.testing.assert_close(z, points.mean(dim=1))
    assert points.abs().max().item() < 1
    turned = rows.each(lambda column: column.flip(1))
    torch.testing.assert_close(learner.embed(turned), z)
