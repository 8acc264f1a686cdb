"""The policy: what comes out of the graphs is what was put in, and the rest is arithmetic."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.policy.policy import Policy, PolicyError
from fieldtune.robot.policy.posterior import GaussianPosterior
from tests.robot.conftest import PARTICLES, ROOT, policy_graph

OBSERVATION = np.array([0.3, -0.1])


@pytest.fixture
def make_policy(point_bundle):
    return lambda **options: Policy(read_bundle(point_bundle(**options)))


def test_mean_action_is_the_squashed_mean_in_physical_units(make_policy):
    action = make_policy(push=0.7).act(OBSERVATION, np.array([0.9, 5.0]))
    np.testing.assert_allclose(action, 2.0 * np.tanh(0.7 * 0.9), rtol=1e-6)
    assert action.dtype == np.float64


def test_noise_has_the_spread_of_log_std(make_policy):
    policy, rng = make_policy(push=0.0, log_std=-2.0), np.random.default_rng(0)
    drawn = [policy.act(OBSERVATION, np.zeros(2), rng)[0] for _ in range(5_000)]
    assert np.std(np.arctanh(np.array(drawn) / 2.0)) == pytest.approx(math.exp(-2.0), rel=0.05)


def test_noise_is_as_much_of_that_as_asked(make_policy):
    """0.25 of it, and with none the mean."""
    policy = make_policy(push=0.0, log_std=-2.0)

    def drawn(noise):
        rng = np.random.default_rng(0)
        actions = [policy.act(OBSERVATION, np.zeros(2), rng, noise)[0] for _ in range(200)]
        return np.arctanh(np.array(actions) / 2.0)

    np.testing.assert_allclose(drawn(0.25), 0.25 * drawn(1.0), rtol=1e-5)
    assert not drawn(0.0).any()


def test_saturated_actions_stay_inside_the_bounds(make_policy):
    policy = make_policy(push=1e6)
    assert policy.act(OBSERVATION, np.array([1.0, 0.0])).tolist() == [2.0]
    assert policy.act(OBSERVATION, np.array([-1.0, 0.0])).tolist() == [-2.0]


def test_a_factor_and_a_label_come_from_one_transition(make_policy):
    policy = make_policy(reward=3.0)
    action = np.array([1.5])
    assert policy.decode(OBSERVATION, action, np.array([2.0, 0.0])) == pytest.approx(3.0 * 2.0)
    mean, variance = policy.encode(OBSERVATION, action, -4.0, OBSERVATION)
    np.testing.assert_allclose(mean, [-4.0, 0.0])
    np.testing.assert_allclose(variance, math.log1p(math.e), rtol=1e-6)


def test_the_next_observation_is_encoded_where_the_manifest_says_so(make_policy):
    policy = make_policy(next_observation=True)
    mean, _ = policy.encode(OBSERVATION, np.array([1.0]), 0.5, np.array([7.0, 0.0]))
    np.testing.assert_allclose(mean, [0.5, 7.0])


@pytest.mark.parametrize(
    ("spoiled", "says"),
    [
        ({"push": math.nan}, "policy.onnx gives the action"),
        ({"reward": math.nan}, "decoder.onnx gives the reward"),
        ({"log_std": 1e4}, "policy.onnx gives the spread"),
    ],
)
def test_a_dry_run_finds_graphs_that_give_no_numbers(make_policy, spoiled, says):
    with pytest.raises(PolicyError, match=says):
        make_policy(**spoiled).dry_run(OBSERVATION)


def test_an_input_of_another_width_is_named(make_policy):
    with pytest.raises(PolicyError, match="'observation' is 3 wide, expected 2"):
        make_policy().act(np.zeros(3), np.zeros(2))


def test_what_the_runtime_refuses_is_an_error_of_the_policy(point_bundle):
    nodes = [
        helper.make_node("Gather", ["observation", "place"], ["wide"], axis=1),
        helper.make_node("ReduceMean", ["wide", "axes"], ["mean"], keepdims=1),
    ]
    graph = policy_graph(nodes, {"place": np.array([5]), "axes": np.array([0, 1])})
    policy = Policy(read_bundle(point_bundle(replaced={"policy.onnx": graph})))
    with pytest.raises(PolicyError, match=r"policy\.onnx cannot be run: .*Gather"):
        policy.act(OBSERVATION, np.zeros(2))


def test_one_number_is_not_spread_over_a_wider_output(point_bundle):
    """A mean of shape (1, 1) where the encoder gives (1, 2) counted for both components."""
    model = onnx.load_model_from_string(read_bundle(point_bundle()).graphs["encoder.onnx"])
    (gemm,) = (node for node in model.graph.node if "mean" in node.output)
    gemm.output[0] = "both"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    model.graph.node.append(helper.make_node("ReduceMean", ["both", "axis"], ["mean"], keepdims=1))
    replaced = {"encoder.onnx": model.SerializeToString()}
    policy = Policy(read_bundle(point_bundle(replaced=replaced)))
    with pytest.raises(PolicyError, match=r"shapes \[\(1, 1\), \(1, 2\)\], expected \[\(1, 2\)"):
        policy.encode(OBSERVATION, np.zeros(1), 0.0, OBSERVATION)


def test_the_log_likelihood_of_a_transition_is_told_for_every_particle(make_policy):
    policy = make_policy(particles=PARTICLES, next_observation=True)
    found = policy.log_likelihood(OBSERVATION, np.array([1.5]), -1.0, np.array([0.5, 0.0]))
    assert found.dtype == np.float64
    z = np.array(PARTICLES)
    np.testing.assert_allclose(found, -((z[:, 0] + 1) ** 2 + (z[:, 1] - 0.5) ** 2) / 2, rtol=1e-6)


@pytest.mark.parametrize("particles", [None, PARTICLES])
def test_a_bundle_says_which_posterior_it_infers(make_policy, particles):
    policy = make_policy(particles=particles)
    transition = (OBSERVATION, np.array([1.0]), -1.0, OBSERVATION)
    posterior = policy.update(policy.prior(), *transition)
    if particles is None:
        expected = GaussianPosterior.prior(2).update(*policy.encode(*transition))
        assert posterior.precision.tolist() == expected.precision.tolist()
        with pytest.raises(PolicyError, match="has no particles: it infers by the encoder"):
            policy.log_likelihood(*transition)
    else:
        assert posterior.log_weights.tolist() == policy.log_likelihood(*transition).tolist()
        assert (posterior.likeliest.tolist(), posterior.transitions) == ([-0.5, 1.0], 1)


def test_a_bundle_may_leave_the_prior_out_of_its_posterior(make_policy):
    """The prior is what no transition says, and nothing after the first."""
    policy = make_policy(prior_factor=False)
    known = policy.prior()
    assert (known.mean.tolist(), known.variance.tolist()) == ([0.0, 0.0], [1.0, 1.0])
    for count, reward in enumerate((-1.0, 0.5, 2.0), start=1):
        known = policy.update(known, OBSERVATION, np.array([1.0]), reward, OBSERVATION)
        _, variance = policy.encode(OBSERVATION, np.array([1.0]), reward, OBSERVATION)
        np.testing.assert_allclose(known.variance, variance / count, rtol=1e-12)
    np.testing.assert_allclose(known.mean, [0.5, 0.0], rtol=1e-6)


def test_a_bundle_from_before_particles_runs_as_it_did():
    """The file is what fieldtune wrote before (tests/export/version-1.bundle)."""
    policy = Policy(read_bundle(ROOT / "tests" / "export" / "version-1.bundle"))
    s, a = np.linspace(-0.5, 0.5, 5), np.array([0.01, -0.02])
    policy.dry_run(s)
    known = policy.update(policy.prior(), s, a, -0.5, s)
    mean, variance = policy.encode(s, a, -0.5, s)
    np.testing.assert_allclose(known.precision, 1 + 1 / variance)
    np.testing.assert_allclose(known.precision_mean, mean / variance)


@pytest.mark.parametrize("weigh", [True, False])
def test_a_dry_run_finds_a_likelihood_that_is_no_number_for_one_particle(make_policy, weigh):
    policy = make_policy(particles=(*PARTICLES, (1e30, 0.0)))
    if weigh:
        with pytest.raises(PolicyError, match=r"likelihood.onnx gives the log-likelihood \[.*inf"):
            policy.dry_run(OBSERVATION)
    else:
        policy.dry_run(OBSERVATION, weigh=False)
