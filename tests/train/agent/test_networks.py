from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fieldtune.train.agent.graphs import DecoderGraph, EncoderGraph, PolicyGraph
from fieldtune.train.agent.networks import Critic, Decoder, Encoder, Policy, mlp
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.agent.squashed_gaussian import ACTION_EDGE, squashed_log_prob, squashed_sample
from fieldtune.train.config import Distribution
from fieldtune.train.device import CPU, in_precision


def test_log_probability_is_that_of_torchs_squashed_gaussian():
    torch.manual_seed(0)
    mean, log_std = torch.randn(50, 2), torch.randn(50, 2)
    action = torch.rand(50, 2) * 1.98 - 0.99
    plain = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()), [torch.distributions.TanhTransform()]
    )
    found = squashed_log_prob(mean, log_std, action)
    torch.testing.assert_close(found, plain.log_prob(action).sum(-1), rtol=1e-4, atol=1e-4)


def test_data_at_the_bounds_has_the_likelihood_of_just_inside():
    mean, log_std = torch.zeros(2, 1), torch.zeros(2, 1)
    at, inside = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [-1.0]]) * (1 - ACTION_EDGE)
    found = squashed_log_prob(mean, log_std, at)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, squashed_log_prob(mean, log_std, inside))
    further = squashed_log_prob(mean, log_std, at, edge=1e-7)
    assert torch.isfinite(further).all()
    assert (further < squashed_log_prob(mean, log_std, at, edge=1e-6)).all()


def test_samples_stay_inside_and_carry_the_gradient_of_mean_and_spread():
    mean = torch.linspace(-3, 3, 100).unsqueeze(1).requires_grad_()
    log_std = torch.zeros(100, 1, requires_grad=True)
    action = squashed_sample(mean, log_std)
    assert action.abs().max() <= 1
    for gradient in torch.autograd.grad(action.sum(), [mean, log_std]):
        assert gradient.abs().sum() > 0


def test_log_std_is_bounded_whatever_the_weights():
    policy = Policy(3, 2, 2, (4,))
    with torch.no_grad():
        policy.body[-1].bias.copy_(torch.tensor([0.0, 0.0, 100.0, -100.0]))
    _, log_std = policy(torch.randn(5, 3), torch.randn(5, 2))
    assert torch.equal(log_std, torch.tensor([[1.0, -5.0]]).expand(5, 2))
    policy.log_std_range = Distribution(log_std=(-20, 2)).log_std
    _, log_std = policy(torch.randn(5, 3), torch.randn(5, 2))
    assert torch.equal(log_std, torch.tensor([[2.0, -20.0]]).expand(5, 2))


def test_factor_variances_are_above_zero_whatever_the_weights():
    encoder = Encoder(3, 2, 2, (4,), False, Distribution(least_variance=1e-7))
    with torch.no_grad():
        encoder.body[-1].bias.fill_(-1e4)
    _, variance = encoder(
        torch.randn(5, 3), torch.randn(5, 2), torch.randn(5, 1), torch.randn(5, 3)
    )
    assert torch.equal(variance, torch.full_like(variance, 1e-7))


@pytest.mark.parametrize("next_too", [False, True])
def test_the_encoder_looks_at_the_next_state_only_if_asked(next_too):
    encoder = Encoder(3, 2, 2, (4,), next_too)
    s, a, r, one, other = (torch.randn(5, n) for n in (3, 2, 1, 3, 3))
    assert torch.equal(encoder(s, a, r, one)[0], encoder(s, a, r, other)[0]) != next_too


def test_layer_norm_stands_before_each_relu_of_a_critic():
    kinds = [type(layer) for layer in Critic(3, 2, 2, (4, 4), layer_norm=True).body]
    assert kinds == [nn.Linear, nn.LayerNorm, nn.ReLU] * 2 + [nn.Linear]
    plain = [type(layer) for layer in Critic(3, 2, 2, (4, 4), layer_norm=False).body]
    assert plain == [nn.Linear, nn.ReLU] * 2 + [nn.Linear]


def test_normalisation_makes_data_standard_and_leaves_constant_components_finite():
    rng = np.random.default_rng(0)
    observations = np.column_stack([rng.normal(5, 3, 400), np.full(400, 2.0)])
    rewards = rng.normal(-1, 0.2, 400)
    low, high = np.array([-1.0, 0.0]), np.array([3.0, 10.0])
    found = Normalisation.of(observations, rewards, low, high)
    scaled = (observations - found.observation_mean) / found.observation_std
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(0), [1, 0], atol=1e-6)
    assert ((low - found.action_centre) / found.action_half_range).tolist() == [-1, -1]
    assert ((high - found.action_centre) / found.action_half_range).tolist() == [1, 1]
    assert (found.reward_mean, found.reward_std) == (rewards.mean(), rewards.std())
    alike = Normalisation.of(observations, np.zeros(400), low, high)
    assert alike.reward_std > 0


@pytest.fixture
def constants():
    return Normalisation(
        observation_mean=np.float32([1.0, 2.0, 3.0]),
        observation_std=np.float32([2.0, 1.0, 0.5]),
        action_centre=np.float32([0.0, 1.0]),
        action_half_range=np.float32([1.0, 4.0]),
        reward_mean=-2.0,
        reward_std=0.5,
    )


def test_graphs_take_and_give_physical_units(constants):
    torch.manual_seed(0)
    s, s_next, a, r, z = (torch.randn(5, n) for n in (3, 3, 2, 1, 2))
    a = torch.tanh(a)
    s_physical, next_physical = (
        x * torch.tensor([2.0, 1.0, 0.5]) + torch.tensor([1.0, 2.0, 3.0]) for x in (s, s_next)
    )
    a_physical = a * torch.tensor([1.0, 4.0]) + torch.tensor([0.0, 1.0])
    r_physical = r * 0.5 - 2.0
    policy, decoder = Policy(3, 2, 2, (4,)), Decoder(3, 2, 2, (4,))
    encoder, seeing = (Encoder(3, 2, 2, (4,), next_too) for next_too in (False, True))
    torch.testing.assert_close(PolicyGraph(policy, constants)(s_physical, z), policy(s, z))
    torch.testing.assert_close(
        EncoderGraph(encoder, constants)(s_physical, a_physical, r_physical),
        encoder(s, a, r, s_next),
    )
    torch.testing.assert_close(
        EncoderGraph(seeing, constants)(s_physical, a_physical, r_physical, next_physical),
        seeing(s, a, r, s_next),
    )
    torch.testing.assert_close(
        DecoderGraph(decoder, constants)(s_physical, a_physical, z), decoder(s, a, z) * 0.5 - 2.0
    )


@pytest.mark.parametrize("layer_norm", [False, True])
def test_in_mixed_precision_what_is_read_and_said_stays_float32(layer_norm):
    torch.manual_seed(0)
    network = mlp([3, 64, 64, 64, 2], layer_norm)
    kinds = {}
    for index, layer in enumerate(network):
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda _, __, out, i=index: kinds.update({i: out.dtype}))
    x = torch.randn(100, 3)
    precise = network(x)
    with in_precision("bfloat16", CPU):
        mixed = network(x)
    first, *between, last = kinds.values()
    assert {first, last, mixed.dtype} == {torch.float32}
    assert set(between) == {torch.bfloat16}
    assert not torch.equal(mixed, precise)
    torch.testing.assert_close(mixed, precise, atol=0.03, rtol=0.03)
    mixed.sum().backward()
    assert {weights.grad.dtype for weights in network.parameters()} == {torch.float32}
    with in_precision("float32", CPU):
        assert torch.equal(network(x), precise)
