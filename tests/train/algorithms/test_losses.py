"""Each loss against a slow version that says the same, row by row."""

from __future__ import annotations

import math

import pytest
import torch

from fieldtune.train.algorithms import losses

ADVANTAGE = [0.5, -1.0, 3.0, 0.0, 1.5, -2.5]


def rows(values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_critics_target_stops_at_a_terminal_state_and_nowhere_else():
    reward, done, value = [1.0, -2.0, 0.5], [0.0, 1.0, 0.0], [10.0, 10.0, -4.0]
    expected = [r if d else r + 0.9 * v for r, d, v in zip(reward, done, value, strict=True)]
    found = losses.critic_target(rows(reward), rows(done), rows(value), 0.9)
    assert found.tolist() == pytest.approx(expected)


def test_what_a_state_can_be_worth_is_every_reward_at_its_bound_for_ever():
    assert losses.possible_values((-1.0, 0.0), 0.75) == (-4.0, 0.0)  # −1 − 0.75 − 0.75² − … = −4
    assert losses.possible_values((0.5, 2.0), 0.5) == (0.0, 4.0)  # an end pays nothing more
    assert losses.possible_values((-math.inf, 0.0), 0.99) == (-math.inf, 0.0)


def test_a_clamped_target_is_possible_and_leaves_what_was_paid_as_it_is():
    """γ = 0.75 and rewards of −1 and 0, so that states are worth −4 to 0. By rows: one step from a
    value that is too low, too high, right; a terminal one; two steps, and two that ended."""
    reward = [-1.0, -1.0, 0.0, -1.0, -1.75, -1.75]
    done = [0.0, 0.0, 0.0, 1.0, 0.0, 1.0]
    value = [-9.0, 3.0, -2.0, 3.0, -9.0, -9.0]
    discount = [0.75, 0.75, 0.75, 0.75, 0.5625, 0.5625]
    found = losses.critic_target(rows(reward), rows(done), rows(value), rows(discount), (-4.0, 0.0))
    assert found.tolist() == [-4.0, -1.0, -1.5, -1.0, -4.0, -1.75]


def test_the_critics_loss_is_the_squared_error_of_both():
    q1, q2, target = [1.0, 2.0], [0.0, -1.0], [0.5, 3.0]
    expected = sum((a - t) ** 2 + (b - t) ** 2 for a, b, t in zip(q1, q2, target, strict=True)) / 2
    assert losses.critic_loss(rows(q1), rows(q2), rows(target)).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.5, 100.0])
def test_softmax_weights_are_over_the_whole_flattened_batch_times_its_size(temperature):
    exponentials = [math.exp(a / temperature) for a in ADVANTAGE]
    expected = [e / sum(exponentials) * len(ADVANTAGE) for e in exponentials]
    found = losses.softmax_weights(rows(ADVANTAGE), temperature)
    assert found.tolist() == pytest.approx(expected)
    assert found.mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize(("temperature", "clip"), [(0.5, 20.0), (2.0, 20.0), (0.2, 1.5)])
def test_standardised_weights_are_exponentials_of_standard_advantages(temperature, clip):
    mean = sum(ADVANTAGE) / len(ADVANTAGE)
    std = math.sqrt(sum((a - mean) ** 2 for a in ADVANTAGE) / (len(ADVANTAGE) - 1))
    raw = [math.exp(min((a - mean) / std / temperature, 10.0)) for a in ADVANTAGE]
    expected = [min(w / (sum(raw) / len(raw)), clip) for w in raw]
    found = losses.standardised_weights(rows(ADVANTAGE), temperature, clip)
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_standardised_weights_do_not_depend_on_the_rewards_scale():
    small = losses.standardised_weights(rows(ADVANTAGE), 0.5, 20.0)
    large = losses.standardised_weights(rows(ADVANTAGE) * 1000 + 7, 0.5, 20.0)
    torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-6)


def test_equal_advantages_weigh_equally_and_stay_finite():
    for weights in (
        losses.standardised_weights(torch.zeros(6), 0.5, 20.0),
        losses.softmax_weights(torch.zeros(6), 100.0),
    ):
        torch.testing.assert_close(weights, torch.ones(6))


def test_the_actors_loss_is_the_weighted_log_likelihood():
    log_prob, weights = [-1.0, -0.5, 2.0], [0.1, 2.0, 0.9]
    expected = -sum(p * w for p, w in zip(log_prob, weights, strict=True)) / 3
    assert losses.awac_loss(rows(log_prob), rows(weights)).item() == pytest.approx(expected)


def test_the_mean_actions_error_is_in_the_actions_own_units_and_a_mean_over_its_components():
    mean, action = torch.tensor([[0.0, 10.0], [-0.5, 0.25]]), torch.tensor([[0.5, 1.0], [0.0, 0.0]])
    expected = [0.125, (math.tanh(0.5) ** 2 + math.tanh(0.25) ** 2) / 2]
    assert losses.action_error(mean, action).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_q_term_is_minus_q_and_its_gradient_is_scaled_by_mean_q_if_asked():
    q = rows([4.0, -2.0, 6.0]).requires_grad_()
    assert losses.q_loss(q, scale_by_q=False).item() == pytest.approx(-8 / 3)
    assert losses.q_loss(q, scale_by_q=True).item() == pytest.approx(-8 / 3 / 4)
    (gradient,) = torch.autograd.grad(losses.q_loss(q, scale_by_q=True), q)
    assert gradient.tolist() == pytest.approx([-1 / 3 / 4] * 3)  # the scale is no path for it


def test_reconstruction_is_the_mean_squared_error():
    found = losses.reconstruction_loss(rows([1.0, 2.0]), rows([0.0, 4.0]))
    assert found.item() == pytest.approx((1 + 4) / 2)


def test_what_a_classifier_is_taught_is_the_log_likelihood_of_each_outcome():
    logit, success = [0.3, -2.0, 4.0], [1.0, 0.0, 0.0]
    given = [1 / (1 + math.exp(-x)) for x in logit]
    expected = -(math.log(given[0]) + math.log(1 - given[1]) + math.log(1 - given[2])) / 3
    assert losses.success_loss(rows(logit), rows(success)).item() == pytest.approx(expected)


def test_what_is_unexplained_of_a_change_is_its_share_of_the_variance_component_by_component():
    change = torch.tensor([[1.0, 1000.0, 3.0], [3.0, 3000.0, 3.0]])
    assert losses.dynamics_loss(change, change) == 0
    middle = torch.tensor([[2.0, 2000.0, 0.0]]).expand(2, 3)
    assert losses.dynamics_loss(middle, change) == pytest.approx(2 / 3)  # the third never changes
